//! What each kind of node does: sources, bases, steps, images, artifacts, charts, tools, effects.
//!
//! One file a kind, each an op for the scheduler. [`pipeline`] turns a configuration into a graph of them;
//! [`adhoc`] does so for any Dockerfile. This crate does not know the command line or how progress is shown.

mod archive;
mod artifact;
mod base;
mod cache_mount;
mod chart;
mod collect;
mod content;
mod copy;
mod cwd;
mod deadline;
mod deploy;
mod deployed;
mod dev;
mod emulation;
mod facts;
mod fill;
mod filter;
mod git;
mod gzip;
mod image;
mod index;
mod kept;
mod left_out;
mod listing;
mod mounts;
mod network;
mod normalize;
mod outdated;
mod outlook;
mod parts;
mod paste;
mod pipeline_base;
mod pipeline_deploy;
mod pipeline_dev;
mod pipeline_image;
mod pipeline_lock;
mod pipeline_tool;
mod prepared;
mod pull;
mod push;
mod recipe;
mod redact;
mod release;
mod relocate;
mod remote;
mod resemble;
mod run;
mod seed;
mod select;
mod settings;
mod small;
mod source;
mod ssh;
mod stage;
mod step;
mod target;
mod task;
mod tool;
mod unpack;
mod value;
mod world;

pub mod adhoc;
pub mod export;
pub mod operand;
pub mod pipeline;
pub mod platforms;

pub use collect::{CACHES, HINTS, MEMORIES, ROOTS};
pub use deploy::helm_program;
pub use deployed::{forget_node, forget_release, note_node};
pub use dev::{DevPods, DevPushed};
pub use index::Built;
pub use left_out::{BUILD_ONLY, LEFT_OUT, LeftOut};
pub use listing::{FileChange, compare as compare_listings, read as read_listing};
pub use network::{
    Ahead, BaseFile, Drift, Looked, StepsLock, Wrong, base_files, drift, network_locks, pack_again,
    prune, stale,
};
pub use normalize::normalizer_for;
pub use outdated::{Outdated, Survey, survey_networks};
pub use pipeline_lock::LockedSteps;
pub use recipe::{Nodes, Show};
pub use relocate::{Reading, Relocation};
pub use seed::{ELSEWHERE, seed_blobs, seed_record};
pub use settings::{Relock, Secret, StepNetwork, StepSettings};
pub use small::dockerfile;
pub use value::{
    ChartValue, FileValue, ImageValue, IndexValue, LayerRef, Place, PushValue, ReleaseValue,
    StateValue, TreeValue,
};
pub use world::{Machine, World};
