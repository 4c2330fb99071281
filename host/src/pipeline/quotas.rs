//! Quotas of a shop as plugins meet them: at the call that would exceed one, where that is known already, and at the commit
//! in any case.

use tradewind_model::{ActionError, Json, code};
use tradewind_store::{CommitError, Quota, QuotaExceeded};

use super::context::Context;
use super::work::Mark;

impl Context {
    /// Takes back what was buffered since `mark` when the unit of work would not be committed with it.
    pub(super) async fn within_quotas(&self, mark: Mark) -> Result<(), ActionError> {
        if self.host.store.quotas().is_none() {
            return Ok(());
        }
        let (shop, growth) = {
            let work = self.work.lock();
            (work.shop.clone(), work.growth())
        };
        match self.host.store.check_quotas(&shop, &growth, self.host.now_ms()).await {
            Err(CommitError::Quota(exceeded)) => {
                self.work.back_to(mark);
                Err(over_quota(&exceeded))
            }
            // What cannot be checked now is checked by the commit.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The depth in its chain of a job that this work enqueues.
    pub(super) fn next_in_chain(&self) -> Result<u32, ActionError> {
        let chain = self.cause.chain;
        let Some(quotas) = self.host.store.quotas() else { return Ok(chain.saturating_add(1)) };
        if u64::from(chain) < quotas.job_chain_max {
            return Ok(chain.saturating_add(1));
        }
        let (quota, max) = (Quota::JobChain, quotas.job_chain_max);
        self.host.store.count_refusal(&self.shop(), quota);
        Err(over_quota(&QuotaExceeded { quota, max, used: chain.into(), added: 1 }))
    }
}

/// The error that a plugin is answered with.
pub(super) fn over_quota(exceeded: &QuotaExceeded) -> ActionError {
    let details = serde_json::json!({ "limit": exceeded.quota.name(), "max": exceeded.max, "used": exceeded.used });
    let mut error = ActionError::permanent(code::QUOTA_EXCEEDED, exceeded.to_string());
    error.retryable = exceeded.quota.is_transient();
    error.details = Json::of(&details).ok();
    error
}
