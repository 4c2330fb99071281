//! Takes a webhook in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use tokio::time::timeout;
use tradewind_model::Json;
use tradewind_platform::shopify::{self, Headers, Webhook};
use tradewind_store::{CommitError, Delivery, Ingested, NewDelivery, Store, Unit, compress};

use super::answer::Answer;
use super::body::{self, BodyBounds};
use super::door::{Door, Doors};
use super::refused::Refused;
use super::room::{Held, Room, RoomBounds};
use crate::pipeline::{Clock, lane_of, reason};
use crate::scheduler::{Scheduler, job_of};
use crate::watch::{Received, Watch};

/// How long a delivery may take to be on disk. 4 seconds: platforms give up after 5, and are to hear that they should come
/// again. One that is kept after all is a duplicate when it does.
pub const COMMIT_TIME_MAX: Duration = Duration::from_secs(4);

/// Bytes of a path or a method that the log shows. 100: longer than any that is meant.
const SHOWN_BYTES_MAX: usize = 100;

/// Takes webhooks in, and hands their jobs to the scheduler.
pub struct Ingress {
    store: Arc<Store>,
    scheduler: Arc<Scheduler>,
    clock: Arc<dyn Clock>,
    watch: Arc<dyn Watch>,
    doors: Arc<Doors>,
    body: BodyBounds,
    room: Room,
    /// What anybody can cause.
    refused: Refused,
    /// What only an app's secret can cause: strangers do not keep it out of the log.
    unkept: Refused,
}

/// A request that was signed.
struct Signed<'a> {
    door: Arc<Door>,
    webhook: Webhook,
    body: Bytes,
    /// Until it is on disk.
    _room: Held<'a>,
}

/// The address of whoever sends a request, which the server says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// A request's headers as the platforms' code reads them.
struct RequestHeaders<'a>(&'a HeaderMap);

impl Headers for RequestHeaders<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(axum::http::HeaderValue::as_bytes)
    }

    fn count(&self, name: &str) -> usize {
        self.0.get_all(name).iter().count()
    }
}

impl Ingress {
    /// An ingress for what comes through these doors.
    pub fn new(
        store: Arc<Store>,
        scheduler: Arc<Scheduler>,
        clock: Arc<dyn Clock>,
        watch: Arc<dyn Watch>,
        doors: Arc<Doors>,
        body_bytes_max: u64,
    ) -> Self {
        Self {
            store,
            scheduler,
            clock,
            watch,
            doors,
            body: BodyBounds {
                bytes_max: body_bytes_max,
                time_max: body::BODY_TIME_MAX,
                rate_min: body::BODY_RATE_MIN,
            },
            room: Room::default(),
            refused: Refused::new(),
            unkept: Refused::new(),
        }
    }

    /// With another time for a body to arrive than [`BODY_TIME_MAX`](super::BODY_TIME_MAX).
    #[must_use]
    pub fn with_body_time(self, body_time_max: Duration) -> Self {
        Self { body: BodyBounds { time_max: body_time_max, ..self.body }, ..self }
    }

    /// With another least rate of a body than [`BODY_RATE_MIN`](super::BODY_RATE_MIN), in bytes a second; 0 for any.
    #[must_use]
    pub fn with_body_rate(self, rate_min: u32) -> Self {
        Self { body: BodyBounds { rate_min, ..self.body }, ..self }
    }

    /// With other bounds of the memory for requests.
    #[must_use]
    pub fn with_room(self, bounds: RoomBounds) -> Self {
        Self { room: Room::new(bounds), ..self }
    }

