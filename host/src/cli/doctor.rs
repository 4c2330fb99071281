//! `tradewind doctor`: looks at a store from all sides, and says what to do about what is not well.

mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tradewind_model::Shop;
use tradewind_store::{JobFilter, JobState, Location, NewInvocation, STATEMENTS, Setting, Store, Unit};

use super::plugin::show::{bytes, duration, number};
use super::problems::Problems;
use super::store::{Place, StoreArguments, block_on};
use super::text::{json_line, plural, print, printable};
use super::{Exit, Fail, Surroundings, age};

pub(super) const HELP: &str = "\
Examples:
  tradewind doctor
  tradewind doctor --store postgres://tradewind@db/tradewind --watch 30s
  tradewind doctor --shop hats.example --config tradewind.toml

Each line begins with `ok`, `warn` or `fail`. It writes a few entries to the invocation log to see how long a commit takes,
and nothing else, unless `--recount` puts counters right that are not in step with what shops keep.

The store is `--store`, else the environment variable TRADEWIND_STORE, else `sqlite:tradewind.db` in the current folder.

Exit codes:
  0  nothing failed; there may be warnings
  2  wrong usage
  6  something failed";

/// How often hosts are looked at while they are watched.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The longest that hosts are watched: a minute is many leases.
const WATCH_MAX_MS: u64 = 60_000;

/// A job that waits for its turn longer than this is worth a warning: 10 minutes.
const WAIT_MAX_MS: i64 = 600_000;

/// Commits that are timed, after one that connects.
const COMMITS: usize = 5;

/// A commit that takes longer is worth a warning. 50 ms: a slow rotating disk takes less.
const COMMIT_MAX: Duration = Duration::from_millis(50);

/// A log of SQLite beyond this is worth a warning. 256 MiB: four times what is left after a checkpoint.
const WAL_BYTES_MAX: u64 = 256 << 20;

/// Parked jobs that are read for their reasons. 1,000: enough to see which reasons there are.
const PARKED_READ: u32 = 1_000;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How long to wait for a sign of life of each host: `5s`, at most `60s`. `0s` does not watch.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    watch: String,
    /// Shows what this shop keeps, quota by quota.
    #[arg(long)]
    shop: Option<String>,
    /// The server file, whose quotas are compared with. Without it they are the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Counts what every shop keeps, or the one of `--shop`, and puts its counters right. Reads all of it.
    #[arg(long)]
    recount: bool,
    /// Prints one JSON object for each line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line. For programs the names of the members are for ever.
#[derive(Serialize)]
struct Finding {
    level: Level,
    check: &'static str,
    says: String,
    hint: Option<&'static str>,
    /// Usage of a shop in numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<usage::UsageJson>,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, says: says.into(), hint: None, usage: None }
    }

    fn warn(check: &'static str, says: impl Into<String>, hint: &'static str) -> Self {
        Self { level: Level::Warn, check, says: says.into(), hint: Some(hint), usage: None }
    }

    /// What failed mostly says itself what to do.
    fn fail(check: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Fail, check, says: says.into(), hint: None, usage: None }
    }

    fn text(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        };
        let hint = self.hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        format!("{level:<4}  {:<10}  {}{hint}\n", self.check, printable(&self.says).replace('\n', "; "))
    }
}

/// What was found so far. Each finding is shown at once: some take a while.
struct Report {
    json: bool,
    worst: Level,
}

impl Report {
    fn add(&mut self, finding: &Finding) -> Result<(), Fail> {
        self.worst = self.worst.max(finding.level);
        if self.json { print(json_line(finding)?) } else { print(finding.text()) }
    }

    fn add_all(&mut self, findings: Result<Vec<Finding>, Fail>, check: &'static str) -> Result<(), Fail> {
        match findings {
            Ok(findings) => findings.iter().try_for_each(|finding| self.add(finding)),
            Err(fail) => self.add(&Finding::fail(check, fail.to_string())),
        }
    }

    fn exit(&self) -> Exit {
        if self.worst == Level::Fail { Exit::Failed } else { Exit::Fine }
    }
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let mut problems = Problems::default();
    let watch_ms = problems.take(age::parse(&arguments.watch));
    if watch_ms > WATCH_MAX_MS {
        problems.add(format_args!("`--watch` is `{}`; hint: at most `60s`", arguments.watch));
    }
    let place = arguments.store.place(surroundings, &mut problems);
    problems.none()?;
    let Some(place) = place else { return Ok(Exit::Usage) };
    let question = usage::Question {
        quotas: usage::quotas_of(arguments.config.as_deref())?,
        shop: arguments.shop.as_deref(),
        recount: arguments.recount,
    };
    let mut report = Report { json: arguments.json, worst: Level::Ok };
    block_on(async {
        if let Some(store) = opened(&place, &mut report).await? {
            let watch = Duration::from_millis(watch_ms);
            let examined = examine(&store, &mut report, watch, surroundings.now_ms(), &question).await;
            store.close().await;
            examined?;
        }
        Ok(report.exit())
    })
}

