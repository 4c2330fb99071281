//! What goes wrong between the platform and a receiver, when somebody switches it on.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// How often which fault hits a shop's webhooks. Each is a share from 0 (never) to 1 (always); the shop's seed decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Never sent, as the platform does not promise that it is.
    pub lost: f64,
    /// Sent twice, with the same id.
    pub twice: f64,
    /// Held back until a later one of the shop has passed it.
    pub overtaken: f64,
    /// Held back for a while.
    pub late: f64,
    /// How long at most, in the emulator's time.
    pub late_max: Duration,
}

/// What becomes of one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) twice: bool,
    pub(super) overtaken: bool,
    pub(super) late: Duration,
}

impl Faults {
    pub(super) fn fate(&self, chance: &mut StdRng) -> Fate {
        let mut hit = |share: f64| chance.random::<f64>() < share;
        let (lost, twice, overtaken, late) = (hit(self.lost), hit(self.twice), hit(self.overtaken), hit(self.late));
        let late = if late { self.late_max.mul_f64(chance.random()) } else { Duration::ZERO };
        Fate { lost, twice, overtaken, late }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::Faults;

    #[test]
    fn the_seed_decides_and_the_shares_hold() {
        let faults = Faults { twice: 0.5, late: 1.0, late_max: Duration::from_secs(9), ..Faults::default() };
        let fates = |seed| {
            let mut chance = StdRng::seed_from_u64(seed);
            (0..1_000).map(|_| faults.fate(&mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
        let twice = fates(1).iter().filter(|fate| fate.twice).count();
        assert!((400..600).contains(&twice), "{twice}");
        assert!(fates(1).iter().all(|fate| !fate.lost && !fate.overtaken && fate.late < Duration::from_secs(9)));
    }
}
