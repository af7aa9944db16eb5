//! The executors of this machine, what containers of an engine take besides, and the capture of what an action wrote. One is of Linux namespaces and seccomp
//! alone, the other hands the program to an OCI runtime (crun); both over a root file system that is put together
//! by the same code, so that a program sees the same whichever runs it.
//!
//! The parent starts a helper (the program itself, called with [`HELPER_ARG`]), which has one thread and may
//! therefore unshare; while a step runs, the next one's waits already. The helper forks an init into new
//! namespaces; the init mounts, then forks the program. They are joined by one socket: the specification goes
//! down, the outcome comes up, and its closing means that the other side is dead. This crate does not know steps,
//! keys or stores.

mod capture;
mod cgroup;
pub mod container;
mod content;
mod executor;
mod fork;
mod helper;
mod memory;
mod mounts;
mod network;
mod overlay;
mod parent;
mod privileges;
mod process;
mod protocol;
mod runtime;
mod surroundings;
mod target;
mod ulimits;
pub mod userns;

pub use capture::{CaptureError, Captured, capture};
pub use content::UpperContent;
pub use executor::Sandbox;
pub use helper::helper_main;
pub use memory::mount_memory;
pub use protocol::HELPER_ARG;
pub use surroundings::Surroundings;
