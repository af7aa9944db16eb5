//! The scheduler: nodes in critical-path order, early cutoff, typed events.
//!
//! What a node does is an [`Op`]; this crate decides whether and when. It does not know Dockerfiles,
//! registries, clusters or terminals: ops are built above it, and everything that a user may see leaves it as
//! an [`Event`].

mod event;
mod log;
mod node;
mod op;
mod record;
mod run;
mod state;
mod twins;

pub use event::{Event, EventSink, Status, Summary};
pub use log::failed_log;
pub use op::{Context, Effect, Op, OpError, Output, Prepared, Work, chain as message};
pub use record::{LAST, Last, Record, last, read_record};
pub use run::{Failure, Options, Outcome, realise};
pub use state::{NodeState, Tracker, Transition};

#[cfg(test)]
mod tests;
