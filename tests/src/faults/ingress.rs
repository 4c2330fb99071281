//! Damaged webhooks at the door: each is answered or sent away, and nothing is kept that was refused.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tradewind_store::DeliveryFilter;

use super::Report;
use super::memory::resident_bytes;
use super::mutation::{damaged, mutated, product, start_of};
use crate::open_door::{Bounds, OpenDoor};
use crate::serving::{Happened, Served};
use crate::stores::Place;
use crate::webhook::{Request, answer};

/// How much the process may grow after the first thousand. 128 MiB: bodies have a few kilobytes and are not held.
const GROWTH_BYTES_MAX: u64 = 128 << 20;

/// Requests that are the warm-up.
const WARM_UP: u64 = 1_000;

/// What a door may answer to anything; 0 is a connection that was closed.
const ANSWERS: [u16; 12] = [0, 200, 400, 401, 404, 405, 408, 413, 414, 417, 431, 505];

/// Sends damaged webhooks until the time is up, and at least `times`.
#[expect(clippy::print_stdout, reason = "a program for people")]
pub async fn run(length: Duration, times: u64, seed: u64) -> Result<Report> {
    let until = Instant::now() + length;
    let mut rng = StdRng::seed_from_u64(seed ^ 0x646f_6f72);
    let place = Place::sqlite();
    let topics = ["products/update", "products/delete", "orders/create"].map(str::to_owned);
    // A body that breaks off is not waited for.
    let bounds = Bounds { body_bytes_max: 64 << 10, body_time_max: Duration::from_secs(1), ..Bounds::default() };
    let door = OpenDoor::open(&place, topics, bounds).await;
    let (mut sent, mut taken, mut sent_away, mut failures, mut first_bytes) = (0_u64, 0_u64, 0_usize, 0, None);
    while sent < times || Instant::now() < until {
        let (bytes, is_http) = request(sent, &mut rng);
        let mut stream = TcpStream::connect(door.address()).await?;
        // The door may close the connection before it has all of it.
        let _ = stream.write_all(&bytes).await;
        if !is_http {
            let _ = stream.shutdown().await;
        }
        let status = answer(&mut stream).await.map_or(0, |answer| answer.status);
        let is_expected = ANSWERS.contains(&status) && !(is_http && status == 0);
        if !is_expected {
            println!("  NOT AS EXPECTED: {status} to {}", start_of(&String::from_utf8_lossy(&bytes)));
            failures += 1;
        }
        taken += u64::from(status == 200);
        sent_away += usize::from(status == 0);
        sent += 1;
        if sent == WARM_UP {
            first_bytes = resident_bytes();
        }
    }
    if let (Some(first), Some(last)) = (first_bytes, resident_bytes())
        && last.saturating_sub(first) > GROWTH_BYTES_MAX
    {
        println!("  NOT AS EXPECTED: memory grew by {} MiB", (last - first) >> 20);
        failures += 1;
    }
    let parked = door.seen.idle(&door.store).await;
    // An id that no database keeps is refused by the store, for good.
    let is_final = |reason: &str| matches!(reason, "unreadable" | "permanent-error");
    for job in parked.iter().filter(|job| !job.reason.as_deref().is_some_and(is_final)) {
        println!("  NOT AS EXPECTED: {job:?}");
        failures += 1;
    }
    let accepted = door.seen.all().iter().filter(|one| **one == Happened::Answered("accepted")).count();
    let kept = door.store.deliveries(&DeliveryFilter::default(), u32::MAX >> 1).await?.len();
    // Who went away before the answer may find it kept when it comes again.
    if kept < accepted || kept > accepted + sent_away {
        println!("  NOT AS EXPECTED: {accepted} were accepted, {sent_away} sent away, {kept} are kept");
        failures += 1;
    }
    ensure!(taken > 0 && taken < sent, "{taken} of {sent} were taken: nothing was tried");
    door.close().await;
    let did = format!("{sent} damaged webhooks, {taken} of them taken, {} unreadable", parked.len());
    Ok(Report { did, failures })
}

/// A webhook that is odd on some level, and whether it is still HTTP.
fn request(number: u64, rng: &mut StdRng) -> (Vec<u8>, bool) {
    // Some come twice.
    let id = format!("w-{}", if rng.random_ratio(1, 10) { number / 2 } else { number });
    let text = mutated(&product(rng.random_range(1..1_000)), rng);
    let webhook = |body: Vec<u8>| Served::webhook(&id, body);
    match rng.random_range(0..5) {
        // Signed as it is: what the body says is the mapper's business.
        0 => (webhook(text.into_bytes()).bytes(), true),
        1 => (webhook(damaged(text.as_bytes(), rng)).bytes(), true),
        2 => {
            // Changed on its way.
            let request = webhook(text.clone().into_bytes());
            (Request { body: damaged(text.as_bytes(), rng), ..request }.bytes(), true)
        }
        3 => {
            let mut request = webhook(text.into_bytes());
            let at = rng.random_range(0..request.headers.len());
            let (_, value) = &mut request.headers[at];
            let mut odd = damaged(value, rng);
            // What ends a line would be another header.
            odd.retain(|byte| *byte >= b' ' && *byte != 0x7f);
            *value = odd;
            (request.bytes(), true)
        }
        _ => (damaged(&webhook(text.into_bytes()).bytes(), rng), false),
    }
}
