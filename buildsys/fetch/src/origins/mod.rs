//! Origins: logical names, and the hosts that serve them on this machine.

mod apt;
mod clients;
mod env;
mod table;

pub use env::client_env;
pub use table::{OriginError, Origins};

#[cfg(test)]
mod tests;
