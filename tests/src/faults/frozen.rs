//! Two hosts on one PostgreSQL, of which one is frozen past its lease and goes on afterwards as if nothing had been.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Report;
use super::crowd::{Ledger, Start};

/// Freezes one of two hosts until the time is up, and at least `times` times.
pub fn run(start: &Start, length: Duration, times: u64, seed: u64) -> anyhow::Result<Report> {
    let mut rng = StdRng::seed_from_u64(seed);
    let until = Instant::now() + length;
    let mut ledger = Ledger::default();
    let mut hosts = [start.start("host-a")?, start.start("host-b")?];
    let mut frozen = 0;
    while frozen < times || Instant::now() < until {
        let cold = usize::from(rng.random_ratio(1, 2));
        for _ in 0..4 {
            for host in &mut hosts {
                let numbers = ledger.more(rng.random_range(1..40));
                host.deliver(numbers)?;
            }
            let host = &hosts[cold];
            host.listen(&mut ledger, Duration::from_millis(rng.random_range(0..10)));
        }
        hosts[cold].signal("STOP")?;
        // Past the lease, so that the other takes over what the frozen one was in the middle of.
        let lease = Duration::from_millis(start.lease_ms);
        hosts[1 - cold].listen(&mut ledger, lease * 4);
        hosts[cold].signal("CONT")?;
        frozen += 1;
        hosts[cold].listen(&mut ledger, lease);
        let one = rng.random_range(0..2);
        hosts[1 - one].listen(&mut ledger, Duration::from_millis(50));
        hosts[one].settle(&mut ledger)?;
    }
    let [a, b] = hosts;
    a.stop(&mut ledger)?;
    b.stop(&mut ledger)?;
    let did = format!("{frozen} hosts frozen past their lease, {} webhooks processed once", ledger.acknowledged.len());
    Ok(Report { did, failures: 0 })
}
