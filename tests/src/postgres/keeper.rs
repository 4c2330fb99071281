//! The process that starts the server and outlives us by a moment.
//!
//! A small shell holds the other end of a pipe from us. However we end, killed too, the pipe is closed then; the shell
//! reads its end, ends the server and removes the folder. Until then it starts and stops the server on our word.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use super::programs::User;

/// For a start with recovery, or for an end, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much of the log is kept.
const LOG_LINES_MAX: usize = 40;

/// The shell's program. Its arguments are the folder, the program that fills it with an empty cluster, the superuser's name
/// and the server's command. It obeys `start PORT` and `stop`, and says `@made`, `@started PID` and `@ended` between the
/// lines that the programs print.
///
/// Whether the empty cluster itself survives a crash of the machine does not matter, hence `--no-sync`.
///
/// A shell of its own waits for each server, so that its end is known at once. It tells the process through a named pipe,
/// so that there is no moment in which a server runs that the outer shell could not end. `QUIT` is the server's word for
/// ending without order; it kills what does not obey after five seconds, and `CONT` wakes it if a test made it sleep. `PIPE`
/// is ignored because nobody listens any more when the shell cleans up. That may take it several times: the processes of a
/// server that was killed go on writing until they notice.
const SHELL: &str = r#"
trap "" PIPE
folder=$1
initdb=$2
superuser=$3
shift 3
if "$initdb" --pgdata="$folder/data" --username="$superuser" --auth=trust \
  --encoding=UTF8 --locale=C --no-sync </dev/null 2>&1
then echo "@made"
else echo "@ended"
fi
mkfifo "$folder/started"
server=
stop() {
  [ -z "$server" ] || { kill -QUIT "$server"; kill -CONT "$server"; }
  server=
  wait
}
while read -r order port; do
  case $order in
    start)
      wait
      (
        "$@" -p "$port" </dev/null 2>&1 &
        echo $! >"$folder/started"
        echo "@started $!"
        wait $!
        echo "@ended"
      ) &
      read -r server <"$folder/started"
      ;;
    stop) stop ;;
  esac
done
stop
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$folder/data" && break
  sleep 1
done
rm -rf "$folder"
"#;

enum Event {
    Made,
    Ready,
    Ended,
}

/// Whether there is a server, and what it said last.
#[derive(Default)]
struct Seen {
    server: Option<u32>,
    log: VecDeque<String>,
}

/// The shell that keeps the server.
pub(super) struct Keeper {
    shell: Child,
    /// Taken when it is over: closing it ends everything.
    orders: Option<ChildStdin>,
    /// The lock is for a keeper that many threads look at; only its owner waits for events.
    events: Mutex<Receiver<Event>>,
    seen: Arc<Mutex<Seen>>,
    folder: PathBuf,
}

/// Why a server did not start: its last words.
#[derive(Debug)]
pub(super) struct Refusal {
    why: String,
    log: String,
}

impl Refusal {
    pub(super) fn port_is_taken(&self) -> bool {
        self.log.contains("could not create any TCP/IP sockets")
    }

    pub(super) fn predecessor_is_ending(&self) -> bool {
        let signs =
            ["is still in use", "lock file \"postmaster.pid\" already exists", "could not create any TCP/IP sockets"];
        signs.iter().any(|sign| self.log.contains(sign))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgreSQL does not start: {}\n{}", self.why, self.log)
    }
}

impl std::error::Error for Refusal {}

