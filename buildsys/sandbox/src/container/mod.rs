//! A container of an engine in place of our own namespaces: everything but the engine.
//!
//! The engine is asked for a container of an empty image whose first process is this program, the init. The init
//! connects to a socket on which the helper listens, and waits. The helper, which is outside, enters the
//! container's network and ipc namespaces, puts the root together by the code that does it for our own sandbox, and
//! puts it in the place of the container's root: `pivot_root(2)` changes the root of every process of a mount
//! namespace. Then the init starts the program with the outputs that the helper hands it, and tells how it ended,
//! signal or status. So it is the engine that says what the program may do and use (capabilities, system calls,
//! cgroup, network, name), and what it sees of files is the same whichever executor runs it.
//!
//! The init dies when the socket closes, so no container outlives the helper, nor the helper its parent.

mod allowed;
mod init;
mod join;
mod launch;
mod outside;
mod step;

pub use allowed::Allowed;
pub use init::init_main;
pub use launch::Launch;
pub use step::Contained;

pub(crate) use outside::supervise;

/// The first argument that makes the program the init of a container.
pub const INIT_ARG: &str = "__container";

/// The folder of the container's own root where the engine mounts what the init needs.
pub const FOLDER: &str = "/.tbuild";

/// The socket, in the folder that is given to [`Contained::begin`] and in [`FOLDER`].
pub const SOCKET: &str = "control";
