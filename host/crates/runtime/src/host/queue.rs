//! `queue`: background work.

use super::{Reply, State, wit};
use crate::limits::Limit;
use crate::session::Work;

impl wit::queue::Host for State {
    async fn enqueue_action(&mut self, action: String, params: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        self.keep_texts([&action])?;
        let work = Work::Action { action, params: self.kept_json("params", params)? };
        let options = self.kept_json("options", options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn enqueue_call(&mut self, call: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        let work = Work::Call { call: self.kept_json("call", call)? };
        let options = self.kept_json("options", options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn status(&mut self, id: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        Ok(self.session.job_status(&id).await?.as_str().to_owned())
    }

    async fn cancel(&mut self, id: String) -> Reply<bool> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Writes)?;
        Ok(self.session.cancel_job(&id).await?)
    }
}
