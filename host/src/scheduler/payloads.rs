//! What the schedule keeps of what jobs carry, bounded by bytes: how many it holds is bounded elsewhere, and one may carry a
//! mebibyte. What finds no room is let go, and read again when it is the job's turn. What is on its way here, in a read or an
//! offer, is not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tradewind_store::Job;

use super::limits::{PAYLOAD_BYTES_FREE, PAYLOADS_BYTES_MAX};

/// The room for what held jobs carry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payloads(Arc<AtomicUsize>);

/// A job's part of the room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    of: Payloads,
    bytes: usize,
}

impl Payloads {
    /// Finds room for what a job carries. None: there was none, and the job carries nothing any more.
    pub(crate) fn keep(&self, job: &mut Job) -> Option<Room> {
        let carried = [&job.payload, &job.checkpoint].map(|json| json.as_ref().map_or(0, |json| json.as_str().len()));
        let bytes = carried.into_iter().sum::<usize>();
        let room = Room { of: self.clone(), bytes: if bytes > PAYLOAD_BYTES_FREE { bytes } else { 0 } };
        let before = self.0.fetch_add(room.bytes, Ordering::Relaxed);
        if room.bytes == 0 || before + room.bytes <= PAYLOADS_BYTES_MAX {
            return Some(room);
        }
        (job.payload, job.checkpoint) = (None, None);
        None
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tradewind_model::{Json, Shop};
    use tradewind_store::{JobKind, NewJob};

    use super::super::attempt::{committed, head_of};
    use super::*;

    fn job(bytes: usize) -> Job {
        let payload = Json::of(&"x".repeat(bytes.saturating_sub(2))).ok();
        committed(&Shop::new("app", "shop"), 1, NewJob::new(JobKind::Action, payload), 0)
    }

    #[test]
    fn what_finds_no_room_is_left_where_it_is() {
        let payloads = Payloads::default();
        let third = PAYLOADS_BYTES_MAX / 3;
        let mut rooms: Vec<_> = (0..3).map(|_| payloads.keep(&mut job(third))).collect();
        assert!(rooms.iter().all(Option::is_some));
        let mut fourth = job(third);
        assert!(payloads.keep(&mut fourth).is_none() && fourth.payload.is_none());
        let mut small = job(PAYLOAD_BYTES_FREE);
        assert!(payloads.keep(&mut small).is_some() && small.payload.is_some());
        assert_eq!(payloads.bytes(), 3 * third);
        rooms.pop();
        assert!(payloads.keep(&mut job(third)).is_some(), "there is room again");
        rooms.clear();
        assert_eq!(payloads.bytes(), 0);
    }
    #[test]
    fn a_job_that_is_read_again_takes_no_room() {
        let payloads = Payloads::default();
        let mut head = head_of(job(PAYLOADS_BYTES_MAX), false, &payloads);
        assert!(!head.tag.stale && head.tag.job.payload.is_some());
        assert_eq!(payloads.bytes(), PAYLOADS_BYTES_MAX);
        assert!(head_of(job(PAYLOADS_BYTES_MAX), false, &payloads).tag.stale, "there is no room for another");
        head.tag = head.tag.to_read_again();
        assert!(head.tag.stale && head.tag.job.payload.is_none());
        assert_eq!(payloads.bytes(), 0);
    }
}
