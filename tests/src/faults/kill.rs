//! `kill -9` at random moments under load, started again, and again.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Report;
use super::crowd::{Ledger, Start};

/// Kills between two looks at the data.
const KILLS_PER_CHECK: u64 = 20;

/// How long a victim may live beyond its predecessor's lease, in milliseconds. 250: some die before they have work, some in
/// the middle of it.
const LIVES_MS: u64 = 250;

/// Kills a victim until the time is up, and at least `kills` times.
pub fn run(start: &Start, length: Duration, kills: u64, seed: u64) -> anyhow::Result<Report> {
    let mut rng = StdRng::seed_from_u64(seed);
    let until = Instant::now() + length;
    let mut ledger = Ledger::default();
    let mut killed = 0;
    while killed < kills || Instant::now() < until {
        let mut victim = start.start(&format!("host-{killed}"))?;
        if killed % KILLS_PER_CHECK == KILLS_PER_CHECK - 1 {
            victim.settle(&mut ledger)?;
        }
        // New ones, those that nobody acknowledged, and some once more although they were.
        let mut numbers: Vec<u32> = ledger.open.iter().copied().take(200).collect();
        numbers.extend(ledger.more(rng.random_range(1..80)));
        let known = ledger.acknowledged.len();
        numbers.extend(ledger.acknowledged.iter().copied().skip(known.saturating_sub(5)));
        // An error: it was dead before it heard all of it.
        let _ = victim.deliver(numbers);
        victim.listen(&mut ledger, Duration::from_millis(rng.random_range(0..start.lease_ms + LIVES_MS)));
        victim.kill(&mut ledger)?;
        killed += 1;
    }
    let mut victim = start.start("host-last")?;
    victim.settle(&mut ledger)?;
    victim.stop(&mut ledger)?;
    let did = format!("{killed} kills, {} webhooks acknowledged and processed once", ledger.acknowledged.len());
    Ok(Report { did, failures: 0 })
}
