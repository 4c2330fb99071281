//! A disk that is full, and has room again, on SQLite. The file system is a small one in a namespace of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::crowd::{Ledger, Start};
use super::victim::sqlite_url;
use super::{Report, start_of};

/// What takes the room away, and is removed to give it back.
const BALLAST: &str = "ballast";

/// What makes the file system: a shell that becomes the victim. In a user namespace where that is needed.
fn around(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    let script = format!(
        "mount -t tmpfs -o size=40m none {folder} && dd if=/dev/zero of={folder}/{BALLAST} bs=1M count=32 2>/dev/null \
         && exec \"$0\" \"$@\""
    );
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script].map(str::to_owned).into()
}

/// Fills the disk until the time is up, and at least `times` times.
pub fn run(program: &Path, length: Duration, times: u64) -> anyhow::Result<Report> {
    let until = Instant::now() + length;
    let (mut filled, mut refused, mut processed) = (0, 0, 0);
    while filled < times || Instant::now() < until {
        let folder = tempfile::tempdir()?;
        let start = Start { around: around(folder.path()), ..start_of(program, &sqlite_url(folder.path())) };
        let mut ledger = Ledger::default();
        let mut victim = start.start("host")?;
        let full = Instant::now() + Duration::from_mins(1);
        while ledger.refused == 0 {
            ensure!(Instant::now() < full, "the disk does not become full");
            let numbers = ledger.more(500);
            victim.deliver(numbers)?;
            victim.listen(&mut ledger, Duration::from_millis(100));
        }
        ensure!(ledger.last_refusal.contains("full"), "the reason does not say it: {}", ledger.last_refusal);
        victim.ask(&format!("remove {}", folder.path().join(BALLAST).display()), "removed", &mut ledger)?;
        victim.settle(&mut ledger)?;
        victim.stop(&mut ledger)?;
        (filled, refused, processed) = (filled + 1, refused + ledger.refused, processed + ledger.acknowledged.len());
    }
    let did = format!("{filled} full disks, {refused} webhooks refused and sent again, {processed} processed once");
    Ok(Report { did, failures: 0 })
}
