//! What happens, as it happens: the live feed.

use serde::Serialize;

/// Something that happened in the emulator.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// An app called an API.
    Called {
        /// Which shop's.
        shop: String,
        /// Which app.
        app: String,
        /// Method and path, or `graphql` and the names of the fields that it asks for.
        call: String,
        /// The answer's HTTP status.
        status: u16,
        /// Points or requests that it cost; nothing when it was refused.
        cost: u32,
        /// What is left of the budget.
        left: u32,
        /// It was refused because the budget was used up.
        throttled: bool,
    },
    /// A product was created, updated or deleted.
    Changed {
        /// In which shop.
        shop: String,
        /// Which topic tells of it.
        topic: String,
        /// Which product.
        product: u64,
        /// Its title.
        title: String,
        /// Who did it: `merchant`, or an app's client id.
        by: String,
    },
    /// An attempt to send a webhook is over.
    Sent(Attempt),
    /// A webhook is not sent.
    Withheld {
        /// Of which shop.
        shop: String,
        /// What it would have told.
        topic: String,
        /// Why not.
        why: Withheld,
    },
    /// A subscription is gone.
    Unsubscribed {
        /// In which shop.
        shop: String,
        /// Whose.
        app: String,
        /// Which one.
        subscription: u64,
        /// What it was for.
        topic: String,
        /// Why it is gone.
        why: Unsubscribed,
    },
}

/// One attempt to send a webhook.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Of which shop.
    pub shop: String,
    /// To which app.
    pub app: String,
    /// What it tells.
    pub topic: String,
    /// Where it was sent.
    pub address: String,
    /// The webhook's own id, equal in all attempts.
    pub webhook_id: String,
    /// The id of what happened, equal in all webhooks of it.
    pub event_id: String,
    /// The subscription that it was sent for.
    pub subscription: u64,
    /// From one; at most nine.
    pub attempt: u32,
    /// When, in the emulator's time.
    pub at: String,
    /// What came of it.
    pub answer: Answer,
    /// The bytes that were sent, as text.
    pub body: String,
}

/// What a receiver made of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// It answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// How the answer's body begins.
        body: String,
    },
    /// It took too long.
    TimedOut,
    /// It could not be reached, or broke off.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Answer {
    /// The platform takes any 2xx for a success, and a redirect for a failure.
    pub fn success(&self) -> bool {
        matches!(self, Self::Answered { status: 200..=299, .. })
    }
}

/// Why a webhook is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Another one of the same product follows so soon that it tells both.
    Collapsed,
    /// It would say the same as the one before.
    Equal,
    /// A fault that was switched on lost it.
    Lost,
    /// Too many are waiting.
    TooMany,
}

/// Why a subscription is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsubscribed {
    /// The app asked for it.
    Asked,
    /// Its receiver failed all the retries of a webhook.
    Failures,
    /// The app was uninstalled.
    Uninstalled,
}
