//! Package managers as they are, against the origins that this machine is configured for: recorded, then replayed
//! without any network to the same image.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What they keep of the time and of their own doings is in /root, which is in memory.
const DOCKERFILE: &str = r#"FROM debian:bookworm
# tbuild: normalize=apt,ldconfig,machine-id,pyc
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl golang-go python3-pip wget
WORKDIR /work
RUN --mount=type=tmpfs,target=/root pip download --no-deps --dest pip six==1.16.0 idna
RUN --mount=type=tmpfs,target=/root <<END
set -e
mkdir go
cd go
go mod init example.com/test
go get -d golang.org/x/text@v0.14.0
END
RUN --mount=type=tmpfs,target=/root <<END
set -e
site=$(python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
site=${PIP_INDEX_URL:-$site}
curl -sSfLo curl "$site/six/"
env -u SSL_CERT_FILE wget -qO wget "$site/six/"
python3 -c 'import sys, urllib.request as u; open("urllib", "wb").write(u.urlopen(sys.argv[1]).read())' "$site/six/"
test -s curl
test -s wget
test -s urllib
END
"#;

fn build(folder: &Path, before: &[&str], arguments: &[&str]) -> (String, String) {
    let output = Command::new(before[0])
        .args(&before[1..])
        .arg(env!("CARGO_BIN_EXE_tbuild"))
        .arg("-C")
        .arg(folder)
        .arg("--store")
        .arg(folder.join("store"))
        .args(["--color", "never", "--progress", "plain"])
        .args(["build", "--network", "record", "-t", "clients", "context"])
        .args(arguments)
        .output()
        .expect("tbuild starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    (text(&output.stdout), said)
}

#[test]
fn package_managers_replay_to_the_same_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::create_dir(folder.join("context")).expect("made");
    fs::write(folder.join("context/Dockerfile"), DOCKERFILE).expect("written");
    let (recorded, _) = build(folder, &["env"], &[]);
    let lock = || fs::read_to_string(folder.join("lockfiles/network-clients.lock"));
    let before = lock().expect("locked");
    for part in ["origin = \"debian\"", "origin = \"go\"", "six-1.16.0"] {
        assert!(before.contains(part), "{part} is not in the lock");
    }
    let (replayed, said) = build(folder, &["unshare", "--net"], &["--offline", "--no-cache"]);
    assert!(!said.contains("not recorded"), "{said}");
    assert_eq!(lock().expect("locked"), before);
    assert_eq!(replayed, recorded, "{said}");
}
