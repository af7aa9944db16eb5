//! The lockfile schema: sorted TOML under lockfiles/.
