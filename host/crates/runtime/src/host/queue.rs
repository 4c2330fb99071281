//! `queue`: background work.

use super::{Reply, State, json, wit};
use crate::limits::Limit;
use crate::session::Work;

impl wit::queue::Host for State {
    async fn enqueue_action(&mut self, action: String, params: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        let work = Work::Action { action, params: json("params", params)? };
        Ok(self.session.enqueue(work, json("options", options)?).await?)
    }

    async fn enqueue_call(&mut self, call: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        let work = Work::Call { call: json("call", call)? };
        Ok(self.session.enqueue(work, json("options", options)?).await?)
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
