//! Taking turns: what is compared runs a little in each round, and ratios are medians over the rounds.

use std::time::Duration;

/// How long a benchmark measures.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// How often those that are compared take turns.
    pub(crate) rounds: usize,
    /// What the amount of work in one turn is divided by.
    pub(crate) less: u32,
}

impl Effort {
    /// For a table that is published, or for a quick look.
    pub(crate) fn new(quick: bool) -> Self {
        // An odd number, so that the median is a round and not the better of two.
        if quick { Self { rounds: 3, less: 10 } } else { Self { rounds: 5, less: 1 } }
    }

    /// An amount of work, of which a quick look does less.
    pub(crate) fn of(self, amount: u32) -> u32 {
        amount / self.less
    }
}

/// How much one of those that are compared did in a second, in each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(Vec<f64>);

impl Rates {
    /// Adds a round.
    pub(crate) fn add(&mut self, count: u32, took: Duration) {
        self.0.push(f64::from(count) / took.as_secs_f64());
    }

    /// Adds a round that was measured elsewhere.
    pub(crate) fn add_rate(&mut self, rate: f64) {
        self.0.push(rate);
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.0.clone())
    }

    pub(crate) fn best(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// How many times as much as `other`: the median over the rounds of the ratio within a round.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// Rates as the table shows them.
    pub(crate) fn shown(&self) -> (String, String) {
        (per_second(self.median()), per_second(self.best()))
    }
}

/// A rate with its unit.
pub(crate) fn per_second(rate: f64) -> String {
    let whole = format!("{rate:.0}");
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}/s")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which this part of the durations is.
pub(crate) fn percentile(durations: &mut [Duration], part: f64) -> Duration {
    durations.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((durations.len() as f64 * part) as usize).min(durations.len().saturating_sub(1));
    durations.get(at).copied().unwrap_or_default()
}
