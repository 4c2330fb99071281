//! The parts of the table.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use tokio::runtime::Runtime as Executor;
use tradewind_runtime::{ArtifactCache, Grants, Runtime, RuntimeConfig};

use crate::echo::Echo;
use crate::in_flight::Held;
use crate::measure::{Case, Effort, Timing, in_turns};
use crate::node::Node;
use crate::subject::{About, Subject};
use crate::table::{Table, time};
use crate::{in_flight, settings};

/// The plugins that do the same work, and what the table calls them.
const PLUGINS: [(&str, &str); 4] = [
    ("product-tagger", "Rust"),
    ("product-tagger-js", "JavaScript (QuickJS)"),
    ("product-tagger-js-starlingmonkey", "JavaScript (StarlingMonkey)"),
    ("product-tagger-py", "Python"),
];

/// The benchmark.
pub(crate) struct Bench {
    /// Runs the calls.
    pub(crate) executor: Executor,
    /// How long each measurement takes.
    pub(crate) effort: Effort,
    /// Where the results go.
    pub(crate) table: Table,
}

impl Bench {
    /// One call after the other, everything warm: the yardstick, the plugins, the isolates.
    pub(crate) fn calls(&self, wanted: &str) -> anyhow::Result<()> {
        let body = Subject::changed_body();
        let [kept, cold] = [Echo::new(true)?, Echo::new(false)?];
        let tagger = tradewind_tests::plugin(PLUGINS[0].0).and_then(|bytes| Echo::of(&bytes, true));
        let subjects = self.subjects();
        let node = Node::start(&body).map(RefCell::new);
        let wait = |call| self.executor.block_on(call);
        let mut cases = vec![
            Case::new("echo, hand-written, on wasmtime alone", || self.executor.block_on(kept.fresh(&body))),
            Case::new("echo, no pages kept resident", || self.executor.block_on(cold.fresh(&body))),
            Case::new("echo, only store and instance", || self.executor.block_on(kept.instantiate())),
        ];
        if let Ok(tagger) = &tagger {
            let once = || self.executor.block_on(tagger.instantiate());
            cases.push(Case::new("Rust plugin on wasmtime alone, only store and instance", once));
        }
        let abouts = [
            ("`run`, body changed", About::ChangedBody),
            ("`run`, body unchanged", About::ChangedTitle),
            ("`success`", About::Success),
        ];
        for (language, subject) in
            subjects.iter().filter_map(|(language, subject)| Some((language, subject.as_ref().ok()?)))
        {
            for (what, about) in abouts {
                cases.push(Case::new(format!("{language} {what}"), move || wait(subject.call(about))));
            }
        }
        if let Ok(node) = &node {
            let ways = [("fresh isolate of V8, the same work", "isolate"), ("the same, from a snapshot", "snapshot")];
            for (what, way) in ways {
                cases.push(Case::new(what, move || node.borrow_mut().once(way)));
            }
        }
        let mut yardstick = true;
        cases.retain(|case| std::mem::take(&mut yardstick) || case.name.contains(wanted));
        let timings = in_turns(self.effort, cases)?;
        self.table.section("One call in a fresh sandbox, 5 KB body");
        let isolate = timings.iter().find(|timing| timing.name.starts_with("fresh isolate"));
        for timing in &timings {
            let beside_echo = format!("{:.1} × echo", timing.times(&timings[0]));
            let compared = match isolate {
                Some(isolate) => format!("{beside_echo}; the isolate is {:.1} ×", isolate.times(timing)),
                None => beside_echo,
            };
            self.timing(timing, &compared);
        }
        for (language, subject) in &subjects {
            self.skipped_plugin(language, subject);
        }
        if let Err(reason) = &node {
            self.table.skipped("fresh isolate of V8", &format!("{reason:#}"));
        }
        Ok(())
    }

    /// Calls in a second, from many callers on two workers.
    pub(crate) fn throughput(&self) -> anyhow::Result<()> {
        const CALLERS: usize = 16;
        self.table.section("Throughput, 16 callers on 2 workers");
        for (language, subject) in self.subjects() {
            let Ok(subject) = subject.as_ref().map(Arc::clone) else {
                self.skipped_plugin(language, &subject);
                continue;
            };
            let length = self.effort.turn * 50;
            let calls: anyhow::Result<u32> = self.executor.block_on(async {
                let callers: Vec<_> = (0..CALLERS)
                    .map(|_| {
                        tokio::spawn({
                            let subject = Arc::clone(&subject);
                            async move {
                                let started = Instant::now();
                                let mut calls = 0_u32;
                                while started.elapsed() < length {
                                    subject.call(About::ChangedBody).await?;
                                    calls += 1;
                                }
                                anyhow::Ok(calls)
                            }
                        })
                    })
                    .collect();
                let mut calls = 0;
                for caller in callers {
                    calls += caller.await??;
                }
                Ok(calls)
            });
            let calls = calls?;
            let what = format!("{language} `run`, body changed");
            self.table.row(&what, &format!("{:.0} /s", f64::from(calls) / length.as_secs_f64()), "", "");
        }
        Ok(())
    }

