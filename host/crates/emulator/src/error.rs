//! What the emulator refuses, and why.

use crate::catalog::edit::Problem;

/// The emulator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}; hint: is another emulator running? port 0 takes any that is free")]
    Listen {
        /// What was asked for.
        port: u16,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Webhooks cannot be sent.
    #[error("the client that sends webhooks cannot be made")]
    Client(#[source] reqwest::Error),
    /// The emulator cannot begin at this time.
    #[error("the time {seconds} seconds after 1970 cannot be shown in a calendar")]
    Time {
        /// What was asked for.
        seconds: u64,
    },
    /// A name does not fit.
    #[error("{what} `{name}` {problem}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something that is not there.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// By which name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {max} {what} already, and no more are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A product cannot be changed like that.
    #[error("the product cannot be saved: {}", list(.0))]
    Invalid(Vec<Problem>),
    /// A subscription cannot be kept.
    #[error("the subscription cannot be kept: {0}")]
    Subscription(String),
}

fn list(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect();
    problems.join("; ")
}
