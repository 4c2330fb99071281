//! A shop's windows, by the partitions that its jobs lie in: its own, and those of the named queues that it has jobs in.

use super::Spot;
use super::window::Window;

/// The partitions in which anything of a shop is known. A handful: one that has nothing left goes.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<Part>);

/// A shop's jobs in one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: i64,
    pub(super) running: usize,
    /// By rank.
    pub(super) windows: [Window; 3],
}

impl Part {
    fn is_idle(&self) -> bool {
        self.running == 0 && self.windows.iter().all(Window::is_idle)
    }
}

impl Parts {
    /// What is known in a partition; from now on there is something.
    pub(super) fn part(&mut self, id: i64) -> &mut Part {
        let at = self.0.iter().position(|part| part.id == id).unwrap_or_else(|| {
            self.0.push(Part { id, running: 0, windows: <[Window; 3]>::default() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// One window, made when there is none.
    pub(super) fn window(&mut self, spot: Spot) -> &mut Window {
        &mut self.part(spot.part).windows[spot.rank]
    }

    /// One window, if anything of its partition is known.
    pub(super) fn known(&mut self, spot: Spot) -> Option<&mut Window> {
        let part = self.0.iter_mut().find(|part| part.id == spot.part)?;
        Some(&mut part.windows[spot.rank])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    pub(super) fn windows(&mut self) -> impl Iterator<Item = &mut Window> {
        self.0.iter_mut().flat_map(|part| &mut part.windows)
    }

    /// Whether anything is held, runs, or is still to be read in a partition.
    pub(super) fn has_work(&self, id: i64) -> bool {
        self.0.iter().any(|part| part.id == id && !part.is_idle())
    }

    /// Whether nothing is known anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets a partition that has nothing left.
    pub(super) fn tidy(&mut self, id: i64) {
        self.0.retain(|part| part.id != id || !part.is_idle());
    }

    /// Forgets the partitions that the predicate names.
    pub(super) fn forget(&mut self, named: impl Fn(i64) -> bool) {
        self.0.retain(|part| !named(part.id));
    }
}