/// The store, when it is there and its tables are up to date.
async fn opened(place: &Place, report: &mut Report) -> Result<Option<Store>, Fail> {
    if place.is_missing() {
        let missing = place.open().await.err().map(|fail| fail.to_string()).unwrap_or_default();
        report.add(&Finding::fail("store", missing))?;
        return Ok(None);
    }
    let state = match place.migration_state().await {
        Ok(state) => state,
        Err(fail) => {
            report.add(&Finding::fail("store", fail.to_string()))?;
            return Ok(None);
        }
    };
    for finding in about_place(place) {
        report.add(&finding)?;
    }
    if let Err(fail) = place.up_to_date(state) {
        report.add(&Finding::fail("migrations", fail.to_string()))?;
        return Ok(None);
    }
    report.add(&Finding::ok("migrations", format!("{} of {}", state.applied, state.known)))?;
    match place.open().await {
        Ok(store) => Ok(Some(store)),
        Err(fail) => {
            report.add(&Finding::fail("store", fail.to_string()))?;
            Ok(None)
        }
    }
}

async fn examine(
    store: &Store,
    report: &mut Report,
    watch: Duration,
    now_ms: i64,
    question: &usage::Question<'_>,
) -> Result<(), Fail> {
    report.add_all(statements(store).await, "statements")?;
    report.add_all(durability(store).await, "durability")?;
    report.add_all(commits(store, now_ms).await, "commits")?;
    report.add_all(jobs(store, now_ms).await, "jobs")?;
    report.add_all(usage::findings(store, question).await, "usage")?;
    report.add_all(hosts(store, watch).await, "hosts")
}

/// Which database, and what its files say.
fn about_place(place: &Place) -> Vec<Finding> {
    let shown = &place.shown;
    let Location::Sqlite(path) = &place.location else {
        return vec![Finding::ok("store", format!("`{shown}`, PostgreSQL, answers"))];
    };
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let header = header(path);
    // Bytes 18 and 96 to 99 of the file, by its format: how it is written, and which version wrote last.
    let is_wal = header.is_some_and(|header| header[18] == 2);
    let version = header.map_or(0, |header| u32::from_be_bytes([header[96], header[97], header[98], header[99]]));
    let version = format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000);
    let says = format!("`{shown}`, {}, last written by SQLite {version}", bytes(size(path)));
    let mut findings = vec![if is_wal {
        Finding::ok("store", says + ", with a write-ahead log")
    } else {
        Finding::warn("store", says + ", without a write-ahead log", "is the file on a network drive? use a local disk")
    }];
    let wal = size(&path.with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy())));
    if wal > WAL_BYTES_MAX {
        let says = format!("the write-ahead log has {}", bytes(wal));
        findings.push(Finding::warn("log", says, "a program that reads for long keeps it; end backups and shells"));
    }
    findings
}

/// The header of a SQLite file.
fn header(path: &Path) -> Option<[u8; 100]> {
    use std::io::Read as _;
    let mut header = [0; 100];
    std::fs::File::open(path).ok()?.read_exact(&mut header).ok()?;
    header.starts_with(b"SQLite format 3\0").then_some(header)
}

async fn statements(store: &Store) -> Result<Vec<Finding>, Fail> {
    let problems = store.check_statements().await?;
    Ok(if problems.is_empty() {
        vec![Finding::ok("statements", format!("all {} are understood", STATEMENTS.len()))]
    } else {
        let fail = |problem: &String| {
            let hint = Some("were tables changed by hand? restore a backup, or ask for help with this line");
            Finding { hint, ..Finding::fail("statements", problem.as_str()) }
        };
        problems.iter().map(fail).collect()
    })
}

/// Whether what is committed outlives a loss of power.
async fn durability(store: &Store) -> Result<Vec<Finding>, Fail> {
    let settings = store.durability().await?;
    let finding = |setting: &Setting| {
        let says = format!("`{}` is `{}`", setting.name, setting.value);
        if setting.is_safe {
            return Finding::ok("durability", says);
        }
        let says = says + ": a loss of power loses webhooks that were answered";
        Finding { hint: Some("turn it on in the settings of the database"), ..Finding::fail("durability", says) }
    };
    Ok(settings.iter().map(finding).collect())
}

/// How long it takes until something small is on disk. What is written is a line of the invocation log.
async fn commits(store: &Store, now_ms: i64) -> Result<Vec<Finding>, Fail> {
    let mut took = Vec::new();
    for _ in 0..=COMMITS {
        let mut unit = Unit::new(Shop::new("tradewind", "doctor"), now_ms);
        unit.log.push(NewInvocation {
            delivery_seq: None,
            job_seq: None,
            job_id: None,
            plugin: None,
            version: None,
            action: None,
            phase: None,
            outcome: "doctor".to_owned(),
            detail: None,
            attempt: 1,
            duration_us: 0,
        });
        let start = Instant::now();
        store.commit(unit).await?;
        took.push(start.elapsed());
    }
    // The first one connected.
    took.remove(0);
    took.sort_unstable();
    let (median, longest) = (took[COMMITS / 2], took[COMMITS - 1]);
    let says = format!("one small commit takes {}, at most {}", duration(median), duration(longest));
    Ok(vec![if median > COMMIT_MAX {
        Finding::warn("commits", says, "is the disk slow or busy, or the server far away?")
    } else {
        Finding::ok("commits", says)
    }])
}

