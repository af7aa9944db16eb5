use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use tbuild_digest::BlobDigest;
use tbuild_store::Store;
use tbuild_store_local::LocalStore;

use super::*;

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder `in` with a program, a long text, a link and an odd name.
fn files(folder: &Path) {
    let inner = folder.join("in/linux-amd64");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("tool"), b"#!/bin/sh\necho tool\n").unwrap();
    fs::set_permissions(inner.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(inner.join("text"), "line\n".repeat(10_000)).unwrap();
    fs::write(inner.join("n\u{e4}me"), "").unwrap();
    std::os::unix::fs::symlink("tool", inner.join("link")).unwrap();
}

/// Archives of `in` by the tools that make them.
fn archives(folder: &Path) -> Vec<&'static str> {
    files(folder);
    let python = "import os, stat, zipfile\nwith zipfile.ZipFile('a.zip', 'w', zipfile.ZIP_DEFLATED) as z:\n    for d, _, fs in os.walk('in'):\n        z.write(d, os.path.relpath(d, 'in'))\n        for f in fs:\n            p = os.path.join(d, f); n = os.path.relpath(p, 'in')\n            if os.path.islink(p):\n                i = zipfile.ZipInfo(n); i.create_system = 3; i.external_attr = 0o120777 << 16; z.writestr(i, os.readlink(p))\n            else:\n                with z.open(zipfile.ZipInfo.from_file(p, n), 'w', force_zip64=(f == 'text')) as o: o.write(open(p, 'rb').read())\n";
    run(folder, "python3", &["-c", python]);
    for (flag, name) in [
        ("-cf", "a.tar"),
        ("-czf", "a.tgz"),
        ("-cJf", "a.txz"),
        ("--zstd", "a.tzst"),
    ] {
        let arguments: Vec<&str> = if flag == "--zstd" {
            vec![flag, "-cf", name]
        } else {
            vec![flag, name]
        };
        run(
            folder,
            "tar",
            &[&arguments[..], &["-C", "in", "."]].concat(),
        );
    }
    vec!["a.tar", "a.tgz", "a.txz", "a.tzst", "a.zip"]
}

fn stored(folder: &Path, store: &LocalStore, name: &str) -> BlobDigest {
    store
        .put_blob(&fs::read(folder.join(name)).unwrap())
        .unwrap()
}

#[test]
fn members_come_out_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    for name in archives(folder.path()) {
        let archive = stored(folder.path(), &store, name);
        let (tool, size) = extract_member(&store, &archive, "linux-amd64/tool").unwrap();
        assert_eq!(
            (tool, size),
            (BlobDigest::of(b"#!/bin/sh\necho tool\n"), 20),
            "{name}"
        );
        let (text, _) = extract_member(&store, &archive, "./linux-amd64/text").unwrap();
        assert_eq!(
            store.read_blob(&text).unwrap().unwrap(),
            "line\n".repeat(10_000).into_bytes(),
            "{name}"
        );
        let error = extract_member(&store, &archive, "nothing")
            .unwrap_err()
            .to_string();
        assert!(error.contains("linux-amd64/tool"), "{name}: {error}");
    }
}

#[test]
fn everything_comes_out_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    for name in archives(folder.path()) {
        let out = folder.path().join(format!("out-{name}"));
        fs::create_dir(&out).unwrap();
        unpack(&store, &stored(folder.path(), &store, name), &out).unwrap();
        let inner = out.join("linux-amd64");
        assert_eq!(
            fs::read_to_string(inner.join("text")).unwrap().len(),
            50_000,
            "{name}"
        );
        assert_eq!(
            fs::read_link(inner.join("link")).unwrap(),
            Path::new("tool"),
            "{name}"
        );
        assert!(inner.join("n\u{e4}me").is_file(), "{name}");
        let mode = fs::metadata(inner.join("tool"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777;
        assert_eq!(
            mode, 0o755,
            "{name}: set-id bits do not come out of a download"
        );
    }
}

#[test]
fn nothing_lands_outside() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    let scripts = [
        // Through a link that leads out; by a name that leads out; by a second name of a file outside.
        "import tarfile,io\nt=tarfile.open('e.tar','w')\ni=tarfile.TarInfo('d'); i.type=tarfile.SYMTYPE; i.linkname='/OUTSIDE'; t.addfile(i)\ni=tarfile.TarInfo('d/evil'); i.size=1; t.addfile(i, io.BytesIO(b'x'))\nt.close()",
        "import tarfile,io\nt=tarfile.open('e.tar','w')\ni=tarfile.TarInfo('../evil'); i.size=1; t.addfile(i, io.BytesIO(b'x'))\nt.close()",
        "import tarfile,io\nt=tarfile.open('e.tar','w')\ni=tarfile.TarInfo('h'); i.type=tarfile.LNKTYPE; i.linkname='../../../../../../OUTSIDE/secret'; t.addfile(i)\nt.close()",
        "import zipfile\nz=zipfile.ZipFile('e.tar','w')\nz.writestr('a/../../evil', 'x')\nz.close()",
    ];
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    for (at, script) in scripts.iter().enumerate() {
        let script = script.replace("/OUTSIDE", outside.to_str().unwrap());
        run(folder.path(), "python3", &["-c", &script]);
        let out = folder.path().join(format!("out{at}"));
        fs::create_dir(&out).unwrap();
        // The first lands inside, at the link's path taken from the root; the others are refused.
        let result = unpack(&store, &stored(folder.path(), &store, "e.tar"), &out);
        assert_eq!(result.is_ok(), at == 0, "{at}: {result:?}");
        assert!(
            !outside.join("evil").exists() && !folder.path().join("evil").exists(),
            "{at}"
        );
        assert!(!out.join("h").exists());
    }
}

#[test]
fn what_is_no_archive_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let text = store
        .put_blob(&b"just text, and not even short".repeat(40))
        .unwrap();
    assert!(matches!(
        extract_member(&store, &text, "x"),
        Err(ArchiveError::Read { .. })
    ));
    let absent = BlobDigest::of(b"absent");
    assert!(matches!(
        extract_member(&store, &absent, "x"),
        Err(ArchiveError::Missing(_))
    ));
}

proptest! {
    #[test]
    fn damaged_zip_archives_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut zip = b"PK\x03\x04".to_vec();
        zip.append(&mut bytes);
        zip.extend_from_slice(b"PK\x01\x02\x00\x03");
        zip.extend_from_slice(&[3; 60]);
        let size = (zip.len() as u32).to_le_bytes();
        zip.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        zip.extend_from_slice(&size);
        zip.extend_from_slice(&[4, 0, 0, 0, 0, 0]);
        for (index, value) in flips {
            let at = index.index(zip.len());
            zip[at] = value;
        }
        let mut names = Vec::new();
        let _ = zip::copy_member(&mut std::io::Cursor::new(zip), "x", &mut names, &mut std::io::sink());
    }
}
