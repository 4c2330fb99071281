//! Debian's packages, downloaded and unpacked into a private folder: nothing is installed and no list of the system is
//! touched. The archive's signature is checked with the keyring that the system itself trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{self, indented};
use crate::folders;
use crate::steps::Step;

/// The suite that carries recent compilers for the stable release.
const SUITE: &str = "trixie-backports";

/// Debian's public address, for machines that do not name a nearer one.
const MIRROR: &str = "http://deb.debian.org/debian";

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// The list is 400 KB.
const UPDATE_LIMIT: Duration = Duration::from_mins(2);
/// The packages are 46 MB, which takes 5 minutes at 150 KB/s.
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(6);
/// The compiler's whole source, 440 MB, is written out.
const UNPACK_LIMIT: Duration = Duration::from_mins(5);

/// The person's private folder is closed to the user that apt would become. A list that cannot be fetched is a failure,
/// not a warning.
const SETTINGS: &str = r#"Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
"#;

/// Where the package of wasi-libc keeps the files for our target.
pub(crate) const WASI_LIBC_FOLDER: &str = "usr/lib/wasm32-wasip2";

/// Where the package of the compiler's source keeps the standard library.
pub(crate) fn rust_src_folder(release: &str) -> String {
    format!("usr/src/rustc-{release}/library")
}

/// A package of a certain version.
pub(crate) struct Package {
    name: &'static str,
    version: String,
}

/// The source of the compiler's very version.
pub(crate) fn rust_src(archive: &Archive<'_>, release: &str) -> Result<Package> {
    let name = "rust-src";
    let versions = archive.versions(name)?;
    // `+dfsg` follows the upstream version where Debian has removed files; no other text may stand between.
    let Some(version) = versions.iter().find(|version| is_of_release(version, release)) else {
        bail!("`{SUITE}` has no `{name}` {release}; it has {}", versions.join(", "));
    };
    Ok(Package { name, version: version.clone() })
}

/// The newest C library: it is compatible with older compilers.
pub(crate) fn wasi_libc(archive: &Archive<'_>) -> Result<Package> {
    let name = "wasi-libc";
    let versions = archive.versions(name)?;
    let Some(version) = versions.into_iter().next() else { bail!("`{SUITE}` has no `{name}`") };
    Ok(Package { name, version })
}

fn is_of_release(version: &str, release: &str) -> bool {
    version.strip_prefix(release).is_some_and(|rest| rest.starts_with("+dfsg") || rest.starts_with('-'))
}

/// The archive's list of packages, in a folder of its own.
pub(crate) struct Archive<'a> {
    folder: &'a Path,
}

impl<'a> Archive<'a> {
    /// Fetches the list of packages into the folder.
    pub(crate) fn open(folder: &'a Path, step: &Step<'_>) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg"] {
            if !command::starts(&[program, "--version"]) {
                bail!("there is no `{program}` on this machine");
            }
        }
        let Some(keyring) = KEYRINGS.into_iter().find(|path| Path::new(path).is_file()) else {
            bail!("there is no `{}`; hint: install the package `debian-archive-keyring`", KEYRINGS[0]);
        };
        let archive = Self { folder };
        for below in ["apt/state/lists/partial", "apt/cache/archives/partial"] {
            folders::make(&folder.join(below))?;
        }
        fs::write(archive.settings_file(), archive.settings()).context("cannot write apt's settings")?;
        step.says(format_args!("looking into Debian's `{SUITE}`"));
        let mut failures = Vec::new();
        for mirror in mirrors() {
            let list = format!("deb [signed-by={keyring}] {mirror} {SUITE} main\n");
            fs::write(archive.sources_list(), list).context("cannot write apt's list of sources")?;
            match command::quote(archive.apt("apt-get").arg("update"), UPDATE_LIMIT) {
                Ok(()) => return Ok(archive),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!("cannot fetch the list of `{SUITE}`{}", indented(failures.iter().flat_map(|failure| failure.lines())))
    }

    /// Downloads packages and unpacks them all into one folder, which is returned.
    pub(crate) fn unpack(&self, packages: &[Package], step: &Step<'_>) -> Result<PathBuf> {
        let unpacked = self.folder.join("unpacked");
        for Package { name, version } in packages {
            let download = self.folder.join("download").join(name);
            folders::make(&download)?;
            step.says(format_args!("downloading and unpacking Debian's `{name}` {version}"));
            let mut fetch = self.apt("apt-get");
            fetch.current_dir(&download).arg("download").arg(format!("{name}={version}"));
            command::quote(&mut fetch, DOWNLOAD_LIMIT)?;
            for file in folders::files_below(&download, |_| true)? {
                command::quote(Command::new("dpkg").arg("-x").args([&file, &unpacked]), UNPACK_LIMIT)?;
            }
        }
        Ok(unpacked)
    }

    /// The versions that the archive has, newest first.
    fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = command::read(self.apt("apt-cache").args(["madison", package]))?;
        // Each line is `package | version | source`.
        Ok(table.lines().filter_map(|line| line.split('|').nth(1)).map(|version| version.trim().to_owned()).collect())
    }

    fn sources_list(&self) -> PathBuf {
        self.folder.join("apt").join("sources.list")
    }

    /// An apt command whose lists, sources and downloads are this folder's. The machine's other settings, as its proxy,
    /// stay in force.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.settings_file()).env("LC_ALL", "C").arg("-qq");
        command
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.join("apt").join("apt.conf")
    }

    fn settings(&self) -> String {
        let apt = self.folder.join("apt");
        let apt = apt.display();
        let sources = self.sources_list();
        let sources = sources.display();
        format!(
            "Dir::State \"{apt}/state\";\nDir::Cache \"{apt}/cache\";\nDir::Etc::SourceList \"{sources}\";\n{SETTINGS}"
        )
    }
}

/// The mirror that this machine uses, then Debian's public address.
fn mirrors() -> Vec<String> {
    let mut list = Command::new("apt-get");
    list.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let configured = command::read(&mut list).unwrap_or_default();
    let main = configured.lines().map(|uri| uri.trim_end_matches('/')).find(|uri| uri.ends_with("/debian"));
    let mut mirrors = vec![main.unwrap_or(MIRROR).to_owned()];
    if mirrors[0] != MIRROR {
        mirrors.push(MIRROR.to_owned());
    }
    mirrors
}

#[cfg(test)]
mod tests {
    use super::is_of_release;

    #[test]
    fn a_version_is_of_its_release_only() {
        assert!(is_of_release("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(is_of_release("1.95.0-1", "1.95.0"));
        assert!(!is_of_release("1.95.0~beta.3+dfsg1-1", "1.95.0"));
        assert!(!is_of_release("1.95.01+dfsg1-1", "1.95.0"));
        assert!(!is_of_release("1.94.1+dfsg1-1", "1.95.0"));
    }
}
