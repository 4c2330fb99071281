//! A `PostgreSQL` server of one's own, for tests, benchmarks and fault runs: made in a temporary folder, thrown away after.
//!
//! Nothing has to run beforehand and nothing runs afterwards, however the program ends: see `keeper`. What asks the
//! server things goes through the product's own store; only databases are made here, with the server's own programs.

mod keeper;
mod programs;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use keeper::Keeper;
use programs::{Programs, User};

/// The server's superuser, who owns every database.
const SUPERUSER: &str = "tradewind";

/// Ports below those that Linux, macOS and the BSDs hand to outgoing connections, so that a stopped server finds its own
/// port free when it starts again.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// How many ports are tried, in case others take them too.
const PORTS_MAX: u32 = 50;

/// How often a server is started whose predecessor's processes are still ending: they notice when they next wait for
/// something, so a long statement holds them up. Half a minute or more.
const STARTS_MAX: u32 = 300;

/// What a crash of the machine may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: as a real server is set. For benchmarks and for tests that kill.
    Real,
    /// Everything. A stopped or killed server still loses nothing, because the machine's memory holds what was written.
    /// For tests where only speed matters.
    Off,
}

impl Durability {
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Real => &[],
            Self::Off => &["fsync=off", "full_page_writes=off"],
        }
    }
}

/// The one server that the tests of a program share, with [`Durability::Off`]; each takes a database of its own.
///
/// # Panics
///
/// When there is no server to be had: such a test fails, it is not left out.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| match Cluster::with(Durability::Off) {
        Ok(cluster) => cluster,
        Err(error) => panic!("no PostgreSQL: {error:#}"),
    })
}

/// A running server with its data. Goes away, data and all, when dropped or when the program ends.
///
/// Its functions block, some for seconds.
pub struct Cluster {
    programs: Programs,
    user: Option<User>,
    folder: PathBuf,
    port: u16,
    keeper: Keeper,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes and starts a server with [`Durability::Real`].
    pub fn start() -> anyhow::Result<Self> {
        Self::with(Durability::Real)
    }

    /// Makes and starts a server.
    ///
    /// Fails with what to install when the server's programs are missing.
    pub fn with(durability: Durability) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let (folder, user) = make_folder()?;
        let server = server(&programs, folder.path(), durability);
        let keeper = Keeper::spawn(folder.path(), user, &programs.path("initdb"), SUPERUSER, &server)?;
        // The keeper removes it.
        let folder = folder.keep();
        let mut cluster = Self { programs, user, folder, port: 0, keeper, databases: AtomicU32::new(0) };
        cluster.keeper.made()?;
        for _ in 0..PORTS_MAX {
            cluster.port = free_port()?;
            match cluster.keeper.start(cluster.port) {
                Ok(()) => return Ok(cluster),
                // Somebody was faster.
                Err(refusal) if refusal.port_is_taken() => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        bail!("no free port for PostgreSQL between {} and {}", PORTS.start, PORTS.end)
    }

    /// Makes an empty database and says its URL. The name begins with `hint`.
    ///
    /// The URL leads through the Unix socket; [`Cluster::over_tcp`] has the other way.
    pub fn database(&self, hint: &str) -> anyhow::Result<String> {
        self.database_with(hint, "")
    }

    /// The same with options of `create database`.
    pub fn database_with(&self, hint: &str, options: &str) -> anyhow::Result<String> {
        let hint: String =
            hint.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        let hint = hint.to_ascii_lowercase();
        // A name has at most 63 bytes.
        let hint = hint.get(..40).unwrap_or(&hint);
        let name = format!("{hint}_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("create database \"{name}\" {options}"))
            .with_context(|| format!("making the database `{name}`"))?;
        Ok(self.url(&name))
    }

    /// The same database by way of TCP.
    pub fn over_tcp(&self, url: &str) -> String {
        url.replace(&socket_host(&self.folder), &Ipv4Addr::LOCALHOST.to_string())
    }

