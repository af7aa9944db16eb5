//! What the Dockerfile front end makes of a Dockerfile, as users see it: the image's config, messages, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A folder of its own with a store, a context and what was written.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("temporary folder"));
        std::fs::create_dir(place.path("context")).expect("context");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path("context").join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
        self
    }

    fn command(&self) -> Command {
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
        self.command()
            .args(["build", "context"])
            .args(arguments)
            .output()
            .expect("tbuild starts")
    }

    /// The config of what is built, and what was said on standard error.
    fn config(&self, arguments: &[&str]) -> (Value, String) {
        let image = self.path("image");
        let _old = std::fs::remove_dir_all(&image);
        let output = self.build(&[arguments, &["-o", "type=oci,dest=image,tar=false"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let index = json(&image.join("index.json"));
        let manifest = blob(&image, &index["manifests"][0]["digest"]);
        (blob(&image, &manifest["config"]["digest"]), said)
    }

    /// The exit code and standard error of a build that is refused.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.build(arguments);
        (
            output.status.code().expect("exit code"),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("file")).expect("JSON")
}

fn blob(image: &Path, digest: &Value) -> Value {
    let (algorithm, hex) = digest
        .as_str()
        .expect("digest")
        .split_once(':')
        .expect("digest");
    json(&image.join("blobs").join(algorithm).join(hex))
}

#[test]
fn onbuild_is_kept_in_the_config_and_leaves_no_history() {
    let place = Place::new();
    place.write(
        "Dockerfile",
        "FROM scratch\nENV A=1\nONBUILD  COPY  . /src \nONBUILD RUN <<EOF\n\techo $A\nEOF\nonbuild ENV \\\n  B=$A\n",
    );
    let (config, _) = place.config(&[]);
    assert_eq!(
        config["config"]["OnBuild"],
        serde_json::json!(["COPY  . /src ", "RUN <<EOF\n\techo $A\nEOF", "ENV   B=$A"])
    );
    assert_eq!(config["history"].as_array().expect("history").len(), 1);
}

#[test]
fn a_stage_begins_with_the_triggers_of_the_stage_that_it_starts_from() {
    let place = Place::new();
    place.write("file", "content").write(
        "Dockerfile",
        "FROM scratch AS from\nCOPY file /from\n\
         FROM scratch AS base\nONBUILD ARG WHO=me\nONBUILD ENV BY=$WHO\nONBUILD COPY --from=from /from /copied\n\
         FROM base AS child\nENV THEN=$BY\n\
         FROM child\nENV LAST=$THEN\n",
    );
    let (config, said) = place.config(&["--build-arg", "WHO=you"]);
    assert!(config["config"].get("OnBuild").is_none());
    let env = config["config"]["Env"].as_array().expect("env");
    assert_eq!(env[1..], ["BY=you", "THEN=you", "LAST=you"]);
    assert_eq!(
        config["rootfs"]["diff_ids"]
            .as_array()
            .expect("layers")
            .len(),
        1,
        "{said}"
    );
    let history: Vec<_> = config["history"]
        .as_array()
        .expect("history")
        .iter()
        .map(|entry| entry["created_by"].as_str().expect("created_by"))
        .collect();
    assert_eq!(
        history,
        [
            "ARG WHO=me",
            "ENV BY=$WHO",
            "COPY --from=from /from /copied",
            "ENV THEN=$BY",
            "ENV LAST=$THEN"
        ]
    );
}

#[test]
fn a_bad_trigger_is_shown_in_its_own_text() {
    let place = Place::new();
    place.write(
        "Dockerfile",
        "FROM scratch AS base\nONBUILD COPPY a /\nFROM base\n",
    );
    let (code, said) = place.refused(&[]);
    assert_eq!(code, 2);
    assert!(said.contains("unknown instruction COPPY"), "{said}");
    assert!(said.contains("--> ONBUILD of base:1:1"), "{said}");
}

#[test]
fn triggers_of_an_image_of_a_registry_are_run() {
    let (origin, place) = (Place::new(), Place::new());
    origin.write(
        "Dockerfile",
        "FROM scratch\nONBUILD COPY file /first\nONBUILD COPY --from=other /x /second\nONBUILD ENV SET=by-the-base\n",
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port();
    let address = format!("127.0.0.1:{port}");
    let mut server = origin
        .command()
        .args(["registry", "serve", "--listen", &address])
        .spawn()
        .expect("registry");
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(
            server.try_wait().expect("registry").is_none(),
            "the registry ended"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let name = format!("{address}/base:1");
    let pushed = origin.build(&["--push", "-t", &name]);
    place.write("file", "content").write("x", "x").write(
        "Dockerfile",
        &format!("FROM scratch AS other\nCOPY x /\nFROM {name}\nENV OWN=$SET\n"),
    );
    let first = pushed.status.success().then(|| place.config(&[]).0);
    // A second time from the store alone.
    server.kill().expect("killed");
    server.wait().expect("ended");
    let first = first.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&pushed.stderr)));
    let (second, said) = place.config(&["--offline"]);
    assert_eq!(first, second, "{said}");
    let env = first["config"]["Env"].as_array().expect("env");
    assert_eq!(env[1..], ["SET=by-the-base", "OWN=by-the-base"]);
    assert_eq!(
        first["rootfs"]["diff_ids"]
            .as_array()
            .expect("layers")
            .len(),
        2
    );
    assert!(first["config"].get("OnBuild").is_none());
}

#[test]
fn check_tells_of_every_finding_and_builds_nothing() {
    let place = Place::new();
    place.write(".dockerignore", "left-out\n").write(
        "Dockerfile",
        "FROM scratch as one\nENV A=$UNSET\nFROM scratch\nCOPY left-out kept /\n# check=skip=UndefinedVar\nENV B=$UNSET\nCMD x\n",
    );
    let checked = place.build(&["--check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for rule in [
        "FromAsCasing",
        "UndefinedVar",
        "CopyIgnoredFile",
        "JSONArgsRecommended",
    ] {
        assert_eq!(
            said.matches(&format!("warning[{rule}]")).count(),
            1,
            "{said}"
        );
    }
    assert!(
        said.contains("Dockerfile:4:6") && said.ends_with("check complete: 4 findings\n"),
        "{said}"
    );
    // One stage alone.
    let checked = place.build(&["--check", "--target", "one"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.ends_with("check complete: 2 findings\n"), "{said}");
    place.write("Dockerfile", "FROM scratch\nENV A=1\n");
    let checked = place.build(&["--check"]);
    assert_eq!(checked.status.code(), Some(0));
    assert_eq!(checked.stdout, b"check complete: no findings\n");
    place.write("Dockerfile", "FROM scratch\nENV A\n");
    assert_eq!(place.build(&["--check"]).status.code(), Some(1));
}

#[test]
fn warnings_are_shown_once_in_a_build_and_can_be_errors() {
    let place = Place::new();
    let text = "FROM scratch\nENV A=$UNSET\nENV B=$A\nCMD [\"x\"]\n";
    place.write("Dockerfile", text);
    for _ in 0..2 {
        let (_, said) = place.config(&[]);
        assert_eq!(said.matches("warning[UndefinedVar]").count(), 1, "{said}");
    }
    let (_, said) = place.config(&["--progress", "quiet"]);
    assert_eq!(said, "");
    place.write("Dockerfile", &format!("# check=error=true\n{text}"));
    let (code, said) = place.refused(&[]);
    assert!(code == 2 && said.contains("error[UndefinedVar]"), "{said}");
}

#[test]
fn other_front_ends_are_refused_by_name() {
    let place = Place::new();
    place.write(
        "Dockerfile",
        "# syntax=docker/dockerfile:1.7-labs\nFROM scratch\nENV A=1\n",
    );
    place.config(&[]);
    place.config(&["--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1"]);
    let (code, said) = place.refused(&["--build-arg", "BUILDKIT_SYNTAX=example.com/other:2"]);
    assert!(
        code == 2 && said.contains("front end example.com/other:2 is not supported"),
        "{said}"
    );
    place.write("Dockerfile", "# syntax=example.com/other:2\nFROM scratch\n");
    let (code, said) = place.refused(&[]);
    assert!(
        code == 2 && said.contains("front end example.com/other:2 is not supported"),
        "{said}"
    );
}
