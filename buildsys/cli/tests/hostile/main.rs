//! The host is safe from a build: the real program is given what a stranger would give it to get at the machine, to
//! fill its disk or its memory, or to keep it waiting.
//!
//! Each case has a folder outside with a secret in it. Whatever the build does, the folder stays as it is, the secret
//! is in nothing that the build makes or says, and the program ends with one of its exit codes.

mod archives;
mod bench;
mod bombs;
mod contexts;
mod images;
mod registry;
mod sandbox;
mod snapshots;
mod swaps;
mod tar;