    /// The routes: `POST /webhooks/{app}/{connection}`.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/webhooks/{app}/{connection}", post(handle))
            .method_not_allowed_fallback(wrong_method)
            .fallback(nowhere)
            .with_state(self)
    }

    /// Takes one request in, and says where a refusal is logged. When it is [`Answer::Accepted`], it is on disk.
    async fn receive(
        &self,
        peer: IpAddr,
        app: &str,
        connection: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> (Answer, &Refused) {
        let signed = match self.check(peer, app, connection, headers, body).await {
            Ok(signed) => signed,
            Err(answer) => return (answer, &self.refused),
        };
        match self.keep(&signed.door, signed.webhook, &signed.body).await {
            Ok(answer) | Err(answer) => (answer, &self.unkept),
        }
    }

    async fn check(
        &self,
        peer: IpAddr,
        app: &str,
        connection: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Signed<'_>, Answer> {
        let Some(door) = self.doors.find(app, connection) else {
            return Err(Answer::Unknown("no such app or connection".to_owned()));
        };
        if door.closed {
            return Err(Answer::Unavailable(format!("the app `{app}` is not installed")));
        }
        shopify::check_headers(&RequestHeaders(headers))?;
        let mut room = self.room.enter(peer, &door.app)?;
        let body = body::read(headers, body, self.body, &mut room).await?;
        let webhook = shopify::verify(&RequestHeaders(headers), &body, &door.secrets)?;
        Ok(Signed { door, webhook, body, _room: room })
    }

    /// Keeps a verified webhook.
    async fn keep(&self, door: &Door, mut webhook: Webhook, body: &[u8]) -> Result<Answer, Answer> {
        let Some(shop) = door.shops.get(&webhook.shop_domain) else {
            return Err(Answer::Unknown(format!("the shop `{}` is not installed", webhook.shop_domain)));
        };
        if !door.topics.contains(&webhook.topic) {
            return Err(Answer::Unknown(format!("nobody here wants the topic `{}`", webhook.topic)));
        }
        let text = body::text(body)?;
        let subject = shopify::subject(&webhook.topic, text);
        let subject = subject.map_err(|error| Answer::Malformed(format!("the body is not JSON: {error}")))?;
        let lane = subject.map(|key| lane_of(&key.model, &key.id));
        let now_ms = i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX);
        // The header is not signed: what it says of the future would keep true changes away.
        webhook.triggered_ms = webhook.triggered_ms.map(|at_ms| at_ms.min(now_ms));
        let headers = kept(&webhook);
        let delivery = NewDelivery {
            platform: Arc::clone(&door.platform),
            webhook_id: webhook.webhook_id.clone(),
            topic: webhook.topic.clone(),
            event_id: webhook.event_id.clone(),
            body_sha256: tradewind_platform::digest(body),
            triggered_ms: webhook.triggered_ms,
            headers: headers.clone(),
            body: compress(body),
            body_bytes: body.len() as u64,
            lane: lane.clone(),
            depth: 0,
            parked_if_replayed: Some(reason::REPLAYED_BODY),
        };
        let unit = Unit { deliveries: vec![delivery], ..Unit::new(shop.clone(), now_ms) };
        let committed = timeout(COMMIT_TIME_MAX, self.store.commit(unit)).await;
        let committed = committed.map_err(|_| Answer::Unavailable("the store does not answer in time".to_owned()))?;
        let committed = committed.map_err(|error| match error {
            CommitError::Refused { reason } => Answer::Malformed(reason),
            error => Answer::Unavailable(error.to_string()),
        })?;
        let Some(ingested) = committed.deliveries.first() else {
            return Err(Answer::Unavailable("the store does not say what became of it".to_owned()));
        };
        if let Ingested::New { seq, .. } = *ingested {
            self.store.remember(Delivery {
                seq,
                shop: shop.clone(),
                platform: door.platform.to_string(),
                webhook_id: webhook.webhook_id.clone(),
                topic: webhook.topic.clone(),
                event_id: webhook.event_id.clone(),
                lane: lane.clone(),
                received_ms: now_ms,
                triggered_ms: webhook.triggered_ms,
                headers,
                body: body.to_vec(),
                body_bytes: body.len() as u64,
            });
        }
        if let Some(job) = job_of(ingested, lane, 0) {
            self.scheduler.offer(shop, vec![job]);
        }
        Ok(match *ingested {
            Ingested::New { seq, .. } | Ingested::Parked { seq, .. } => {
                self.watch.received(&Received { shop, webhook: &webhook, seq, bytes: body.len() });
                Answer::Accepted { seq }
            }
            Ingested::Duplicate => Answer::Duplicate,
        })
    }
}

impl Ingress {
    /// Answers a request that is no webhook. Nobody's app is concerned, so nobody is warned.
    fn elsewhere(
        &self,
        status: StatusCode,
        method: &Method,
        uri: &Uri,
        says: &'static str,
    ) -> (StatusCode, &'static str) {
        if self.refused.may_say(status.as_u16(), "elsewhere", uri.path()) {
            let (method, path) = (start_of(method.as_str()), start_of(uri.path()));
            tracing::info!(method, path, status = status.as_u16(), reason = says.trim_end(), "request refused");
        }
        (status, says)
    }
}

async fn handle(
    State(ingress): State<Arc<Ingress>>,
    peer: Option<Extension<Peer>>,
    Path((app, connection)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(peer))| peer);
    let (answer, refused) = ingress.receive(peer, &app, &connection, &headers, body).await;
    // Whoever sends chooses the path: what nobody installed is no name to count by.
    let known = ingress.doors.find(&app, &connection).map(|door| Arc::clone(&door.app));
    ingress.watch.answered(known.as_deref().unwrap_or_default(), answer.word());
    let status = answer.status().as_u16();
    if let Some(reason) = answer.reason()
        && refused.may_say(status, answer.word(), uri.path())
    {
        let (id, shop) = shopify::named(&RequestHeaders(&headers));
        let (app, connection) = (start_of(&app), start_of(&connection));
        tracing::warn!(app, connection, shop.id = shop, webhook.id = id, status, reason, "webhook refused");
    }
    answer.response()
}

async fn wrong_method(State(ingress): State<Arc<Ingress>>, method: Method, uri: Uri) -> (StatusCode, &'static str) {
    ingress.elsewhere(StatusCode::METHOD_NOT_ALLOWED, &method, &uri, "webhooks are sent with POST\n")
}

async fn nowhere(State(ingress): State<Arc<Ingress>>, method: Method, uri: Uri) -> (StatusCode, &'static str) {
    ingress.elsewhere(StatusCode::NOT_FOUND, &method, &uri, "webhooks go to /webhooks/{app}/{connection}\n")
}

/// As much of what a stranger chose as goes into a line of the log.
fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// The headers that are kept, as a JSON object.
fn kept(webhook: &Webhook) -> Json {
    let values: Vec<_> = webhook.kept.iter().filter_map(|(name, value)| Some((*name, Json::of(value).ok()?))).collect();
    Json::object(values.iter().map(|(name, value)| (*name, value)))
}
