//! What each kind of node does: sources, bases, steps, images, artifacts, charts, tools, effects.
//!
//! One file a kind, each an op for the scheduler. [`pipeline`] turns a configuration into a graph of them;
//! [`adhoc`] does so for any Dockerfile. This crate does not know the command line or how progress is shown.

mod artifact;
mod base;
mod chart;
mod content;
mod copy;
mod facts;
mod filter;
mod gzip;
mod image;
mod listing;
mod push;
mod release;
mod select;
mod source;
mod stage;
mod step;
mod target;
mod task;
mod tool;
mod value;
mod world;

pub mod adhoc;
pub mod pipeline;

pub use image::export;
pub use listing::{FileChange, compare as compare_listings, read as read_listing};
pub use value::{ChartValue, FileValue, ImageValue, LayerRef, Place, ReleaseValue, StateValue, TreeValue};
pub use world::{Machine, World};
