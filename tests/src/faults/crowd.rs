//! A victim as seen from outside: started, told, killed, and asked what is left.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;

use super::victim::Load;

/// How long an answer may take. Two minutes: draining takes one at most.
const ANSWERED_WITHIN: Duration = Duration::from_mins(2);

/// Whom to start, and with what around it.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program that has a `victim` in it.
    pub program: PathBuf,
    /// What runs the program, with its arguments: a shell that prepares a file system.
    pub around: Vec<String>,
    /// The store's address.
    pub store: String,
    /// How long leases last, in milliseconds.
    pub lease_ms: u64,
    /// What the victim does with webhooks.
    pub load: Load,
    /// When the run began: the clock of all its victims.
    pub began: Instant,
}

/// A running victim.
pub(super) struct Running {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

/// Every webhook that was sent, and those that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of the next new one.
    pub(super) next: u32,
    pub(super) acknowledged: BTreeSet<u32>,
    /// Sent, and not acknowledged yet: the platform sends them again.
    pub(super) open: BTreeSet<u32>,
    /// What was said of those that were refused, the last reason of all.
    pub(super) refused: u64,
    pub(super) last_refusal: String,
}

impl Ledger {
    /// So many new webhooks.
    pub(super) fn more(&mut self, count: u32) -> Vec<u32> {
        let new: Vec<u32> = (self.next..self.next + count).collect();
        self.next += count;
        self.open.extend(&new);
        new
    }

    fn note(&mut self, answer: &str) {
        let mut words = answer.splitn(3, ' ');
        let (word, number) = (words.next(), words.next().and_then(|number| number.parse::<u32>().ok()));
        match (word, number) {
            (Some("ack"), Some(number)) => {
                self.open.remove(&number);
                self.acknowledged.insert(number);
            }
            (Some("no"), Some(_)) => {
                self.refused += 1;
                words.next().unwrap_or_default().clone_into(&mut self.last_refusal);
            }
            _ => {}
        }
    }

    /// All acknowledged numbers as `1-5,7`.
    fn ranges(&self) -> String {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in &self.acknowledged {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *number => *last = *number,
                _ => ranges.push((*number, *number)),
            }
        }
        let ranges: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        ranges.join(",")
    }
}

impl Start {
    /// Starts a victim under a name of its own and waits until it is ready.
    pub(super) fn start(&self, host: &str) -> anyhow::Result<Running> {
        let mut words: Vec<String> = self.around.clone();
        words.push(self.program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["victim", "--store", &self.store, "--host", host]);
        command.args(["--lease-ms", &self.lease_ms.to_string()]);
        command.args(["--began-ms", &self.began.elapsed().as_millis().to_string()]);
        command.args(["--load", self.load.to_possible_value().context("a load without a name")?.get_name()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a victim")?;
        let orders = child.stdin.take().context("a victim without an input")?;
        let output = BufReader::new(child.stdout.take().context("a victim without an output")?);
        let (heard, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        let running = Running { child, orders, answers };
        let first = running.answers.recv_timeout(ANSWERED_WITHIN);
        ensure!(first.as_deref() == Ok("ready"), "the victim did not come up: {first:?}");
        Ok(running)
    }
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends webhooks. An error means that it is dead.
    pub(super) fn deliver(&mut self, numbers: impl IntoIterator<Item = u32>) -> std::io::Result<()> {
        for number in numbers {
            writeln!(self.orders, "deliver {number}")?;
        }
        self.orders.flush()
    }

    /// Takes in what it answers for so long, or until it is dead.
    pub(super) fn listen(&self, ledger: &mut Ledger, length: Duration) {
        let until = Instant::now() + length;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.answers.recv_timeout(left) {
                Ok(answer) => ledger.note(&answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Sends again and again what was not acknowledged, until all of it is.
    pub(super) fn deliver_all(&mut self, ledger: &mut Ledger) -> anyhow::Result<()> {
        let until = Instant::now() + ANSWERED_WITHIN;
        while !ledger.open.is_empty() {
            ensure!(Instant::now() < until, "{} webhooks stay refused: {}", ledger.open.len(), ledger.last_refusal);
            let refused = ledger.refused;
            self.deliver(ledger.open.iter().copied().take(500).collect::<Vec<_>>())?;
            let some = ledger.open.len().min(500);
            let before = ledger.open.len();
            while ledger.open.len() + some > before && usize::try_from(ledger.refused - refused).unwrap_or(0) < some {
                match self.answers.recv_timeout(ANSWERED_WITHIN) {
                    Ok(answer) => ledger.note(&answer),
                    Err(error) => bail!("the victim says nothing more: {error}"),
                }
            }
            if ledger.refused > refused {
                // As a platform does: not at once.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Gives an order and waits for its answer.
    pub(super) fn ask(&mut self, order: &str, good: &str, ledger: &mut Ledger) -> anyhow::Result<()> {
        writeln!(self.orders, "{order}")?;
        self.orders.flush()?;
        loop {
            let answer = self.answers.recv_timeout(ANSWERED_WITHIN).context("the victim says nothing more")?;
            if answer == good {
                return Ok(());
            }
            match answer.split(' ').next() {
                Some("ack" | "no") => ledger.note(&answer),
                _ => bail!("{answer}"),
            }
        }
    }

    /// Waits until no job is left, and looks whether all is right.
    pub(super) fn settle(&mut self, ledger: &mut Ledger) -> anyhow::Result<()> {
        self.deliver_all(ledger)?;
        self.ask("drain", "drained", ledger)?;
        self.ask(&format!("check {} {}", ledger.next, ledger.ranges()), "right", ledger)
    }

    /// Sends a signal by its name.
    pub(super) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status()?;
        ensure!(sent.success(), "the signal {name} was not sent");
        Ok(())
    }

    /// Kills it as `kill -9` does, and takes in what it had answered before.
    pub(super) fn kill(mut self, ledger: &mut Ledger) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        for answer in &self.answers {
            ledger.note(&answer);
        }
        Ok(())
    }

    /// Lets it stop by itself.
    pub(super) fn stop(self, ledger: &mut Ledger) -> anyhow::Result<()> {
        let Self { mut child, orders, answers } = self;
        drop(orders);
        for answer in &answers {
            ledger.note(&answer);
        }
        let status = child.wait()?;
        ensure!(status.success(), "the victim ended with {status}");
        Ok(())
    }
}
