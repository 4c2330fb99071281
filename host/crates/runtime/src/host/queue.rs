//! `queue`: background work.

use super::{Reply, State, name, wit};
use crate::limits::Limit;
use crate::session::{LaterCall, Work};

impl wit::queue::Host for State {
    async fn enqueue_action(&mut self, action: String, params: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        name("action", &action)?;
        self.keep_texts([&action])?;
        let work = Work::Action { action, params: self.kept_json("params", params)? };
        let options = self.kept_options(options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn enqueue_call(&mut self, call: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        let call = self.kept_json("call", call)?;
        let work = Work::Call { call: LaterCall::parse(&call, &self.grants)? };
        let options = self.kept_options(options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn status(&mut self, id: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        name("id", &id)?;
        Ok(self.session.job_status(&id).await?.as_str().to_owned())
    }

    async fn cancel(&mut self, id: String) -> Reply<bool> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Writes)?;
        name("id", &id)?;
        Ok(self.session.cancel_job(&id).await?)
    }
}
