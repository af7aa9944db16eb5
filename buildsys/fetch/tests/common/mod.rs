//! What the tests against the machine's own archives share.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod chroot;
pub mod server;
pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tbuild_fetch::{BaseSpec, Fetcher, Http, HttpOptions, MachineConfig, Origins, Verifier};
use tbuild_store::Store;
use tbuild_store_local::LocalStore;

/// This machine's configuration.
pub fn machine() -> MachineConfig {
    MachineConfig::read(Path::new("/"), &std::env::vars().collect()).unwrap()
}

/// A fetcher over a store in `folder`.
pub fn fetcher(folder: &Path) -> Fetcher {
    let machine = machine();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder).unwrap());
    Fetcher {
        http: Http::new(&HttpOptions::from_machine(&machine)).unwrap(),
        origins: Origins::from_machine(&machine).unwrap(),
        store,
    }
}

/// Debian bookworm with its updates.
pub fn bookworm(include: &[&str]) -> BaseSpec {
    BaseSpec {
        distribution: "debian".into(),
        suite: "bookworm".into(),
        extra_suites: vec!["bookworm-updates".into(), "bookworm-security".into()],
        components: vec!["main".into()],
        include: include.iter().map(|name| (*name).to_owned()).collect(),
        architecture: "amd64".into(),
    }
}

/// Debian's keys, which come with every Debian machine.
pub fn verifier() -> Verifier {
    Verifier {
        gpgv: PathBuf::from("gpgv"),
        keyring: PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg"),
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
