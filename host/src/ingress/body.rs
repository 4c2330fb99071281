//! A request's body: read whole within its bounds, and held to be JSON that everybody behind can read.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::room::{Full, Held};

/// How long a body may take to arrive. 10 seconds: platforms give up after 5.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// How deep a body may be nested. 100: platforms nest 10 levels; what stores and plugins read ends at 128.
pub const DEPTH_MAX: usize = 100;

/// How fast a body has to come, in bytes a second. 10 KiB: a hundredth of what the slowest platform has.
pub const BODY_RATE_MIN: u32 = 10 << 10;

/// How long a body may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyBounds {
    /// Bytes at most.
    pub(super) bytes_max: u64,
    /// At most, whatever comes.
    pub(super) time_max: Duration,
    /// Bytes a second at least, after a grace of two seconds; 0 for any rate.
    pub(super) rate_min: u32,
}

/// How long a body may take whatever its rate. 2 seconds: a packet that was lost comes again by then.
const BODY_GRACE: Duration = Duration::from_secs(2);

/// Reads a body within its bounds, as long as there is room.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    bounds: BodyBounds,
    room: &mut Held<'_>,
) -> Result<Bytes, Answer> {
    let max = bounds.bytes_max;
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(Answer::TooLarge { max });
    }
    let started = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    let mut length = 0;
    loop {
        let until = started + bounds.time_for(length);
        let Some(frame) = timeout_at(until, body.frame()).await.map_err(|_| Answer::TooSlow)? else { break };
        let frame = frame.map_err(|error| Answer::Broken(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        if u64::from(length) > max {
            return Err(Answer::TooLarge { max });
        }
        room.grow(data.len()).map_err(Answer::from)?;
        match &first {
            // Most bodies come in one piece, which is kept as it is.
            None => first = Some(data),
            Some(first) => {
                if whole.is_empty() {
                    whole.extend_from_slice(first);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    // Of one piece, or none.
    Ok(if whole.is_empty() { first.unwrap_or_default() } else { whole.freeze() })
}

impl BodyBounds {
    /// How long it may take until more comes than these bytes.
    fn time_for(self, length: u32) -> Duration {
        if self.rate_min == 0 {
            return self.time_max;
        }
        self.time_max.min(BODY_GRACE + Duration::from_secs(1) * length / self.rate_min)
    }
}

impl From<Full> for Answer {
    fn from(Full(limit): Full) -> Self {
        Self::Unavailable(format!("too many requests arrive at once (`{limit}`)"))
    }
}

/// The body as the text of one JSON object.
pub(super) fn text(body: &[u8]) -> Result<&str, Answer> {
    let text =
        std::str::from_utf8(body).map_err(|error| Answer::Malformed(format!("the body is not UTF-8: {error}")))?;
    if depth(body) > DEPTH_MAX {
        return Err(Answer::Malformed(format!("the body is nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(text)
}

/// How deep JSON is nested, or more where brackets outside of strings do not match.
fn depth(json: &[u8]) -> usize {
    if json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= DEPTH_MAX {
        return 0;
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use futures_util::StreamExt as _;

    use super::super::room::Room;
    use super::*;

    /// Reads a body that comes in pieces, one a second; says how long that took.
    async fn read_slowly(pieces: u32, bytes: usize, rate_min: u32) -> (Result<usize, Answer>, Duration) {
        let every = Duration::from_secs(1);
        let pieces = futures_util::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes]))
        });
        let (room, started) = (Room::default(), Instant::now());
        let mut held = room.enter(Ipv4Addr::LOCALHOST.into(), &Arc::from("app")).unwrap();
        let bounds = BodyBounds { bytes_max: 10 << 20, time_max: BODY_TIME_MAX, rate_min };
        let body = read(&HeaderMap::new(), Body::from_stream(pieces), bounds, &mut held).await;
        (body.map(|body| body.len()), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_least_rate() {
        let second = Duration::from_secs(1);
        let (slow, took) = read_slowly(100, 1, BODY_RATE_MIN).await;
        assert_eq!(slow, Err(Answer::TooSlow));
        assert!(took < BODY_GRACE + second, "{took:?}");
        // Half of the rate: the grace is used up after four seconds.
        let (slow, took) = read_slowly(100, 5 << 10, BODY_RATE_MIN).await;
        assert_eq!(slow, Err(Answer::TooSlow));
        assert!(took > 3 * second && took < 5 * second, "{took:?}");
        assert_eq!(read_slowly(9, 10 << 10, BODY_RATE_MIN).await.0, Ok(90 << 10));
        assert_eq!(read_slowly(11, 100 << 10, BODY_RATE_MIN).await, (Err(Answer::TooSlow), BODY_TIME_MAX));
        assert_eq!(read_slowly(9, 1, 0).await.0, Ok(9));
        assert_eq!(read_slowly(11, 1, 0).await, (Err(Answer::TooSlow), BODY_TIME_MAX));
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_any_pieces() {
        let sent: Vec<u8> = (0..1_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        for piece in [1, 7, 999, 1_000] {
            let pieces: Vec<_> =
                sent.chunks(piece).map(|one| Ok::<_, std::io::Error>(Bytes::copy_from_slice(one))).collect();
            let room = Room::default();
            let mut held = room.enter(Ipv4Addr::LOCALHOST.into(), &Arc::from("app")).unwrap();
            let bounds = BodyBounds { bytes_max: 1_000, time_max: BODY_TIME_MAX, rate_min: BODY_RATE_MIN };
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            assert_eq!(read(&HeaderMap::new(), body, bounds, &mut held).await.unwrap(), sent, "{piece}");
        }
    }

    #[test]
    fn only_nesting_counts_as_depth() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(text(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(text(nested(DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(text(nested(100_000).as_bytes()).is_err());
        let in_string = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1_000));
        assert!(text(in_string.as_bytes()).is_ok());
        assert!(text(format!("[{}]", vec!["{}"; 1_000].join(",")).as_bytes()).is_ok());
        assert!(text(b"\xff").is_err());
    }
}
