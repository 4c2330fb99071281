//! What a database is never asked to keep. One of the two would refuse it, so neither sees it: a unit that is committed on
//! SQLite is committed on PostgreSQL.

use tradewind_model::{Json, RecordKey};

use crate::unit::{CommitError, How, NewJob, Unit};

/// Bytes of a text that is part of a key. 512: an entry of PostgreSQL's indexes holds 2,704, and a key has at most four
/// such texts and a digest.
pub const KEY_BYTES_MAX: usize = 512;

/// How deep JSON may be nested. 128: `serde_json` reads no deeper, SQLite's functions stop at 1,000, PostgreSQL where its
/// stack ends.
pub const JSON_DEPTH_MAX: usize = 128;

/// Refuses a unit that one of the databases would refuse for its values alone.
pub(crate) fn check(unit: &Unit) -> Result<(), CommitError> {
    let refused = |reason| Err(CommitError::Refused { reason });
    if let Some(long) = keys(unit).find(|text| text.len() > KEY_BYTES_MAX) {
        return refused(format!("a key has {} bytes, at most {KEY_BYTES_MAX} are kept", long.len()));
    }
    if keys(unit).chain(texts(unit)).any(|text| text.contains('\0')) {
        return refused("a text holds the character U+0000".to_owned());
    }
    if documents(unit).any(|json| is_deep(json.as_str())) {
        return refused(format!("JSON is nested deeper than {JSON_DEPTH_MAX} levels"));
    }
    if let Some(job) = unit.jobs.iter().find(|job| job.rank > 2) {
        return refused(format!("a job has the rank {}, there are 0, 1 and 2", job.rank));
    }
    if let Some(job) = unit.jobs.iter().find(|job| job.lane.is_some() && job.rank != 1) {
        return refused(format!(
            "a job in a lane has the rank {}; jobs of one lane run in order, so all have rank 1",
            job.rank
        ));
    }
    let both = |job: &NewJob| Some((job.lane.clone()?, job.queue.clone()?));
    if let Some((lane, (queue, _))) = unit.jobs.iter().find_map(both) {
        return refused(format!(
            "a job is in the lane `{lane}` and in the queue `{queue}`; hint: without the lane the queue's bound holds, \
             without the queue the lane's order"
        ));
    }
    Ok(())
}

/// Whether there can be such a record at all.
pub(crate) fn is_possible(key: &RecordKey) -> bool {
    !key.model.contains('\0') && !key.id.contains('\0')
}

/// The texts that indexes hold.
fn keys(unit: &Unit) -> impl Iterator<Item = &str> {
    let shop = [&*unit.shop.app, &*unit.shop.id].into_iter();
    let records = unit.reads.iter().map(|read| &read.key).chain(unit.writes.iter().map(|write| &write.key));
    let deliveries = unit.deliveries.iter().flat_map(|delivery| {
        [Some(&delivery.webhook_id), Some(&delivery.topic), delivery.event_id.as_ref()].into_iter().flatten()
    });
    let jobs = unit.jobs.iter().filter_map(|job| job.id.as_ref()).chain(&unit.cancels);
    let log = unit.log.iter().filter_map(|entry| entry.job_id.as_ref());
    shop.chain(records.flat_map(|key| [&*key.model, &*key.id]))
        .chain(deliveries.chain(jobs).chain(log).map(String::as_str))
}

/// The other texts.
fn texts(unit: &Unit) -> impl Iterator<Item = &str> {
    let reason = unit.finish.iter().filter_map(|finish| match &finish.how {
        How::Park { reason, .. } => Some(reason),
        How::Done | How::Started | How::Again { .. } | How::Checkpoint { .. } => None,
    });
    let platforms = unit.deliveries.iter().map(|delivery| &*delivery.platform);
    let lanes = unit.deliveries.iter().map(|delivery| &delivery.lane).chain(unit.jobs.iter().map(|job| &job.lane));
    let queues = unit.jobs.iter().filter_map(|job| job.queue.as_ref().map(|(name, _)| name));
    let log = unit.log.iter().flat_map(|entry| {
        [entry.plugin.as_ref(), entry.version.as_ref(), entry.action.as_ref(), Some(&entry.outcome)]
            .into_iter()
            .flatten()
    });
    platforms.chain(reason.chain(lanes.flatten()).chain(queues).chain(log).map(String::as_str))
}

fn documents(unit: &Unit) -> impl Iterator<Item = &Json> {
    let finish = unit.finish.iter().filter_map(|finish| match &finish.how {
        How::Park { error, .. } | How::Again { error, .. } => error.as_ref(),
        How::Checkpoint { state } => Some(state),
        How::Done | How::Started => None,
    });
    let writes = unit.writes.iter().filter_map(|write| write.doc.as_ref());
    let headers = unit.deliveries.iter().map(|delivery| &delivery.headers);
    let jobs = unit.jobs.iter().flat_map(|job| job.policy.iter().chain(&job.payload));
    finish.chain(writes).chain(headers).chain(jobs).chain(unit.log.iter().filter_map(|entry| entry.detail.as_ref()))
}

fn is_deep(json: &str) -> bool {
    // Most documents have fewer brackets than that, and counting them is cheap.
    let opens = |byte: u8| matches!(byte, b'[' | b'{');
    if json.bytes().filter(|byte| opens(*byte)).count() <= JSON_DEPTH_MAX {
        return false;
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            byte if opens(byte) => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest > JSON_DEPTH_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_told_from_width() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(!is_deep(&nested(JSON_DEPTH_MAX)));
        assert!(is_deep(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!is_deep(&format!("[{}]", vec!["[]"; 1_000].join(","))));
        assert!(!is_deep(&format!(r#"["\\\"{}"]"#, "[".repeat(1_000))));
    }
}
