//! Every bound of the emulator: its name, its unit and the reason for it.
//!
//! Those of the platform say so; the others keep a program that somebody left running from eating the machine. To add one,
//! add a constant here and refuse with a message that names its value.

use std::time::Duration;

/// Bytes of a request's body. 4 MiB: a product with 2,048 variants in full is below one.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Bytes of a receiver's answer that are read and kept for the page. 2 KiB: enough to see an error's message.
pub(crate) const ANSWER_BYTES_MAX: usize = 2 << 10;

/// How long a receiver may take to accept a connection. One second, as the platform documents.
pub(crate) const WEBHOOK_CONNECT_MAX: Duration = Duration::from_secs(1);

/// How long a receiver may take in all. Five seconds, as the platform documents.
pub(crate) const WEBHOOK_TOTAL_MAX: Duration = Duration::from_secs(5);

/// How often a webhook is tried again after the first attempt failed. Eight times, as the platform documents.
pub(crate) const WEBHOOK_RETRIES_MAX: u32 = 8;

/// How long all the retries take together. Four hours, as the platform documents.
pub(crate) const WEBHOOK_RETRIES_SPAN: Duration = Duration::from_hours(4);

/// Webhooks that are sent at one time. 64: more connections make no receiver faster.
pub(crate) const WEBHOOKS_IN_FLIGHT_MAX: usize = 64;

/// Webhooks that wait to be sent or sent again, in all shops. 100,000: about 1 GiB of bodies; what comes then is lost, and
/// the event says so, as the platform promises no more.
pub(crate) const WEBHOOKS_WAITING_MAX: usize = 100_000;

/// How long a webhook that is to arrive out of order waits for another one to pass it. Three seconds: then there is none.
pub(crate) const REORDER_HOLD_MAX: Duration = Duration::from_secs(3);

/// Attempts that the page can show. 500: several screens.
pub(crate) const ATTEMPTS_KEPT_MAX: usize = 500;

/// Events that a slow listener may be behind. 4,096: who is slower is told that it missed some.
pub(crate) const EVENTS_KEPT_MAX: usize = 4_096;

/// Variants that a webhook carries in full. 100, as the platform documents; the others are ids.
pub(crate) const WEBHOOK_VARIANTS_MAX: usize = 100;

/// Subscriptions of one app in one shop. 1,000: there are not that many topics.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1_000;

/// Products of one shop. 100,000: about 1 GiB.
pub(crate) const PRODUCTS_MAX: usize = 100_000;

/// Shops of one emulator. 10,000: enough for a test of fairness.
pub(crate) const SHOPS_MAX: usize = 10_000;

/// Apps of one emulator. 1,000: a machine runs a few.
pub(crate) const APPS_MAX: usize = 1_000;

/// Variants of one product. 2,048, as the platform documents.
pub(crate) const VARIANTS_MAX: usize = 2_048;

/// Options of one product. Three, as the platform documents.
pub(crate) const OPTIONS_MAX: usize = 3;

/// Tags of one product. 250, as the platform documents.
pub(crate) const TAGS_MAX: usize = 250;

/// Characters of a title, vendor, type, handle or tag. 255, as the platform documents.
pub(crate) const TEXT_CHARS_MAX: usize = 255;

/// Bytes of a product's description. 512 KiB, as the platform documents.
pub(crate) const BODY_HTML_BYTES_MAX: usize = 512 << 10;

/// Images of one product. 250, as the platform documents.
pub(crate) const IMAGES_MAX: usize = 250;

/// Metafields of one product. 250, as for lists of inputs.
pub(crate) const METAFIELDS_MAX: usize = 250;
