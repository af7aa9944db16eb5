//! Against Debian's Docker Engine, started by the test. Needs root, dockerd, containerd, runc and gcc.

#[path = "common/engine.rs"]
mod engine;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::Dockerd;
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_docker::{DockerEngine, DockerError};
use tbuild_oci::{ArchiveFile, ImageConfig, PlainLayer, docker_archive, write_archive};

/// A program that needs nothing else, as a layer.
fn hello(folder: &Path) -> Vec<u8> {
    let source = folder.join("hello.c");
    fs::write(
        &source,
        "#include <stdio.h>\nint main(int n, char **a) { printf(\"hello, %s\\n\", a[1]); return 0; }\n",
    )
    .unwrap();
    let program = folder.join("hello");
    let status = Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .args([&program, &source])
        .status();
    assert!(status.expect("gcc runs").success());
    let root = folder.join("root");
    fs::create_dir(&root).unwrap();
    fs::rename(&program, root.join("hello")).unwrap();
    let tar = Command::new("tar")
        .arg("--sort=name")
        .args([
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@315532800",
        ])
        .args(["-C".as_ref(), root.as_os_str(), "-c".as_ref(), ".".as_ref()])
        .output()
        .expect("tar runs");
    assert!(tar.status.success());
    tar.stdout
}

/// The config of an image of one layer.
fn config_of(layer: DiffId) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut config = ImageConfig::scratch("linux", architecture);
    config.created = Some("1980-01-01T00:00:00Z".to_owned());
    config.config.entrypoint = vec!["/hello".to_owned()];
    config.config.cmd = vec!["world".to_owned()];
    config.rootfs.diff_ids = vec![layer];
    config.to_bytes()
}

/// Writes a docker-archive as tbuild makes them.
fn write(config: &[u8], layer: &[u8], names: &[String], out: &mut dyn io::Write) -> io::Result<()> {
    let layers = vec![PlainLayer {
        diff_id: DiffId::of(layer),
        size: layer.len() as u64,
        open: Box::new(move || Ok(Box::new(layer))),
    }];
    let files: Vec<ArchiveFile<'_>> = docker_archive(config, layers, names);
    write_archive(&files, out)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_loads_and_runs_our_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut dockerd = Dockerd::start();
    let layer = hello(folder.path());
    let config = config_of(DiffId::of(&layer));
    let id = BlobDigest::of(&config).to_string();
    let engine = dockerd.engine().await;
    assert_eq!(engine.inspect("hello:1").await.unwrap(), None);

    // Written straight into the engine, with two names.
    let names = ["hello:1".to_owned(), "example.test/team/hello:2".to_owned()];
    let (bytes, own) = ((config.clone(), layer.clone()), names.clone());
    let loaded = engine
        .load_with(move |out| write(&bytes.0, &bytes.1, &own, out))
        .await
        .unwrap();
    assert_eq!(loaded.names, names);
    for name in &names {
        let found = engine.inspect(name).await.unwrap().expect("it is loaded");
        assert_eq!(found.id, id, "the image id is the config's digest");
        assert_eq!(found.diff_ids, [DiffId::of(&layer)]);
        assert_eq!(found.os, "linux");
    }
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "--rm", "--network", "none"];
        all.extend(arguments);
        let output = dockerd.docker(&all);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said} {}", dockerd.log());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["hello:1"]), "hello, world\n");
    assert_eq!(
        run(&["example.test/team/hello:2", "tbuild"]),
        "hello, tbuild\n"
    );

    // Out of a file, without a name.
    let path: PathBuf = folder.path().join("image.tar");
    let mut file = fs::File::create(&path).unwrap();
    write(&config, &layer, &[], &mut file).unwrap();
    let loaded = engine.load(fs::File::open(&path).unwrap()).await.unwrap();
    assert_eq!(loaded.ids.as_slice(), std::slice::from_ref(&id));

    breaks_are_errors(&engine, &config, &layer).await;

    // The engine still serves after all that.
    assert!(engine.inspect(&id).await.unwrap().is_some());
    drop(dockerd);
    let gone = engine.ping().await.expect_err("it has ended");
    assert!(gone.is_unreachable(), "{gone:?}");
}

/// Archives that are broken, and those that break off, load nothing.
async fn breaks_are_errors(engine: &DockerEngine, config: &[u8], layer: &[u8]) {
    let nonsense = engine
        .load(io::Cursor::new(b"no archive at all".repeat(1000)))
        .await;
    assert!(
        matches!(nonsense, Err(DockerError::Engine { .. })),
        "{nonsense:?}"
    );

    let mut whole = Vec::new();
    write(config, layer, &["cut:1".to_owned()], &mut whole).unwrap();
    let cut = engine
        .load_with(move |out| {
            out.write_all(&whole[..whole.len() / 2])?;
            Err(io::Error::other("the disk is gone"))
        })
        .await;
    match cut {
        Err(DockerError::Archive(error)) => assert_eq!(error.to_string(), "the disk is gone"),
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.inspect("cut:1").await.unwrap(), None);

    // The layer is not the one that the config names. (One that the engine has is not even read.)
    let config = config_of(DiffId::of(b"another layer"));
    let layer = layer.to_vec();
    let wrong = engine
        .load_with(move |out| write(&config, &layer, &["wrong:1".to_owned()], out))
        .await;
    assert!(
        matches!(wrong, Err(DockerError::Engine { .. })),
        "{wrong:?}"
    );
}
