//! What happens to a job that is held: it waits for its time, stands behind others of its lane, is ready, starts, goes.
//!
//! Every count of the schedule is kept here, in [`Schedule::shift`] and beside it, and nowhere else.

use super::{Head, Held, Lane, Running, Schedule, Spot, State};
use crate::job_options::QueueName;

impl<T> Schedule<T> {
    /// The jobs whose time has come are ready.
    pub(super) fn wake(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some((at, seq)) = self.timers.first().copied()
            && at <= self.now_ms
        {
            self.timers.pop_first();
            self.shift(seq, Some(State::Ready));
            let Some(Held { head, shop: id, .. }) = self.held.get(&seq) else { continue };
            let (id, spot, lane) = (*id, head.spot(), head.lane.clone());
            if let Some(lane) = lane.as_ref().and_then(|lane| self.shop(id).lanes.get_mut(lane)) {
                lane.waiting = false;
            }
            self.moved(id, spot, lane.as_ref(), None);
        }
    }

    /// Takes a running job off, and charges its shop.
    pub(super) fn stop(&mut self, seq: i64, ran_us: u64) -> Option<Running> {
        let running = self.running.remove(&seq)?;
        let Running { shop: id, group, spot, lane, charged_us } = &running;
        self.turns.ended(*group);
        self.turns.part(*group);
        let shop = &mut self.shops[*id as usize];
        shop.end(*spot, ran_us, *charged_us, &self.turns);
        if let Some(lane) = lane.as_ref().and_then(|lane| shop.lanes.get_mut(lane)) {
            lane.running = false;
        }
        Some(running)
    }

    /// Holds a job, whatever room there is.
    pub(super) fn hold(&mut self, id: u32, head: Head<T>) {
        let (seq, spot, lane) = (head.seq, head.spot(), head.lane.clone());
        let queue = head.queue().map(|queue| (&queue.name, queue.bound));
        let group = self.turns.join(&head.shop.app, queue, seq);
        let state = match &lane {
            Some(_) => State::Behind,
            None if head.not_before_ms > self.now_ms => State::Waiting,
            None => State::Ready,
        };
        if let Some(lane) = &lane {
            self.shop(id).lanes.entry(lane.clone()).or_default().held.insert(seq);
        }
        self.shop(id).held += 1;
        // The state to come from is none; `shift` counts from there.
        self.held.insert(seq, Held { head, shop: id, group, state });
        self.enter(seq, state);
        self.moved(id, spot, lane.as_ref(), None);
    }

    /// Lets a held job go.
    pub(super) fn discard(&mut self, seq: i64) -> Option<Held<T>> {
        let held = self.release(seq)?;
        self.turns.part(held.group);
        Some(held)
    }

    /// Takes a job out of what is held; its group still counts it.
    pub(super) fn release(&mut self, seq: i64) -> Option<Held<T>> {
        self.shift(seq, None);
        let held = self.held.remove(&seq)?;
        let shop = self.shop(held.shop);
        shop.held -= 1;
        if let Some(lane) = held.head.lane.as_ref().and_then(|lane| shop.lanes.get_mut(lane)) {
            lane.held.remove(&seq);
            if lane.front == Some(seq) {
                (lane.front, lane.waiting) = (None, false);
            }
        }
        Some(held)
    }

    /// Moves a held job from the state that it is in, to another or out.
    fn shift(&mut self, seq: i64, to: Option<State>) {
        let Some(held) = self.held.get(&seq) else { return };
        let (id, spot) = (held.shop, held.head.spot());
        let shop = &mut self.shops[id as usize];
        match held.state {
            State::Ready => shop.remove_ready(id, held.group, spot.rank, seq, &mut self.turns),
            State::Waiting => {
                self.timers.remove(&(held.head.not_before_ms, seq));
            }
            State::Behind => {}
        }
        let window = shop.parts.window(spot);
        if held.state == State::Waiting {
            window.waiting -= 1;
        } else {
            window.live -= 1;
            if let Some(queue) = held.head.queue_name() {
                window.count_queue(queue, false);
            }
        }
        if let Some(to) = to {
            self.enter(seq, to);
        }
    }

    /// Counts a held job in a state.
    fn enter(&mut self, seq: i64, state: State) {
        let shares = self.shares();
        let Some(held) = self.held.get_mut(&seq) else { return };
        held.state = state;
        let (id, spot) = (held.shop, held.head.spot());
        let shop = &mut self.shops[id as usize];
        let window = shop.parts.window(spot);
        if state == State::Waiting {
            window.waiting += 1;
            self.timers.insert((held.head.not_before_ms, seq));
            return;
        }
        window.live += 1;
        if let Some(queue) = held.head.queue_name() {
            window.count_queue(queue, true);
        }
        if state == State::Ready {
            shop.add_ready(id, held.group, spot.rank, seq, shares, &mut self.turns);
        }
    }

    /// After any change of a shop's jobs: what the change makes possible.
    pub(super) fn moved(&mut self, id: u32, spot: Spot, lane: Option<&Lane>, queue: Option<&QueueName>) {
        if let Some(lane) = lane {
            self.settle(id, spot, lane);
        }
        let (shares, tight) = (self.shares(), self.is_tight());
        let shop = &mut self.shops[id as usize];
        shop.replace(id, shares, &mut self.turns);
        let window = shop.parts.window(spot);
        if let Some(queue) = queue {
            window.queue_drains(queue);
        }
        if !window.listed && window.is_hungry(tight) {
            window.listed = true;
            self.hungry.push_back((id, spot));
        }
        shop.parts.tidy(spot.part);
        if shop.is_idle() {
            self.retire(id);
        } else {
            self.idle.remove(&(shop.virtual_us(), id));
        }
    }

    /// Makes the first job of a lane its front, when none runs.
    fn settle(&mut self, id: u32, spot: Spot, key: &Lane) {
        let now_ms = self.now_ms;
        let Some(lane) = self.shop(id).lanes.get_mut(key) else { return };
        let first = if lane.running { None } else { lane.held.first().copied() };
        let front = lane.front;
        if front != first {
            (lane.front, lane.waiting) = (first, false);
            if let Some(front) = front {
                self.shift(front, Some(State::Behind));
            }
            if let Some(first) = first
                && let Some(held) = self.held.get(&first)
            {
                let waiting = held.head.not_before_ms > now_ms;
                self.shift(first, Some(if waiting { State::Waiting } else { State::Ready }));
                if waiting {
                    self.shed(id, spot, key, first + 1);
                }
                if let Some(lane) = self.shop(id).lanes.get_mut(key) {
                    lane.waiting = waiting;
                }
            }
        }
        let shop = self.shop(id);
        let Some(lane) = shop.lanes.get(key) else { return };
        let (held, waiting, running) = (lane.held.len(), lane.waiting, lane.running);
        if held == 0 && !running {
            shop.lanes.remove(key);
        }
        if !waiting {
            shop.parts.window(spot).lane_drains(key, held);
        }
    }

    /// Lets a lane's jobs from `from` on go back to where they came from.
    pub(super) fn shed(&mut self, id: u32, spot: Spot, lane: &Lane, from: i64) {
        let Some(state) = self.shop(id).lanes.get(lane) else { return };
        let shed: Vec<i64> = state.held.range(from..).copied().collect();
        let Some(first) = shed.first().copied() else { return };
        for seq in shed {
            self.discard(seq);
            // A read that is under way may have seen it as it was before its last attempt.
            self.shop(id).parts.window(spot).note_let_go(seq);
        }
        self.shop(id).parts.window(spot).spill_back(lane, first);
    }
}
