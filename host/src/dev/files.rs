//! Which files have changed: looked for twice a second, which works on every file system and needs nothing of the system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often files are looked at. Half a second: nobody waits for it, and a build has written its file whole by then.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When each file was written last, and how long it was.
pub type Stamps = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

/// Waits until one of these files is another than `before`, and is the same for two looks in a row. `before` becomes what it
/// is then: what changes while somebody is busy with it is seen the next time.
pub async fn changed(files: &[&Path], before: &mut Stamps) -> Vec<PathBuf> {
    let mut last = before.clone();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let now = stamps(files);
        if now == last && now != *before {
            let other = now.iter().filter(|(file, stamp)| before.get(*file) != Some(stamp));
            let other = other.map(|(file, _)| file.clone()).collect();
            *before = now;
            return other;
        }
        last = now;
    }
}

/// What the files are now.
pub fn stamps(files: &[&Path]) -> Stamps {
    let stamp = |file: &Path| {
        let known = std::fs::metadata(file).ok()?;
        Some((known.modified().ok()?, known.len()))
    };
    files.iter().map(|file| ((*file).to_owned(), stamp(file))).collect()
}
