//! What of the database's jobs of one shop, partition and rank is in memory, and where to read on.
//!
//! The window remembers where its reading stands in two ways. `unread` is the first row that may not have been seen at all.
//! A *spill* is the first row of one strand (a lane or a named queue) that was seen and refused, because the strand had its
//! share of the window: reading goes past it, so that a strand with a million jobs does not hide the shop's others, and comes
//! back to it when the strand has drained. What is neither unread nor behind a spill of its strand is held, running or done.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Lane;
use crate::job_options::QueueName;

/// How many due jobs one window holds. A thousand jobs of a kilobyte each are a mebibyte for a shop, and seconds of work.
pub const HELD_PER_RANK_MAX: usize = 1_024;

/// How many due jobs one window holds while the schedule as a whole is full.
pub const HELD_PER_RANK_TIGHT: usize = 8;

/// How many jobs that are not due one window holds; with so many lanes in retry, the shop's others wait for one of them.
pub const WAITING_PER_RANK_MAX: usize = 4_096;

/// How many jobs of one lane are held: one runs at a time, so that more would only wait here instead of there.
pub const HELD_PER_LANE_MAX: usize = 32;

/// How many due jobs of one named queue a shop's window holds.
pub const HELD_PER_QUEUE_MAX: usize = 128;

/// How many rows one refill reads.
pub const REFILL_ROWS_MAX: usize = 256;

/// How many strands of a window may have spilled before reading on waits for them.
pub const SPILLS_MAX: usize = 8_192;

/// From here on strands get the small share: room for more strands is worth more than depth in each.
const CROWDED: usize = 256;
const HELD_PER_LANE_CROWDED: usize = 4;
const HELD_PER_QUEUE_CROWDED: usize = 8;
/// A spilled strand is read again when no more than this is left of it. Below the small share, or reading would go in circles.
const LANE_DRAINED: usize = 1;
const QUEUE_DRAINED: usize = 4;

/// Jobs of one window that get in each other's way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Strand {
    Lane(Lane),
    Queue(QueueName),
}

/// Where a strand's refused rows begin.
#[derive(Debug)]
pub(super) struct Spill {
    pub(super) from: i64,
    /// Whether it stands in `Window::drained`.
    listed: bool,
}

/// A read of the database that is under way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ticket: u64,
    /// Jobs that ended since: the answer may still show them.
    pub(super) gone: HashSet<i64>,
    /// Jobs that a lane let go of since: the answer may show them as they were before their last attempt.
    pub(super) let_go: HashSet<i64>,
    /// The first row that was committed since and not taken: the answer may not show it.
    pub(super) since: Option<i64>,
}

/// A pass over rows in the order of their numbers, from `from` on.
pub(super) struct Scan {
    pub(super) from: i64,
    refused: HashSet<Strand>,
}

impl Scan {
    /// The rows of a refill.
    pub(super) fn new(from: i64) -> Self {
        Self { from, refused: HashSet::new() }
    }

    /// No later row of the strand is taken in this pass.
    pub(super) fn refuse(&mut self, strand: Strand) {
        self.refused.insert(strand);
    }

