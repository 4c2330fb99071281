//! The program as it runs for long: `tradewind dev` and `tradewind serve`, started and stopped as people do.

mod dev;
mod serve;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tradewind_tests::plugins_folder;
use tradewind_tests::webhook::PATIENCE;

/// The program beside the tests. `cargo xtask test` builds it.
fn tradewind() -> Command {
    let program = plugins_folder().unwrap().parent().unwrap().join("debug/tradewind");
    assert!(program.exists(), "no `tradewind` to test; hint: run `cargo build -p tradewind-host`");
    Command::new(program)
}

/// A `tradewind serve` that runs. It is killed when it is dropped.
struct Running {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
    errors: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts a command, and waits until its doors are open.
    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let first = lines.recv_timeout(PATIENCE);
        let Ok(first) = first else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it does not open its doors: {}", errors.join().unwrap_or_default());
        };
        let addresses: Vec<SocketAddr> = first
            .split("http://")
            .skip(1)
            .map(|rest| rest.split([',', ' ']).next().unwrap().parse().unwrap())
            .collect();
        let [public, admin] = addresses[..] else { panic!("{first}") };
        Self { child, public, admin, errors: Some(errors) }
    }

    /// Asks it to stop, and waits until it has. Answers how it ended, and what it logged.
    fn terminate(mut self) -> (ExitStatus, String) {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let ended = self.child.wait().unwrap();
        (ended, self.errors.take().unwrap().join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when a test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on a server file, which says everything that it does.
fn serve(config: &Path) -> Command {
    let mut serve = tradewind();
    serve.arg("serve").arg("--config").arg(config).env("TRADEWIND_LOG", "trace");
    serve
}
