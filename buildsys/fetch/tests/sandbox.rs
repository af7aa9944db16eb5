//! A base built in tbuild's own sandbox: the same tree each time, and the same as by chroot.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::process::ExitCode;

use common::chroot::Chroot;
use common::tree::{difference, listing};
use common::{bookworm, fetcher, now, verifier};
use tbuild_exec::{Cancel, Executor};
use tbuild_fetch::{Quiet, build_base};
use tbuild_sandbox::{HELPER_ARG, Sandbox, capture, helper_main};
use tbuild_tree::Rootfs;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(HELPER_ARG) {
        return helper_main();
    }
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(a_base_is_one_layer_whoever_runs_it());
    ExitCode::SUCCESS
}

async fn a_base_is_one_layer_whoever_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let lock = fetcher
        .resolve_base(&bookworm(&["ca-certificates"]), &verifier(), now(), &Quiet)
        .await
        .unwrap();
    fetcher.fetch_base(&lock, &Quiet).await.unwrap();
    let sandbox = Sandbox::new(std::env::current_exe().unwrap());
    let executors: [&dyn Executor; 3] = [&sandbox, &sandbox, &Chroot];
    let built = executors.map(|executor| {
        let staging = fetcher.store.stage().unwrap();
        let mut log = Vec::new();
        let mut output = |_, bytes: &[u8]| log.extend_from_slice(bytes);
        let result = build_base(
            &lock,
            fetcher.store.as_ref(),
            executor,
            staging.as_ref(),
            &mut output,
            &Cancel::new(),
        );
        assert!(
            result.is_ok(),
            "{result:?}\n{}",
            String::from_utf8_lossy(&log)
        );
        let captured = capture(staging.upper(), &Rootfs::default()).unwrap();
        (listing(staging.upper()), captured)
    });
    for (other, captured) in &built[1..] {
        assert_eq!(difference(&built[0].0, other), Vec::<String>::new());
        assert_eq!(captured.tree.digest(), built[0].1.tree.digest());
    }
    assert!(
        built[0].1.tree.entries().iter().all(|entry| !entry.opaque),
        "a base hides nothing"
    );
}
