//! The network of a step: a resolver that answers every name with an address of the loopback device, and a gateway
//! that takes HTTP and HTTPS there. It records what origins answer, or replays what was recorded and opens no
//! connection at all. Programs need no proxy variable: they connect to the names that they always connect to.
//!
//! The sockets are opened inside a step's network namespace, which has nothing but loopback; an [`Outlet`] is what
//! an executor hands them to, and serves them from outside. A step cannot listen itself at the ports that are served,
//! which are those of HTTP and HTTPS.

mod authority;
mod body;
mod clients;
mod entry;
mod exchange;
mod gateway;
mod guard;
mod headers;
mod journal;
mod keystore;
mod lockfile;
mod look;
mod names;
mod outlet;
mod place;
mod replay;
mod resolver;
mod trust;
mod turns;
mod upstream;

pub use authority::{Authority, AuthorityError};
pub use entry::{Entry, Request};
pub use gateway::{Gateway, Sockets};
pub use guard::Guard;
pub use journal::{Journal, Miss, Mode};
pub use keystore::KeyStore;
pub use look::{Found, How};
pub use outlet::{NAME_SERVER, Outlet};
pub use place::Places;
pub use trust::bundle;
pub use upstream::{Limits, Upstream, UpstreamError};
