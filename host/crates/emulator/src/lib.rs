//! A small, honest Shopify on this machine: shops with products, the Admin APIs with their limits, and signed webhooks.
//!
//! `tradewind dev` starts it so that a newcomer sees a plugin work without an account, and tests use it. Start reading at
//! [`Emulator`]; everything that changes a product goes through `world`, everything that tells of it through `webhooks`.
//!
//! It knows nothing of the host, and shares no code with the clients that it tests: what it does is held to the platform's
//! documents, schema and recorded exchanges. Where the platform does not say, the module that decides says so.
//!
//! To add a resource: values and edits beside `catalog`, its REST form, its GraphQL types, and its topics.

mod bucket;
mod catalog;
mod clock;
mod emulator;
mod error;
mod event;
mod graphql;
mod http;
mod limits;
mod setup;
mod shop;
mod spelling;
mod version;
mod webhooks;
mod world;

pub use catalog::edit::{ImageEdit, MetafieldEdit, Problem, ProductEdit, VariantEdit};
pub use catalog::{Image, Metafield, Product, ProductOption, Status, Variant};
pub use emulator::{Config, Emulator};
pub use error::EmulatorError;
pub use event::{Answer, Attempt, Event, Unsubscribed, Withheld};
pub use graphql::sdl;
pub use shop::Plan;
pub use webhooks::{Faults, NewSubscription, Topic};
