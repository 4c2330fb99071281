//! Modes of SQLite's files: private to their owner, because they hold customers' data.
//!
//! SQLite gives the log and its index the mode of the database, so the database has its own before SQLite opens it.

use std::fs;
use std::io;
use std::path::Path;

/// Suffixes that SQLite appends to the database's name for the files beside it.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes the file unless it is there, and takes away what others may do with it and with the files beside it: all become
/// 0600. A file that belongs to somebody else stays as it is, because only its owner may change that.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    make_file(path)?;
    for suffix in SUFFIXES {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        tighten(Path::new(&beside))?;
    }
    tighten(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn tighten(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let changed = fs::metadata(path).and_then(|file| {
        let mode = file.permissions().mode();
        let private = mode & 0o7700;
        if !file.is_file() || private == mode & 0o7777 {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(private))
    });
    match changed {
        // It is not there, or somebody else's.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        changed => changed,
    }
}

#[cfg(not(unix))]
fn tighten(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_become_the_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        make(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let log = folder.path().join("a.db-wal");
        fs::write(&log, "").unwrap();
        for path in [&path, &log] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o664)).unwrap();
        }
        make(&path).unwrap();
        assert_eq!((mode(&path), mode(&log)), (0o600, 0o600));
        assert!(make(&folder.path().join("nowhere/a.db")).is_err());
    }
}
