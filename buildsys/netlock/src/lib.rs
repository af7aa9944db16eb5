//! The network of a step: a resolver that answers every name with an address of the loopback device, and a gateway
//! that takes HTTP and HTTPS there. It records what origins answer, or replays what was recorded and opens no
//! connection at all. Programs need no proxy variable: they connect to the names that they always connect to.
//!
//! The sockets are opened inside a step's network namespace, which has nothing but loopback; [`Gateway::serve`]
//! serves them from outside.

mod authority;
mod body;
mod entry;
mod gateway;
mod headers;
mod journal;
mod names;
mod upstream;

pub use authority::{Authority, AuthorityError};
pub use entry::{Entry, Request};
pub use gateway::{Gateway, Sockets};
pub use journal::{Journal, Miss, Mode};
pub use upstream::{Limits, UpstreamError};