async fn jobs(store: &Store, now_ms: i64) -> Result<Vec<Finding>, Fail> {
    let counts = store.count_jobs(None, None).await?;
    let of = |state: JobState| counts.iter().filter(move |count| count.state == state);
    let sum = |state| of(state).map(|count| count.count).sum::<u64>();
    let [queued, delayed, parked] = JobState::ALL.map(sum);
    let says = [queued, delayed, parked].map(number);
    let says = format!("{} queued, {} delayed, {} parked", says[0], says[1], says[2]);
    let mut findings = vec![Finding::ok("jobs", says)];
    if let Some(oldest) = of(JobState::Queued).min_by_key(|count| count.oldest_ms) {
        let waited_ms = now_ms.saturating_sub(oldest.oldest_ms);
        let says =
            format!("the oldest queued job, of `{}`, was made {}", oldest.shop, age::ago(now_ms, oldest.oldest_ms));
        findings.push(if waited_ms > WAIT_MAX_MS {
            Finding::warn(
                "waiting",
                says,
                "`tradewind job list --state queued` shows it; is a host running, and fast enough?",
            )
        } else {
            Finding::ok("waiting", says)
        });
    }
    if parked > 0 {
        let filter = JobFilter { state: Some(JobState::Parked), ..JobFilter::default() };
        let mut reasons = BTreeMap::<_, u64>::new();
        for job in store.list_jobs(&filter, i64::MIN, PARKED_READ).await? {
            *reasons.entry(job.reason.unwrap_or_default()).or_default() += 1;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{} `{reason}`", number(*count))).collect();
        let first = if parked > u64::from(PARKED_READ) { "of the first 1,000: " } else { "" };
        let says = format!("{} for a person: {first}{}", plural(parked, "job waits", "jobs wait"), reasons.join(", "));
        findings.push(Finding::warn(
            "parked",
            says,
            "`tradewind job list --state parked`, then `job retry` or `job purge`",
        ));
    }
    Ok(findings)
}

/// Who works, and on what.
async fn hosts(store: &Store, watch: Duration) -> Result<Vec<Finding>, Fail> {
    let first = store.hosts().await?;
    let mut still: Vec<&str> = first.iter().map(|(host, _)| host.as_str()).collect();
    let start = Instant::now();
    while !still.is_empty() && start.elapsed() < watch {
        tokio::time::sleep(LOOK_EVERY.min(watch)).await;
        let now = store.hosts().await?;
        // Whose beat moved is alive; who has left is gone for good.
        still.retain(|host| {
            let beat = |hosts: &[(String, i64)]| hosts.iter().find(|(id, _)| id == host).map(|(_, beat)| *beat);
            beat(&now) == beat(&first)
        });
    }
    let partitions = store.partitions().await?;
    let mut owners = BTreeMap::<&str, usize>::new();
    for owner in partitions.iter().filter_map(|partition| partition.owner.as_deref()) {
        *owners.entry(owner).or_default() += 1;
    }
    let mut findings = Vec::new();
    for (host, _) in &first {
        let says = format!("`{host}` owns {} partitions", owners.get(host.as_str()).unwrap_or(&0));
        findings.push(if watch.is_zero() {
            Finding::ok("host", says + ", and was not watched")
        } else if still.contains(&host.as_str()) {
            let says = format!("{says}, and showed no life for {}", duration(watch));
            Finding::warn("host", says, "is it stopped or frozen? others take its partitions over by themselves")
        } else {
            Finding::ok("host", says + ", and is alive")
        });
    }
    if first.is_empty() {
        findings.push(Finding::warn("hosts", "none is known, so no job runs", "start a host on this store"));
    }
    let gone: Vec<_> = owners.keys().filter(|owner| !first.iter().any(|(host, _)| host == *owner)).collect();
    for owner in gone {
        let says = format!("`{owner}` owns {} partitions, but is no host", owners[owner]);
        findings.push(Finding::warn("leases", says, "a running host takes them over within the length of a lease"));
    }
    let free = partitions.iter().filter(|partition| partition.owner.is_none()).count();
    findings.push(if free == 0 {
        Finding::ok("leases", format!("all {} partitions have an owner", partitions.len()))
    } else {
        let says = format!("{free} of {} partitions have no owner", partitions.len());
        Finding::warn("leases", says, "their jobs wait until a running host takes them")
    });
    Ok(findings)
}
