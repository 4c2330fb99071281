//! A request's body: read whole within its bounds, and held to be JSON that everybody behind can read.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::answer::Answer;

/// How long a body may take to arrive. 10 seconds: platforms give up after 5.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// How deep a body may be nested. 100: platforms nest 10 levels; what stores and plugins read ends at 128.
pub const DEPTH_MAX: usize = 100;

/// Bytes of all bodies that arrive or wait for the disk, in KiB. 128 MiB: a second of a fast network; nobody has signed them
/// yet, so anybody who knows a path could send them.
pub const BODIES_KIB_MAX: u32 = 128 << 10;

/// Reads a body of at most `max` bytes that arrives within `time_max`, as long as there is room. The room is the body's until
/// what is answered is dropped.
pub(super) async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    max: u64,
    time_max: Duration,
    room: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Answer> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(Answer::TooLarge { max });
    }
    timeout(time_max, collect(body, max, room)).await.unwrap_or(Err(Answer::TooSlow))
}

async fn collect(mut body: Body, max: u64, room: &Semaphore) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Answer> {
    let mut taken: Option<SemaphorePermit<'_>> = None;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Answer::Broken(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if length as u64 > max {
            return Err(Answer::TooLarge { max });
        }
        let kib = u32::try_from(data.len().div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let more = room.try_acquire_many(kib);
        let more =
            more.map_err(|_| Answer::Unavailable("too many bodies arrive at once (`bodies_kib_max`)".to_owned()))?;
        match &mut taken {
            Some(taken) => taken.merge(more),
            None => taken = Some(more),
        }
        match &first {
            // Most bodies come in one piece, which is kept as it is.
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok((first, taken));
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok((whole.freeze(), taken))
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
    use super::*;

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
