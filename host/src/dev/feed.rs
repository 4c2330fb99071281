//! The live feed: one line for each thing that happens, and what it led to below it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tradewind_emulator::Event;
use tradewind_model::Json;
use tradewind_runtime::session::LogEntry;
use tradewind_store::JobKind;

use crate::pipeline::{Clock, Source};
use crate::watch::{Attempt, Called, Changed, Invoked, Received, Watch};

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// Writes what happens, line by line.
pub struct Feed {
    clock: Arc<dyn Clock>,
    started: Duration,
    write: Box<dyn Fn(&str) + Send + Sync>,
    lines: Mutex<()>,
    echoes: watch::Sender<usize>,
}

impl Feed {
    /// A feed that hands each line to `write`.
    pub fn new(clock: Arc<dyn Clock>, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let started = clock.now();
        Self { clock, started, write: Box::new(write), lines: Mutex::new(()), echoes: watch::Sender::new(0) }
    }

    /// How many deliveries were known for an echo of our own writes.
    pub fn echoes(&self) -> watch::Receiver<usize> {
        self.echoes.subscribe()
    }

    /// Tells of what the emulated store does, too.
    pub(super) fn follow(self: &Arc<Self>, mut events: broadcast::Receiver<Event>) {
        let feed = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let event = match events.recv().await {
                    Ok(event) => event,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                let Some(feed) = feed.upgrade() else { return };
                feed.store_did(&event);
            }
        });
    }

    fn store_did(&self, event: &Event) {
        match event {
            Event::Changed { topic, product, title, by, .. } => {
                self.line("store", &format!("{topic} {product} “{title}” by {by}"));
            }
            Event::Unsubscribed { topic, why, .. } => self.line("store", &format!("no more {topic}: {why:?}")),
            Event::Sent(attempt) if !attempt.answer.success() => {
                let (topic, number) = (&attempt.topic, attempt.attempt);
                self.line("store", &format!("{topic}: attempt {number} failed, {:?}", attempt.answer));
            }
            _ => {}
        }
    }

    fn line(&self, who: &str, what: &str) {
        let at = self.clock.now().saturating_sub(self.started).as_secs_f64();
        let _whole = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (self.write)(&format!("{at:8.3}  {who:<8}  {what}"));
    }

    fn more(&self, what: &str) {
        let _whole = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (self.write)(&format!("{:20}  {what}", ""));
    }
}

impl Watch for Feed {
    fn received(&self, received: &Received<'_>) {
        let Received { shop, webhook, seq, bytes } = received;
        self.line(
            "webhook",
            &format!("#{seq} {} of {}, {} bytes, verified and on disk", webhook.topic, shop.id, bytes),
        );
    }

    fn invoked(&self, invoked: &Invoked<'_>) {
        let Invoked { plugin, action, phase, outcome, detail, usage, .. } = invoked;
        let took = millis(usage.wall);
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let memory = usage.memory_peak_bytes as f64 / f64::from(1 << 20);
        let detail = detail.map_or_else(String::new, |detail| format!("  {}", shortened(detail)));
        let what = format!("{plugin}/{action} {phase}: {outcome}, {took}, {memory:.1} MiB{detail}");
        self.line("plugin", &what);
    }

    fn logged(&self, from: &Source<'_>, entry: &LogEntry) {
        let fields = if entry.fields.is_null() { String::new() } else { format!("  {}", shortened(&entry.fields)) };
        let level = format!("{:?}", entry.level).to_lowercase();
        self.line("log", &format!("{}/{} {level}: {}{fields}", from.plugin, from.action, entry.message));
    }

    fn called(&self, called: &Called<'_>) {
        let Called { what, status, error, cost, available, maximum, retries, took_us, .. } = called;
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let cost = cost.map_or_else(String::new, |cost| format!(", cost {cost}"));
        let budget = available.zip(*maximum).map(|(left, all)| format!(", budget {} of {all}", left.floor()));
        let retries = if *retries > 0 { format!(", {retries} retries") } else { String::new() };
        let error = error.map_or_else(String::new, |error| format!(", {error}"));
        let took = millis(Duration::from_micros(*took_us));
        let line = format!("{what}: {status}, {took}{cost}{}{retries}{error}", budget.unwrap_or_default());
        self.line("call", &line);
    }

    fn wants_changes(&self) -> bool {
        true
    }

    fn ended(&self, attempt: &Attempt<'_>) {
        let Attempt { job, outcome, error, changes, depth, took_us } = attempt;
        let bad = error.map_or_else(String::new, |error| format!(": {}", shortened(error)));
        if job.kind != JobKind::Delivery {
            if error.is_some() {
                self.line("job", &format!("{} {outcome}{bad}", job.kind.as_str()));
            }
            return;
        }
        let seq = job.delivery_seq.unwrap_or_default();
        let took = millis(Duration::from_micros(*took_us));
        let ours = if *depth > 0 { format!(", {depth} of our own writes led here") } else { String::new() };
        self.line("commit", &format!("#{seq} {outcome} in {took}{ours}{bad}"));
        changes.iter().for_each(|changed| self.changed(changed));
        if changes.iter().any(|changed| changed.fields.iter().any(|field| field.echo_of.is_some())) {
            self.echoes.send_modify(|count| *count += 1);
        }
    }
}

impl Feed {
    fn changed(&self, changed: &Changed) {
        let Changed { key, created, deleted, fields } = changed;
        let verb = match (created, deleted) {
            (true, _) => format!("created with {} fields", fields.len()),
            (_, true) => "deleted".to_owned(),
            _ => "updated".to_owned(),
        };
        self.more(&format!("{} {} {verb}", key.model, key.id));
        if *created || *deleted {
            return;
        }
        for field in fields {
            let value = |value: &Option<Json>| value.as_ref().map_or_else(|| "nothing".to_owned(), shortened);
            let echo = field.echo_of.as_ref().map_or_else(String::new, |plugin| format!("  ← echo of {plugin}"));
            self.more(&format!("  {}: {} → {}{echo}", field.name, value(&field.before), value(&field.after)));
        }
    }
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}

/// A value's text, cut where it is long, on one line whatever it holds.
fn shortened(value: &Json) -> String {
    let text = value.as_str();
    let mut short: String = text.chars().take(VALUE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
