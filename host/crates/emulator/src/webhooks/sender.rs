//! Sends webhooks: one attempt, then eight more over four hours, then no longer.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Topic;
use super::faults::Fate;
use super::signature::sign;
use crate::error::EmulatorError;
use crate::event::{Answer, Attempt, Event, Unsubscribed, Withheld};
use crate::limits::{
    ANSWER_BYTES_MAX, ATTEMPTS_KEPT_MAX, REORDER_HOLD_MAX, WEBHOOK_CONNECT_MAX, WEBHOOK_RETRIES_MAX,
    WEBHOOK_RETRIES_SPAN, WEBHOOK_TOTAL_MAX, WEBHOOKS_IN_FLIGHT_MAX, WEBHOOKS_WAITING_MAX,
};
use crate::world::Hub;

/// A webhook with everything that stays the same in all attempts.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) shop: String,
    pub(crate) app: String,
    pub(crate) topic: Topic,
    pub(crate) address: String,
    pub(crate) subscription: u64,
    pub(crate) api_version: &'static str,
    pub(crate) name: Option<String>,
    /// How many of the subscription's webhooks had been taken when this one was made.
    pub(crate) successes: u64,
    pub(crate) webhook_id: String,
    pub(crate) event_id: String,
    pub(crate) triggered_at: Timestamp,
    pub(crate) body: String,
}

/// What sends, and what waits to be sent.
pub(crate) struct Outbox {
    pub(super) debounce: Duration,
    client: reqwest::Client,
    permits: Semaphore,
    tasks: Mutex<JoinSet<()>>,
    /// How many webhooks wait: to be collected, sent, or sent again.
    waiting: watch::Sender<usize>,
    /// Numbers webhooks in the order in which they set out.
    set_out: watch::Sender<u64>,
    /// The highest number whose first attempt is over.
    arrived: watch::Sender<u64>,
}

/// One webhook that waits, for as long as it is there.
struct Waiting(watch::Sender<usize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

impl Outbox {
    pub(crate) fn new(debounce: Duration) -> Result<Self, EmulatorError> {
        // In a program whose other HTTP clients use TLS, every client wants one, also who never uses it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent("Shopify-Captain-Hook")
            .connect_timeout(WEBHOOK_CONNECT_MAX)
            .timeout(WEBHOOK_TOTAL_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(EmulatorError::Client)?;
        Ok(Self {
            debounce,
            client,
            permits: Semaphore::new(WEBHOOKS_IN_FLIGHT_MAX),
            tasks: Mutex::default(),
            waiting: watch::Sender::new(0),
            set_out: watch::Sender::new(0),
            arrived: watch::Sender::new(0),
        })
    }

    /// Runs something that somebody waits for, until it ends or the emulator does.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let waiting = Waiting(self.waiting.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _waiting = waiting;
            work.await;
        });
    }

    /// Waits until no webhook waits.
    pub(crate) async fn empty(&self) {
        // The sender lives as long as `self`.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    /// Ends everything that is under way.
    pub(crate) fn abort(&self) -> JoinSet<()> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.abort_all();
        tasks
    }

    async fn post(&self, delivery: &Delivery, signature: &str) -> Answer {
        let Ok(_permit) = self.permits.acquire().await else { return Answer::TimedOut };
        let mut request = self
            .client
            .post(&delivery.address)
            .header(CONTENT_TYPE, "application/json")
            .header("X-Shopify-Topic", delivery.topic.name())
            .header("X-Shopify-Hmac-Sha256", signature)
            .header("X-Shopify-Shop-Domain", &delivery.shop)
            .header("X-Shopify-API-Version", delivery.api_version)
            .header("X-Shopify-Webhook-Id", &delivery.webhook_id)
            .header("X-Shopify-Event-Id", &delivery.event_id)
            .header("X-Shopify-Triggered-At", delivery.triggered_at.to_string());
        if let Some(name) = &delivery.name {
            request = request.header("X-Shopify-Name", name);
        }
        match request.body(delivery.body.clone()).send().await {
            Ok(response) => read(response).await,
            Err(error) => failure(&error),
        }
    }
}

/// The status and how the body begins. A body that breaks off after the status changes nothing.
async fn read(mut response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    Answer::Answered { status, body: String::from_utf8_lossy(&body).into_owned() }
}

fn failure(error: &reqwest::Error) -> Answer {
    if error.is_timeout() {
        return Answer::TimedOut;
    }
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    Answer::Failed { reason }
}

/// How long to wait after an attempt failed, the first being 1. Each wait is twice the one before, and all eight together
/// are four hours: 1 + 2 + … + 128 = 255 times 56.5 seconds.
fn retry_after(attempt: u32) -> Duration {
    let parts = 2_u32.pow(WEBHOOK_RETRIES_MAX) - 1;
    WEBHOOK_RETRIES_SPAN / parts * 2_u32.pow(attempt.saturating_sub(1).min(WEBHOOK_RETRIES_MAX))
}