    /// Resident memory with many invocations in flight.
    pub(crate) fn memory(&self) {
        let config = RuntimeConfig::default();
        self.table.section("Resident memory with invocations in flight, default limits");
        for (plugin, language) in PLUGINS {
            let mut memory_bytes = 0;
            for count in [1, 100, 1_000] {
                let what = format!("{language}, {count} in flight");
                if memory_bytes * u64::from(count) > config.sandbox_bytes_max {
                    let admitted = config.sandbox_bytes_max / memory_bytes;
                    self.table.skipped(&what, &format!("the bound admits {admitted} at once, the others wait"));
                    continue;
                }
                match in_flight::measure(plugin, count) {
                    Err(reason) => self.table.skipped(&what, &format!("{reason:#}")),
                    Ok(held) => {
                        memory_bytes = held.linear_memory;
                        self.held(&what, count, &held, config.sandbox_bytes_max);
                    }
                }
            }
        }
    }

    fn held(&self, what: &str, count: u32, held: &Held, bound: u64) {
        let compared = format!(
            "{} each beyond {} at rest; their memories are {} of at most {}; {} afterwards",
            bytes(held.in_flight.saturating_sub(held.at_rest) / u64::from(count)),
            bytes(held.at_rest),
            bytes(held.linear_memory * u64::from(count)),
            bytes(bound),
            bytes(held.afterwards),
        );
        self.table.row(what, &bytes(held.in_flight), "", &compared);
    }

    /// Installing: compiled the first time, loaded afterwards.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        self.table.section("Installing, `describe` included");
        for (plugin, language) in PLUGINS {
            let Ok(component) = tradewind_tests::plugin(plugin) else {
                self.table.skipped(language, "not built");
                continue;
            };
            let folder = tempfile::tempdir()?;
            let cache = ArtifactCache::in_folder(folder.path())?;
            let install = || -> anyhow::Result<Duration> {
                // A new runtime each time: the pool is made for the plugin.
                let runtime = Runtime::new(RuntimeConfig::default(), cache.clone())?;
                runtime.reserve([component.as_slice()]).map_err(|error| anyhow!("{error:#}"))?;
                let started = Instant::now();
                self.executor.block_on(runtime.install(component.clone(), Grants::usual()))?;
                Ok(started.elapsed())
            };
            let size = bytes(component.len() as u64);
            let first = install().context(plugin)?;
            self.table.row(&format!("{language}, {size}, compiled"), &time(first), "", "");
            let again = in_turns(self.effort, vec![Case::new(format!("{language}, {size}, from the cache"), install)])?;
            for timing in &again {
                self.timing(timing, &format!("{:.0} × faster", first.as_secs_f64() / timing.median().as_secs_f64()));
            }
        }
        Ok(())
    }

    /// What each setting of the pool gives each plugin.
    pub(crate) fn settings(&self) -> anyhow::Result<()> {
        for (plugin, language) in PLUGINS {
            let subjects: anyhow::Result<Vec<_>> = settings::all()
                .into_iter()
                .map(|(name, tuning)| {
                    Ok((name, self.executor.block_on(Subject::install(plugin, settings::config(tuning)))?))
                })
                .collect();
            let subjects = match subjects {
                Ok(subjects) => subjects,
                Err(reason) => {
                    self.table.skipped(&format!("settings for {language}"), &format!("{reason:#}"));
                    continue;
                }
            };
            let cases = subjects
                .iter()
                .map(|(name, subject)| Case::new(name, || self.executor.block_on(subject.call(About::ChangedBody))));
            let timings = in_turns(self.effort, cases.collect())?;
            self.table.section(&format!("Settings of the pool, {language} `run`, body changed"));
            for timing in &timings {
                self.timing(timing, &format!("{:.2} × default", timing.times(&timings[0])));
            }
        }
        Ok(())
    }

    fn timing(&self, timing: &Timing, compared: &str) {
        self.table.row(&timing.name, &time(timing.median()), &time(timing.best()), compared);
    }

    fn subjects(&self) -> Vec<(&'static str, anyhow::Result<Arc<Subject>>)> {
        let install = |plugin| self.executor.block_on(Subject::install(plugin, RuntimeConfig::default())).map(Arc::new);
        PLUGINS.into_iter().map(|(plugin, language)| (language, install(plugin))).collect()
    }

    fn skipped_plugin(&self, language: &str, subject: &anyhow::Result<Arc<Subject>>) {
        if let Err(reason) = subject {
            self.table.skipped(&format!("{language} plugin"), &format!("{reason:#}"));
        }
    }
}

/// Bytes in the unit that fits.
fn bytes(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}