    /// One row alone, which says nothing about those before it.
    pub(super) fn alone() -> Self {
        Self::new(i64::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Rows from this one on may not have been seen.
    pub(super) unread: Option<i64>,
    pub(super) asked: Option<Asked>,
    /// Held jobs that are due.
    pub(super) live: usize,
    /// Held jobs that are not.
    pub(super) waiting: usize,
    /// Due jobs of each queue.
    queues: HashMap<QueueName, usize>,
    spills: HashMap<Strand, Spill>,
    /// Spilled strands that want to be read again, those that have wanted it longest first.
    drained: VecDeque<Strand>,
    /// Reading takes turns between strands and what is unread, so that neither starves the other.
    strands_turn: bool,
    /// Whether the window stands in the list of those to refill.
    pub(super) listed: bool,
}

impl Window {
    /// Rows from `seq` on have to be read, or read again.
    pub(super) fn note_unread(&mut self, seq: i64) {
        self.unread = Some(self.unread.map_or(seq, |unread| unread.min(seq)));
        self.note_since(seq);
    }

    /// A row was refused: when a read is under way, its answer does not settle the matter.
    pub(super) fn note_since(&mut self, seq: i64) {
        if let Some(asked) = &mut self.asked {
            asked.since = Some(asked.since.map_or(seq, |since| since.min(seq)));
        }
    }

    /// Whether nothing is held, and nothing is left to know.
    pub(super) fn is_idle(&self) -> bool {
        let is_settled = self.unread.is_none() && self.asked.is_none() && self.spills.is_empty();
        is_settled && self.live == 0 && self.waiting == 0
    }

    pub(super) fn is_full(&self, tight: bool) -> bool {
        self.live >= if tight { HELD_PER_RANK_TIGHT } else { HELD_PER_RANK_MAX } || self.waiting >= WAITING_PER_RANK_MAX
    }

    /// Whether a refill is wanted and has room.
    pub(super) fn is_hungry(&self, tight: bool) -> bool {
        let low_water = if tight { 0 } else { HELD_PER_RANK_MAX - REFILL_ROWS_MAX };
        let room = self.live <= low_water && self.waiting < WAITING_PER_RANK_MAX;
        room && self.asked.is_none() && (self.unread.is_some() || !self.drained.is_empty())
    }

    /// Where the next refill reads from; it is under way from now on.
    pub(super) fn ask(&mut self, ticket: u64) -> Option<i64> {
        let strand = if self.strands_turn || self.unread.is_none() { self.next_drained() } else { None };
        let from = strand.or(self.unread).or_else(|| self.next_drained())?;
        self.strands_turn = strand.is_none();
        self.asked = Some(Asked { ticket, gone: HashSet::new(), let_go: HashSet::new(), since: None });
        Some(from)
    }

    fn next_drained(&mut self) -> Option<i64> {
        while let Some(strand) = self.drained.pop_front() {
            let Some(spill) = self.spills.get_mut(&strand) else { continue };
            if self.unread.is_none_or(|unread| spill.from < unread) {
                spill.listed = false;
                return Some(spill.from);
            }
            // What is unread begins before it and brings the strand's rows in their order.
            self.spills.remove(&strand);
        }
        None
    }

    /// The read that `ticket` was given for, when it is still awaited.
    pub(super) fn answered(&mut self, ticket: u64) -> Option<Asked> {
        self.asked.take_if(|asked| asked.ticket == ticket)
    }

    /// Whether a pass from there on would leave out rows that nobody has seen, and with them the order of the lanes.
    pub(super) fn is_beyond_unread(&self, from: i64) -> bool {
        self.unread.is_some_and(|unread| unread < from)
    }

    /// The job ended: an answer that still shows it is out of date.
    pub(super) fn note_gone(&mut self, seq: i64) {
        if let Some(asked) = &mut self.asked {
            asked.gone.insert(seq);
        }
    }

    /// A lane let go of the job: an answer that shows it may be out of date.
    pub(super) fn note_let_go(&mut self, seq: i64) {
        if let Some(asked) = &mut self.asked {
            asked.let_go.insert(seq);
        }
    }

    pub(super) fn count_queue(&mut self, queue: &QueueName, more: bool) {
        if more {
            *self.queues.entry(queue.clone()).or_default() += 1;
        } else if let Some(count) = self.queues.get_mut(queue) {
            *count -= 1;
            if *count == 0 {
                self.queues.remove(queue);
            }
        }
    }

    /// How many jobs of a lane may be held.
    pub(super) fn lane_max(&self) -> usize {
        if self.live < CROWDED { HELD_PER_LANE_MAX } else { HELD_PER_LANE_CROWDED }
    }

    /// Whether the queue has its share of the window.
    pub(super) fn is_queue_full(&self, queue: &QueueName) -> bool {
        let max = if self.live < CROWDED { HELD_PER_QUEUE_MAX } else { HELD_PER_QUEUE_CROWDED };
        self.queues.get(queue).is_some_and(|count| *count >= max)
    }

    /// Whether rows of the strand before this one are missing, so that this one may not be taken.
    pub(super) fn is_behind_spill(&self, strand: &Strand, seq: i64, scan: &Scan) -> bool {
        let spilled = |spill: &Spill| spill.from <= seq && spill.from < scan.from;
        scan.refused.contains(strand) || self.spills.get(strand).is_some_and(spilled)
    }

    /// Whether one more strand may spill on account of this row. Rows that were passed already always may.
    pub(super) fn may_spill(&self, strand: &Strand, seq: i64) -> bool {
        self.spills.len() < SPILLS_MAX
            || self.spills.contains_key(strand)
            || self.unread.is_some_and(|unread| seq < unread)
    }

    /// A row of the strand was refused.
    pub(super) fn spill(&mut self, strand: &Strand, seq: i64, scan: &mut Scan) {
        self.note_since(seq);
        let first = scan.refused.insert(strand.clone());
        let spill = self.spills.entry(strand.clone()).or_insert(Spill { from: seq, listed: false });
        // All rows from the spill to this one were seen in this pass and taken.
        let advances = first && spill.from >= scan.from;
        spill.from = if advances { seq } else { spill.from.min(seq) };
    }

    /// A lane let go of what it held from this row on.
    pub(super) fn spill_back(&mut self, lane: &Lane, seq: i64) {
        self.note_since(seq);
        let spill = self.spills.entry(Strand::Lane(lane.clone()));
        let spill = spill.or_insert(Spill { from: seq, listed: false });
        spill.from = spill.from.min(seq);
    }

    /// Takes what the pass has learned of all rows from `scan.from` to `to`; to the end when that is the greatest number.
    pub(super) fn covered(&mut self, scan: &Scan, to: i64, since: Option<i64>) {
        let next = to.checked_add(1);
        if self.unread.is_some_and(|unread| scan.from <= unread && (next.is_none() || next >= Some(unread))) {
            self.unread = next;
        }
        if let Some(since) = since {
            self.note_unread(since);
        }
        let unread = self.unread;
        self.spills.retain(|strand, spill| {
            if scan.from > spill.from || spill.from > to || scan.refused.contains(strand) {
                return true;
            }
            // Every row of the strand up to here is held or done. What is unread finds the rest in its order.
            spill.from = next.unwrap_or(i64::MAX);
            next.is_some() && unread.is_none_or(|unread| spill.from < unread)
        });
    }

    /// The strands that spilled.
    pub(super) fn spilled(&self) -> Vec<Strand> {
        self.spills.keys().cloned().collect()
    }

    /// A lane holds `held` jobs that may go on: when it spilled and that is little, it is read again.
    pub(super) fn lane_drains(&mut self, lane: &Lane, held: usize) {
        // Most windows have no spill, and the key is not free.
        if !self.spills.is_empty() && held <= LANE_DRAINED {
            self.list(Strand::Lane(lane.clone()));
        }
    }

    /// The same for a queue.
    pub(super) fn queue_drains(&mut self, queue: &QueueName) {
        if !self.spills.is_empty() && self.queues.get(queue).is_none_or(|count| *count <= QUEUE_DRAINED) {
            self.list(Strand::Queue(queue.clone()));
        }
    }

    fn list(&mut self, strand: Strand) {
        if let Some(spill) = self.spills.get_mut(&strand).filter(|spill| !spill.listed) {
            spill.listed = true;
            self.drained.push_back(strand);
        }
    }
}
