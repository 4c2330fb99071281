//! Processes a delivery: what changed, is it news, who wants to know.

use std::sync::Arc;

use serde_json::json;
use tracing::Instrument as _;
use tradewind_model::{Json, RecordKey};
use tradewind_platform::mapping::{Incoming, Report, Saved};
use tradewind_store::{Delivery, Job, StoreError};

use super::arrival::{Arrival, News, latest_us};
use super::context::{Cause, Context};
use super::ending::{Trouble, reason};
use super::job::Replay;
use super::work::internal;
use super::{CAUSAL_DEPTH_MAX, Pipeline, span_of};
use crate::traces;

impl Pipeline {
    /// Processes a delivery. Answers one word for the log.
    pub(super) async fn deliver(
        &self,
        context: Context,
        job: &Job,
        replay: Option<Replay>,
    ) -> Result<&'static str, Trouble> {
        let Some(seq) = job.delivery_seq else {
            return Err(Trouble::hopeless(reason::DAMAGED, "the job names no delivery"));
        };
        let delivery = context.delivery(seq).await?;
        let body = body_of(&delivery)?;
        let Some(mapper) = self.mappers.get(&delivery.platform) else {
            let message =
                format!("this host does not know the platform `{}`; hint: connect it and retry", delivery.platform);
            return Err(Trouble::NotInstalled(message));
        };
        let shop = &*delivery.shop.id;
        let report = Report { topic: &delivery.topic, shop, triggered_ms: delivery.triggered_ms, body: &body };
        let force = replay.as_ref().is_some_and(|replay| replay.force);
        let arrival = Arrival { mapper: &**mapper, report, force, latest_us: latest_us(delivery.received_ms) };
        let mut incoming = mapper.map(&report).map_err(Trouble::from)?;
        for change in &mut incoming {
            let (Incoming::Saved(Saved { updated_us: at_us, .. }) | Incoming::Deleted { deleted_us: at_us, .. }) =
                change;
            *at_us = arrival.in_time(*at_us);
        }
        let mut cause =
            Cause { trigger: trigger_of(&delivery), payload: Some(body.clone()), ..(*context.cause).clone() };
        if replay.is_none() {
            // A replay is a deed of its own: who asks for it wants it to be done once more.
            cause.key = format!("delivery:{seq}");
        }
        let mut trace = None;
        for change in &incoming {
            let past = context.past_of(&key_of(change)).await?;
            cause.depth = cause.depth.max(past.depth);
            trace = past.trace.or(trace);
        }
        if cause.depth > CAUSAL_DEPTH_MAX {
            for change in &incoming {
                context.end_chain(&key_of(change)).await.map_err(|error| Trouble::Lost(error.message))?;
            }
            return Err(Trouble::too_deep(cause.depth));
        }
        let context = Context { cause: Arc::new(cause), ..context };
        let span = span_of(job);
        traces::follow(&span, trace.as_deref());
        let work = async {
            let mut news = News::Nobody;
            for change in &incoming {
                news = news.max(context.arrived(arrival, change).await?);
            }
            for route in context.app.actions_for_topic(&delivery.platform, &delivery.topic) {
                context.run_global(&route, &Json::object([])).await?;
                news = News::Ran;
            }
            Ok(news.as_str())
        };
        work.instrument(span).await
    }
}

impl Context {
    pub(super) async fn delivery(&self, seq: i64) -> Result<Delivery, Trouble> {
        match self.host.store.delivery(seq).await {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => Err(Trouble::hopeless(reason::UNREADABLE, "the delivery is not kept any more")),
            Err(error) if matches!(&*error, StoreError::Damaged { .. }) => {
                Err(Trouble::hopeless(reason::UNREADABLE, internal(&*error).message))
            }
            Err(error) => Err(Trouble::Lost(internal(&*error).message)),
        }
    }
}

/// A delivery's body as JSON.
pub(super) fn body_of(delivery: &Delivery) -> Result<Json, Trouble> {
    let unreadable = |what: String| Trouble::hopeless(reason::UNREADABLE, format!("the body is {what}"));
    let text = std::str::from_utf8(&delivery.body).map_err(|error| unreadable(format!("not UTF-8: {error}")))?;
    Json::parse(text).map_err(|error| unreadable(error.to_string()))
}

fn key_of(change: &Incoming) -> RecordKey {
    let (Incoming::Saved(Saved { model, id, .. }) | Incoming::Deleted { model, id, .. }) = change;
    RecordKey::new(model.as_str(), id.as_str())
}

fn trigger_of(delivery: &Delivery) -> Json {
    let triggered = delivery.triggered_ms.map(tradewind_model::value::show_ms);
    let trigger = json!({
        "kind": "webhook",
        "platform": delivery.platform,
        "topic": delivery.topic,
        "deliveryId": delivery.webhook_id,
        "eventId": delivery.event_id,
        "triggeredAt": triggered,
    });
    Json::of(&trigger).unwrap_or_else(|_| Json::object([]))
}