impl Keeper {
    /// Starts the shell, which owns the folder from now on and begins to fill it.
    pub(super) fn spawn(
        folder: &Path,
        user: Option<User>,
        initdb: &str,
        superuser: &str,
        server: &[String],
    ) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SHELL).arg("tradewind-postgres").arg(folder).args([initdb, superuser]).args(server);
        // A group of its own: what a terminal sends to ours, such as an interrupt, must not reach it.
        shell.current_dir(folder).env("LC_ALL", "C").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some(user) = user {
            user.runs(&mut shell);
        }
        let mut shell = shell.spawn().with_context(|| {
            let folder = folder.display();
            format!(
                "`sh` does not start in `{folder}`; hint: as root, set TMPDIR to a folder that every user may enter"
            )
        })?;
        let (Some(orders), Some(output)) = (shell.stdin.take(), shell.stdout.take()) else {
            bail!("`sh` has no standard streams");
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sender, events) = mpsc::channel();
        let listener = Arc::clone(&seen);
        // Ends when the shell and the server's last process have.
        std::thread::spawn(move || listen(output, &listener, &sender));
        Ok(Self { shell, orders: Some(orders), events: Mutex::new(events), seen, folder: folder.to_owned() })
    }

    /// Waits until there is an empty cluster.
    pub(super) fn made(&mut self) -> anyhow::Result<()> {
        match self.next().context("waiting for `initdb`")? {
            Event::Made => Ok(()),
            Event::Ready | Event::Ended => bail!("`initdb` failed:\n{}", self.log()),
        }
    }

    /// Starts the server and waits until it takes connections.
    pub(super) fn start(&mut self, port: u16) -> Result<(), Refusal> {
        self.seen().log.clear();
        let outcome = match self.order(&format!("start {port}")) {
            Ok(()) => self.next(),
            Err(error) => Err(error),
        };
        let why = match outcome {
            Ok(Event::Ready) => return Ok(()),
            Ok(Event::Made | Event::Ended) => "it ended at once".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        Err(Refusal { why, log: self.log() })
    }

    /// Ends the server without order and waits until it has.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        self.order("stop")?;
        self.await_end()
    }

    /// Waits until there is no server; for one that somebody else ended.
    pub(super) fn await_end(&mut self) -> anyhow::Result<()> {
        while self.server().is_some() {
            self.next().context("waiting for PostgreSQL to end")?;
        }
        // Nothing of what happened concerns the next server.
        let events = self.events.get_mut().unwrap_or_else(PoisonError::into_inner);
        while events.try_recv().is_ok() {}
        Ok(())
    }

    /// The server's first process.
    pub(super) fn server(&self) -> Option<u32> {
        self.seen().server
    }

    /// The last lines of the server's log.
    pub(super) fn log(&self) -> String {
        self.seen().log.iter().fold(String::new(), |log, line| log + "  " + line + "\n")
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the keeper of PostgreSQL is gone")?;
        writeln!(orders, "{order}").context("the keeper of PostgreSQL is gone")
    }

    fn next(&mut self) -> anyhow::Result<Event> {
        let events = self.events.get_mut().unwrap_or_else(PoisonError::into_inner);
        events.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow!("nothing happened for {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => anyhow!("the keeper of PostgreSQL is gone"),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = loop {
            let events = self.events.get_mut().unwrap_or_else(PoisonError::into_inner);
            match events.recv_timeout(PATIENCE) {
                Ok(_) => {}
                // The channel breaks when the shell and the server's last process have ended.
                Err(error) => break error == RecvTimeoutError::Disconnected,
            }
        };
        // What does not end in time is left to the shell: waiting for longer would hide why the test failed.
        if ended {
            drop(self.shell.wait());
            // The shell cannot remove it from a folder where only we may write.
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

/// Takes down what the shell and the server say.
fn listen(output: ChildStdout, seen: &Mutex<Seen>, events: &Sender<Event>) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let event = if let Some(pid) = line.strip_prefix("@started ") {
            seen.server = pid.parse().ok();
            None
        } else if line == "@made" {
            Some(Event::Made)
        } else if line == "@ended" {
            seen.server = None;
            Some(Event::Ended)
        } else {
            if seen.log.len() == LOG_LINES_MAX {
                seen.log.pop_front();
            }
            let ready = line.contains("database system is ready to accept connections");
            seen.log.push_back(line.into_owned());
            ready.then_some(Event::Ready)
        };
        drop(seen);
        // Nobody may be waiting any more; the server goes on talking.
        if let Some(event) = event {
            drop(events.send(event));
        }
    }
}
