//! A folder with a store, a context, and a base that runs on this machine.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("temporary folder"));
        std::fs::create_dir(place.path("context")).expect("context");
        let bin = place.path("base/bin");
        std::fs::create_dir_all(&bin).expect("base");
        std::fs::copy("/bin/busybox", bin.join("busybox")).expect("package busybox-static");
        std::os::unix::fs::symlink("busybox", bin.join("sh")).expect("sh");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file of the context.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        self.write_at(&format!("context/{name}"), text)
    }

    pub fn write_at(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path(name), text).expect("file");
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tbuild"));
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir(self.0.path())
            .arg("--store")
            .arg(self.path("store"))
            .args(["--color", "never", "--progress", "plain"]);
        command
    }

    fn build(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(["build", "context"]).args(arguments);
        command.output().expect("tbuild starts")
    }

    /// What a build is known by, and what was said on standard error.
    pub fn built(&self, arguments: &[&str]) -> (String, String) {
        let output = self.build(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let lines = String::from_utf8(output.stdout).expect("text");
        let id = lines.lines().next().expect("an ID").to_owned();
        (id, said)
    }

    /// The exit code and standard error of a build that is refused.
    pub fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.build(arguments);
        let code = output.status.code().expect("exit code");
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// This machine's architecture.
pub fn own() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&text(path)).expect("JSON")
}

fn blob_path(layout: &Path, digest: &Value) -> PathBuf {
    let digest = digest.as_str().expect("digest");
    layout.join("blobs").join(digest.replace(':', "/"))
}

pub fn blob(layout: &Path, digest: &Value) -> Value {
    json(&blob_path(layout, digest))
}

/// A file of the only image of a layout.
pub fn file_of_layout(layout: &Path, name: &str) -> String {
    let index = json(&layout.join("index.json"));
    let manifest = blob(layout, &index["manifests"][0]["digest"]);
    for layer in manifest["layers"].as_array().expect("layers") {
        let packed = std::fs::File::open(blob_path(layout, &layer["digest"])).expect("layer");
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(packed));
        for member in archive.entries().expect("tar") {
            let mut member = member.expect("member");
            if member.path().expect("path") == Path::new(name) {
                let mut text = String::new();
                member.read_to_string(&mut text).expect("text");
                return text;
            }
        }
    }
    panic!("no layer has {name}");
}