    /// Runs statements with the program `psql` and says what they found: a line for a row, its values separated by `|`.
    ///
    /// For what a test asks and the product does not.
    pub fn psql(&self, url: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = self.programs.command("psql", self.user, &self.folder);
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
        let found = run(psql.arg("--dbname").arg(url).arg("--command").arg(sql))?;
        Ok(found.trim_end().to_owned())
    }

    /// Where the server listens beside its socket.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The server's first process; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.keeper.server()
    }

    /// Ends every client's connection, as a server does that is short of something, and says how many there were.
    pub fn terminate_backends(&self) -> anyhow::Result<u32> {
        let terminated = self.ask(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid()",
        )?;
        terminated.parse().with_context(|| format!("`psql` answered `{terminated}`"))
    }

    /// Stops the server without any order, as if it had crashed: it recovers from its log when it starts again.
    pub fn stop_immediately(&mut self) -> anyhow::Result<()> {
        self.keeper.stop()
    }

    /// Starts a stopped or killed server again, with the same data, port and URLs.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.keeper.await_end()?;
        for _ in 0..STARTS_MAX {
            match self.keeper.start(self.port) {
                Ok(()) => return Ok(()),
                // The processes of a server that was killed notice it one after the other.
                Err(refusal) if refusal.predecessor_is_ending() => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        bail!("PostgreSQL does not start again because what was left of it does not end:\n{}", self.keeper.log())
    }

    /// The last lines of the server's log.
    pub fn log(&self) -> String {
        self.keeper.log()
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@{}:{}/{database}", socket_host(&self.folder), self.port)
    }

    /// Runs a statement in the database that is always there.
    fn ask(&self, sql: &str) -> anyhow::Result<String> {
        self.psql(&self.url("postgres"), sql)
    }
}

/// The host of a URL that leads to the socket: the folder, with its slashes written so that they are part of a name.
fn socket_host(folder: &Path) -> String {
    folder.to_string_lossy().replace('/', "%2F")
}

/// A folder for everything, and who owns it if not we: as root a server does not run.
fn make_folder() -> anyhow::Result<(tempfile::TempDir, Option<User>)> {
    // A socket's path has at most 103 bytes on macOS; `/.s.PGSQL.20000` and the folder's own name take 30 of them.
    let wanted = Some(std::env::temp_dir()).filter(|folder| folder.as_os_str().len() < 70);
    let parent = wanted.unwrap_or_else(|| PathBuf::from("/tmp"));
    let folder = tempfile::Builder::new().prefix("tw-pg-").tempdir_in(&parent)?;
    let user = User::to_run_as(folder.path())?;
    if let Some(user) = user {
        std::os::unix::fs::chown(folder.path(), Some(user.uid), Some(user.gid)).context("giving the folder away")?;
    }
    Ok((folder, user))
}

/// The server's command, but for its port.
fn server(programs: &Programs, folder: &Path, durability: Durability) -> Vec<String> {
    let mut server = vec![programs.path("postgres"), "-D".to_owned(), folder.join("data").display().to_string()];
    let fixed = [
        format!("unix_socket_directories={}", folder.display()),
        format!("listen_addresses={}", Ipv4Addr::LOCALHOST),
        "max_connections=200".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "log_checkpoints=off".to_owned(),
    ];
    let settings = fixed.into_iter().chain(durability.settings().iter().map(|&setting| setting.to_owned()));
    server.extend(settings.flat_map(|setting| ["-c".to_owned(), setting]));
    server
}

/// A port that nobody listens on; the next caller gets another.
fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Programs that start together begin far from each other.
    let first = std::process::id().wrapping_mul(7919) % u32::from(count);
    for _ in 0..count {
        let offset = (first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(count);
        let port = PORTS.start + u16::try_from(offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port between {} and {} is taken", PORTS.start, PORTS.end)
}

/// Runs a program to its end and gives what it printed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("`{program}` does not start"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{program}` failed: {}", errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
