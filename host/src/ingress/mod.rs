//! The door for webhooks: raw bytes in, verified, on disk, 200.
//!
//! The way of a request: `server` bounds connections, headers and time; [`Ingress`] finds the connection by the path, looks
//! at what the headers say of the signature, reads the body up to its cap while there is room, checks the signature over the
//! exact bytes, and only then reads what it is. The
//! delivery and its job are committed; then, and not before, the platform is answered 200 and the scheduler is told. A
//! duplicate is a 200 without a job. Whatever the store cannot take now is a 503, so that the platform sends it again.
//!
//! Nothing waits for a plugin here.

mod answer;
mod body;
mod connections;
mod door;
mod receive;
mod refused;
mod room;
mod server;

pub use answer::{Answer, RETRY_AFTER_SECONDS};
pub use body::{BODY_RATE_MIN, BODY_TIME_MAX, DEPTH_MAX};
pub use connections::{CONNECTIONS_MAX, ConnectionBounds, PEER_CONNECTIONS_MAX};
pub use door::{Door, Doors};
pub use receive::{COMMIT_TIME_MAX, Ingress};
pub use refused::REFUSED_LINES_MAX;
pub use room::{APP_KIB_MAX, BODIES_KIB_MAX, PEER_KIB_MAX, RoomBounds};
pub use server::{HEADER_TIME_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, Server};
