//! A PostgreSQL server that goes away and comes back, and connections that are cut, under load.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Report;
use super::crowd::{Ledger, Start};
use crate::postgres::Cluster;

/// How long a webhook waits for its refusal. 5 seconds: then a platform has given up.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// Stops the server until the time is up, and at least `stops` times; the same victim lives through all of it.
pub fn run(start: &Start, cluster: &mut Cluster, length: Duration, stops: u64, seed: u64) -> anyhow::Result<Report> {
    let mut rng = StdRng::seed_from_u64(seed);
    let until = Instant::now() + length;
    let mut ledger = Ledger::default();
    let (mut stopped, mut cut) = (0, 0);
    let mut victim = start.start("host")?;
    while stopped < stops || Instant::now() < until {
        let numbers = ledger.more(200);
        victim.deliver(numbers)?;
        victim.listen(&mut ledger, Duration::from_millis(rng.random_range(0..100)));
        if rng.random_ratio(1, 2) {
            cut += u64::from(cluster.terminate_backends()?);
        } else {
            cluster.stop_immediately()?;
            // What was on its way is answered first.
            victim.listen(&mut ledger, Duration::from_millis(rng.random_range(100..600)));
            let refused = ledger.refused;
            let numbers = ledger.more(5);
            victim.deliver(numbers.clone())?;
            let patience = Instant::now() + REFUSED_WITHIN;
            while ledger.refused == refused && Instant::now() < patience {
                victim.listen(&mut ledger, Duration::from_millis(50));
            }
            ensure!(ledger.refused > refused, "webhooks are not refused while the server is away");
            let taken = numbers.iter().find(|number| ledger.acknowledged.contains(number));
            ensure!(taken.is_none(), "webhook {taken:?} is taken in while the server is away");
            cluster.start_again()?;
            stopped += 1;
        }
        victim.settle(&mut ledger)?;
    }
    victim.stop(&mut ledger)?;
    let did = format!(
        "{stopped} server stops, {cut} cut connections, {} webhooks refused and sent again, {} processed once",
        ledger.refused,
        ledger.acknowledged.len()
    );
    Ok(Report { did, failures: 0 })
}
