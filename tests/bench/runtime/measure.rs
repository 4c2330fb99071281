//! Taking turns, so that ratios hold on a machine whose speed varies: every case runs a little in each round, and what
//! is reported is the median over the rounds.

use std::time::Duration;

/// How long a benchmark measures.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// How often the cases take turns.
    pub(crate) rounds: usize,
    /// How long one case runs in one round.
    pub(crate) turn: Duration,
}

/// Something that is timed: it prepares its input, and says how long the part that counts took.
pub(crate) struct Case<'a> {
    /// What the table calls it.
    pub(crate) name: String,
    /// Runs it once.
    pub(crate) once: Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>,
}

/// What a case took in each round: the median of the round's calls.
#[derive(Clone)]
pub(crate) struct Timing {
    /// What the table calls it.
    pub(crate) name: String,
    rounds: Vec<Duration>,
}

impl<'a> Case<'a> {
    /// A case of this name.
    pub(crate) fn new(name: impl Into<String>, once: impl FnMut() -> anyhow::Result<Duration> + 'a) -> Self {
        Self { name: name.into(), once: Box::new(once) }
    }
}

impl Timing {
    /// The median over the rounds.
    pub(crate) fn median(&self) -> Duration {
        median(self.rounds.clone())
    }

    /// The best round: what the machine can do when nobody disturbs it.
    pub(crate) fn best(&self) -> Duration {
        self.rounds.iter().min().copied().unwrap_or_default()
    }

    /// How many times as long as `other` it took: the median over the rounds of the ratio within a round.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        let mut ratios: Vec<f64> =
            self.rounds.iter().zip(&other.rounds).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Measures the cases in turns.
pub(crate) fn in_turns(effort: Effort, mut cases: Vec<Case<'_>>) -> anyhow::Result<Vec<Timing>> {
    let mut timings: Vec<Timing> =
        cases.iter().map(|case| Timing { name: case.name.clone(), rounds: Vec::new() }).collect();
    for case in &mut cases {
        // Warm: the pool's slots, the caches, the branch predictors.
        turn(effort.turn, case)?;
    }
    for _ in 0..effort.rounds {
        for (case, timing) in cases.iter_mut().zip(&mut timings) {
            timing.rounds.push(turn(effort.turn, case)?);
        }
    }
    Ok(timings)
}

/// The median call of one turn. A turn has at least three calls.
fn turn(length: Duration, case: &mut Case<'_>) -> anyhow::Result<Duration> {
    let mut calls = Vec::new();
    let mut spent = Duration::ZERO;
    while spent < length || calls.len() < 3 {
        let took = (case.once)()?;
        spent += took;
        calls.push(took);
    }
    Ok(median(calls))
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
