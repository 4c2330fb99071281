//! The door for webhooks, from the wire: what each request is answered, and what of it is kept.
//!
//! A refusal stores nothing, is told once, and is logged once. To add one: a line in `contract`.

mod contract;
mod limits;
mod misfits;
mod stop;
mod store_away;
mod vectors;

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tradewind_tests::serving::{Happened, Served};

/// A product that everybody can read.
const BODY: &str = r#"{"id":788032119674292922,"title":"Hat","updated_at":"2026-05-01T10:00:00Z"}"#;

/// What was logged on this thread while it is there.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// Hears whatever this thread logs until the guard is dropped.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = tracing_subscriber::fmt().with_writer(self.clone()).with_ansi(false);
        tracing::subscriber::set_default(log.finish())
    }

    /// Refusals since it was asked last.
    fn refusals(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8(bytes).unwrap();
        text.lines().filter(|line| line.contains("refused")).map(str::to_owned).collect()
    }
}

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The words of all answers so far.
fn answered(served: &Served) -> Vec<&'static str> {
    let word = |one| if let Happened::Answered(word) = one { Some(word) } else { None };
    served.seen.all().into_iter().filter_map(word).collect()
}

/// Nothing was kept: no delivery, no job.
async fn assert_nothing_kept(served: &Served) {
    assert_eq!(served.deliveries().await, []);
    assert_eq!(tradewind_tests::stores::jobs(served.store()).await, []);
}
