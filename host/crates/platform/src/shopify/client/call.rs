//! One call from its place in the line to its end: budget, attempts, pauses, report.

use std::time::Duration;

use reqwest::{Method, Url};
use tokio::time::{Instant, sleep};
use tradewind_model::Json;

use super::budget::{FAR, Permit, TooLong};
use super::error::PlatformError;
use super::limits::{BUDGET_PAUSE_MAX, JITTER_MIN, JITTER_PART, PAUSE};
use super::options::Options;
use super::report::{Api, CallReport};
use super::request::Request;
use super::told::{Cost, rest_level, retry_after};
use super::transport::{Response, token_header};
use super::verdict::{self, Answer, Verdict};
use super::{Connection, Shared};

/// Points that a REST call costs.
const REST_COST: f64 = 1.0;

/// Makes a call and tells the observer what became of it.
pub(super) async fn call(
    shared: &Shared,
    connection: &Connection,
    request: Request,
    options: &Options,
) -> Result<Answer, PlatformError> {
    let began = Instant::now();
    let mut report = CallReport {
        app: connection.app.clone(),
        shop: connection.shop.clone(),
        api: request.api,
        operation: request.operation.clone(),
        cost: None,
        available: None,
        maximum: None,
        waited: Duration::ZERO,
        retries: 0,
        status: None,
        duration: Duration::ZERO,
        error: None,
    };
    let mut call = Call { shared, connection, request, deadline: began + options.timeout(), report: &mut report };
    let result = call.run(options.retries_max()).await;
    report.duration = began.elapsed();
    report.error = result.as_ref().err().map(PlatformError::code);
    shared.observer.called(&report);
    result
}

struct Call<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    request: Request,
    deadline: Instant,
    report: &'a mut CallReport,
}

impl Call<'_> {
    async fn run(&mut self, retries_max: u32) -> Result<Answer, PlatformError> {
        let token = token_header(&self.connection.token)?;
        let budget = self.shared.budgets.of(&self.connection.app, &self.connection.shop, self.request.api);
        // Whether an attempt before this one may have been done.
        let mut in_doubt = false;
        loop {
            let cost = self.request.document.as_ref().map_or(REST_COST, |document| self.shared.budgets.cost(document));
            let began = Instant::now();
            let permit = budget.take(cost, self.deadline).await;
            self.report.waited += began.elapsed();
            let mut permit = permit.map_err(|TooLong { wait }| self.rate_limited(wait))?;
            permit.sending();
            let Request { method, url, body, .. } = &self.request;
            let sent = self.shared.transport.send(method, url, &token, body.as_ref(), self.deadline).await;
            let verdict = match sent {
                Ok(response) if in_doubt && self.request.method == Method::DELETE && response.status == 404 => {
                    // It is gone: the attempt whose answer was lost did it.
                    self.told(permit, &response, &Cost::default());
                    Verdict::Done(Answer { body: Json::null(), headers: response.headers })
                }
                Ok(response) => {
                    let body = json(&response);
                    let cost = body.as_ref().filter(|_| self.request.api == Api::Graphql).map(Cost::of);
                    let cost = cost.unwrap_or_default();
                    self.told(permit, &response, &cost);
                    let pause = retry_after(&response.headers);
                    match response.status {
                        429 => budget.pause(pause.unwrap_or(PAUSE).min(BUDGET_PAUSE_MAX)),
                        // A full bucket is told with a good answer too.
                        200 | 201 => budget.pause(pause.unwrap_or_default().min(BUDGET_PAUSE_MAX)),
                        _ => {}
                    }
                    verdict::of_response(&self.request, response, body.as_ref(), &cost)
                }
                Err(failure) => {
                    if failure.is_unsent() {
                        permit.unsent();
                    } else {
                        permit.answered(None, None);
                    }
                    self.report.status = None;
                    verdict::of_failure(&self.request, failure)
                }
            };
            let (after, error) = match verdict {
                Verdict::Done(answer) => return Ok(answer),
                Verdict::Failed(error) => return Err(error),
                Verdict::Again { after, error } => (after, error),
                Verdict::Poll { url, after, error } => {
                    self.poll(*url);
                    (after, error)
                }
            };
            in_doubt |= !matches!(error, PlatformError::RateLimited { .. } | PlatformError::Unreachable { .. });
            let pause = stretched(after, (self.shared.chance)());
            if self.report.retries >= retries_max || Instant::now() + pause >= self.deadline {
                return Err(error);
            }
            self.report.retries += 1;
            self.report.waited += pause;
            sleep(pause).await;
        }
    }

    /// Takes what an answer says of the budget, for the next calls and for the report.
    fn told(&mut self, permit: Permit, response: &Response, cost: &Cost) {
        self.shared.notices.read(self.connection, &self.request, &response.headers);
        let level = match self.request.api {
            Api::Graphql => cost.level(),
            Api::Rest => rest_level(&response.headers),
        };
        if let (Some(document), Some(requested)) = (self.request.document, cost.requested) {
            self.shared.budgets.learn(document, requested);
        }
        // What was refused cost nothing: a throttled query says what it would have cost.
        let refused = response.status == 429 || (cost.requested.is_some() && cost.actual.is_none());
        let actual = if refused { Some(0.0) } else { cost.actual };
        let known = permit.answered(level, actual);
        self.report.status = Some(response.status);
        self.report.cost = match self.request.api {
            Api::Graphql => cost.actual.or(cost.requested),
            Api::Rest => Some(REST_COST),
        };
        self.report.available = known.map(|level| level.available);
        self.report.maximum = known.map(|level| level.maximum);
    }

    /// From now on asks for the result instead.
    fn poll(&mut self, url: Url) {
        self.request.url = url;
        self.request.method = Method::GET;
        self.request.body = None;
        self.request.repeatable = true;
    }

    fn rate_limited(&self, wait: Duration) -> PlatformError {
        PlatformError::RateLimited { api: self.request.api.as_str(), wait, status: self.report.status }
    }
}

/// A pause, made longer by chance.
fn stretched(pause: Duration, chance: u64) -> Duration {
    // A platform may name any time; beyond a year all are the same.
    let pause = pause.min(FAR);
    let most = pause / JITTER_PART + JITTER_MIN;
    // The upper half of a product of 64 bits and less than 2^58 nanoseconds.
    let part = (u128::from(chance) * most.as_nanos()) >> 64;
    pause + Duration::from_nanos(u64::try_from(part).unwrap_or_default())
}

/// The body as JSON, when it is that.
fn json(response: &Response) -> Option<Json> {
    Json::parse(std::str::from_utf8(&response.body).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_become_longer_by_chance_and_never_shorter() {
        let check = |pause_ms: u64, chance, expected_ms: u64| {
            let stretched = stretched(Duration::from_millis(pause_ms), chance).as_millis();
            assert_eq!(stretched, u128::from(expected_ms), "{pause_ms} {chance}");
        };
        check(0, 0, 0);
        check(0, 1 << 63, 50);
        check(2_000, 0, 2_000);
        check(2_000, 1 << 63, 2_300);
        check(2_000, u64::MAX, 2_599);
        assert!(stretched(Duration::MAX, u64::MAX) >= FAR);
    }
}