impl Hub {
    /// Sends a webhook, with whatever faults the shop has.
    pub(super) fn dispatch(self: &Arc<Self>, delivery: Delivery) {
        let fate = {
            let mut world = self.world();
            let Ok(shop) = world.shop(&delivery.shop) else { return };
            shop.faults.fate(&mut shop.chance)
        };
        if fate.lost {
            self.withheld(&delivery.shop, delivery.topic, Withheld::Lost);
            return;
        }
        if *self.outbox.waiting.borrow() >= WEBHOOKS_WAITING_MAX {
            self.withheld(&delivery.shop, delivery.topic, Withheld::TooMany);
            return;
        }
        if fate.twice {
            self.send(delivery.clone(), fate);
        }
        self.send(delivery, fate);
    }

    fn send(self: &Arc<Self>, delivery: Delivery, fate: Fate) {
        let hub = Arc::clone(self);
        let mut number = 0;
        self.outbox.set_out.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        self.outbox.spawn(async move {
            if !fate.late.is_zero() {
                hub.clock.sleep(fate.late).await;
            }
            if fate.overtaken {
                let mut arrived = hub.outbox.arrived.subscribe();
                tokio::select! {
                    _ = arrived.wait_for(|arrived| *arrived > number) => {}
                    () = hub.clock.sleep(REORDER_HOLD_MAX) => {}
                }
            }
            hub.try_until_taken(&delivery, number).await;
        });
    }

    async fn try_until_taken(&self, delivery: &Delivery, number: u64) {
        for attempt in 1..=WEBHOOK_RETRIES_MAX + 1 {
            let Some(secret) = self.wanted(delivery) else { return };
            let signature = sign(&secret, delivery.body.as_bytes());
            let at = self.clock.now();
            let answer = self.outbox.post(delivery, &signature).await;
            self.outbox.arrived.send_modify(|arrived| *arrived = number.max(*arrived));
            let success = answer.success();
            self.attempted(delivery, attempt, at, answer);
            if success {
                return;
            }
            if attempt <= WEBHOOK_RETRIES_MAX {
                self.clock.sleep(retry_after(attempt)).await;
            }
        }
        self.give_up(delivery);
    }

    /// The secret to sign with, if anybody is to be told. That an app was uninstalled it is told when it no longer has a
    /// subscription.
    fn wanted(&self, delivery: &Delivery) -> Option<String> {
        let mut world = self.world();
        let subscribed = world.shop(&delivery.shop).ok()?.subscriptions.contains_key(&delivery.subscription);
        if !subscribed && delivery.topic != Topic::AppUninstalled {
            return None;
        }
        Some(world.app(&delivery.app).ok()?.signing_secret().to_owned())
    }

    fn attempted(&self, delivery: &Delivery, attempt: u32, at: Timestamp, answer: Answer) {
        let success = answer.success();
        let attempt = Attempt {
            shop: delivery.shop.clone(),
            app: delivery.app.clone(),
            topic: delivery.topic.name().to_owned(),
            address: delivery.address.clone(),
            webhook_id: delivery.webhook_id.clone(),
            event_id: delivery.event_id.clone(),
            subscription: delivery.subscription,
            attempt,
            at: at.to_string(),
            answer,
            body: delivery.body.clone(),
        };
        {
            let world = &mut *self.world();
            while world.attempts.len() >= ATTEMPTS_KEPT_MAX {
                world.attempts.pop_front();
            }
            world.attempts.push_back(attempt.clone());
            let subscriptions = world.shops.get_mut(&delivery.shop).map(|shop| &mut shop.subscriptions);
            if success && let Some(known) = subscriptions.and_then(|known| known.get_mut(&delivery.subscription)) {
                known.successes += 1;
            }
        }
        self.tell(Event::Sent(attempt));
    }

    /// All retries of a webhook failed: the subscription goes, unless another of its webhooks was taken meanwhile.
    fn give_up(&self, delivery: &Delivery) {
        let failed = {
            let mut world = self.world();
            let shop = world.shop(&delivery.shop).ok();
            let known = shop.and_then(|shop| shop.subscriptions.get(&delivery.subscription));
            known.is_some_and(|known| known.successes == delivery.successes)
        };
        if failed {
            self.unsubscribe(&delivery.shop, &delivery.app, delivery.subscription, Unsubscribed::Failures);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::retry_after;

    #[test]
    fn eight_retries_take_four_hours() {
        let waits: Vec<_> = (1..=8).map(retry_after).collect();
        assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "{waits:?}");
        let all: Duration = waits.iter().sum();
        assert_eq!(all.as_secs().div_ceil(60), 4 * 60);
    }
}
