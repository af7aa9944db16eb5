//! Unpacking: against GNU tar, against overlayfs, and against hostile archives.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tbuild_digest::DiffId;
use tbuild_store::{Store as _, StoreError};
use tbuild_store_local::{LocalStore, UnpackError, unpack_layer};

/// Builds tars member by member, without any check that a proper program would make.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(
        mut self,
        kind: tar::EntryType,
        name: &str,
        link: &str,
        mode: u32,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1234);
        header.set_gid(77);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        // Past the checks of the tar crate, which refuses `..` and absolute names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn dir(self, name: &str) -> Self {
        self.add(tar::EntryType::Directory, name, "", 0o755, b"")
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.add(tar::EntryType::Regular, name, "", 0o644, content.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, name, target, 0o777, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Link, name, target, 0o644, b"")
    }

    fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.0
            .append_pax_extensions([(key.as_str(), value)])
            .unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    /// Unpacks into `<folder>/upper`, beside which stands a file that nothing may touch.
    fn unpack(self) -> (Fixture, Result<(), UnpackError>) {
        let folder = tempfile::tempdir().unwrap();
        let upper = folder.path().join("upper");
        fs::create_dir(&upper).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "untouched").unwrap();
        let result = unpack_layer(self.bytes().as_slice(), &upper);
        assert_eq!(
            fs::read_to_string(folder.path().join("outside/secret")).unwrap(),
            "untouched"
        );
        assert_eq!(
            fs::read_dir(folder.path().join("outside")).unwrap().count(),
            1
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        (
            Fixture {
                _folder: folder,
                upper,
            },
            result,
        )
    }
}

struct Fixture {
    _folder: tempfile::TempDir,
    upper: PathBuf,
}

impl Fixture {
    fn at(&self, path: &str) -> PathBuf {
        self.upper.join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let metadata = fs::symlink_metadata(self.at(path)).unwrap();
        metadata.file_type().is_char_device() && metadata.rdev() == 0
    }

    fn is_opaque(&self, path: &str) -> bool {
        xattr(&self.at(path), "trusted.overlay.opaque").as_deref() == Some(b"y")
    }
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let size = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    Some(value[..size].to_vec())
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn sh(script: &str, arguments: &[&Path]) -> String {
    let output = Command::new("sh")
        .args(["-ec", script, "sh"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn everything_comes_out_as_gnu_tar_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (from, upper, gnu) = (
        folder.path().join("from"),
        folder.path().join("upper"),
        folder.path().join("gnu"),
    );
    for path in [&from, &upper, &gnu] {
        fs::create_dir(path).unwrap();
    }
    sh(
        r#"cd "$1"
        mkdir -p a/b/c empty; printf one > a/one; printf two > a/b/two; : > a/b/c/nothing
        head -c 300000 /dev/urandom > large
        ln a/one a/b/hard; ln a/one first; ln -s ../a/one a/link; ln -s /etc/passwd absolute
        mkfifo pipe; mknod null c 1 3; mknod disk b 8 1
        long=$(printf 'n%.0s' $(seq 1 180)); mkdir -p "$long/$long"; printf deep > "$long/$long/$long"
        printf x > setuid; chown 1000:2000 setuid; chmod 4755 setuid; chmod 1777 empty; chmod 2755 a
        chown -h 5:6 a/link; chmod 000 a/b/c"#,
        &[&from],
    );
    // struct vfs_cap_data, revision 2: cap_net_raw, permitted and effective.
    let mut capability = [0; 20];
    (capability[0], capability[3], capability[5]) = (1, 2, 0x20);
    set_xattr(&from.join("large"), "security.capability", &capability);
    set_xattr(&from.join("a/one"), "user.note", b"hello");
    set_xattr(&from.join("a/b"), "user.note", b"folder");
    set_xattr(&from.join("a/link"), "trusted.note", b"link");
    set_xattr(&from.join("pipe"), "trusted.note", b"pipe");
    sh(
        r#"cd "$1"; find . -exec touch -h -d '2001-02-03 04:05:06' {} +
        tar --xattrs --xattrs-include='*' --format=posix --pax-option=delete=atime,delete=ctime -cf ../layer.tar .
        cd "$2"; tar --xattrs --xattrs-include='*' --same-owner -xpf ../layer.tar"#,
        &[&from, &gnu],
    );
    unpack_layer(
        fs::File::open(folder.path().join("layer.tar")).unwrap(),
        &upper,
    )
    .unwrap();
    let list = r#"cd "$1"; find . -printf '%P %y %m %U %G %s %n %l %T@\n' | grep -v '^[^ ]* d .*' | sort
        find . -type d -printf '%P %m %U %G %T@\n' | sort; find . -type f -exec sha256sum {} + | sort"#;
    assert_eq!(sh(list, &[&upper]), sh(list, &[&gnu]));
    for (path, name) in [
        ("large", "security.capability"),
        ("a/one", "user.note"),
        ("a/b", "user.note"),
        ("a/link", "trusted.note"),
        ("pipe", "trusted.note"),
    ] {
        let value = xattr(&upper.join(path), name);
        assert!(
            value.is_some() && value == xattr(&from.join(path), name),
            "{path}"
        );
    }
}

#[test]
fn removed_files_in_overlayfs_form() {
    let (out, result) = Archive::new()
        .dir("d")
        .file("d/.wh.gone", "")
        .file(".wh.top", "")
        .dir("o")
        .file("o/new", "new")
        .file("o/.wh..wh..opq", "")
        .file("again/.wh.x", "")
        .file("again/x/y", "made again")
        .dir("later")
        .file("later/own", "stays")
        .file(".wh.later", "")
        .file(".wh..wh.plnk", "")
        .file("f", "stays")
        .file(".wh.f", "")
        .unpack();
    result.unwrap();
    assert!(out.is_whiteout("d/gone") && out.is_whiteout("top"));
    assert!(out.is_opaque("o") && out.is_opaque("again/x") && out.is_opaque("later"));
    assert!(!out.is_opaque("d") && !out.is_opaque("again"));
    assert_eq!(out.text("o/new"), "new");
    assert_eq!(out.text("later/own"), "stays");
    assert_eq!(out.text("f"), "stays");
    assert!(!out.at(".wh..wh.plnk").exists());
}

#[test]
fn overlayfs_shows_what_the_layers_say() {
    let folder = tempfile::tempdir().unwrap();
    let layer = |name: &str, archive: Archive| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        unpack_layer(archive.bytes().as_slice(), &path).unwrap();
        path
    };
    let lower = Archive::new()
        .dir("d")
        .file("d/a", "1")
        .file("d/b", "1")
        .dir("o")
        .file("o/old", "1");
    let upper = Archive::new()
        .dir("d")
        .file("d/.wh.a", "")
        .dir("o")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "2");
    let (lower, upper) = (layer("lower", lower), layer("upper", upper));
    let shown = sh(
        r#"mkdir "$1/merged"; exec unshare --mount sh -ec '
        mount -t overlay overlay -o ro,lowerdir="$3:$2" "$1/merged"; cd "$1/merged"; find . -type f | sort' sh "$@""#,
        &[folder.path(), &lower, &upper],
    );
    assert_eq!(shown, "./d/b\n./o/new\n");
}

#[test]
fn names_that_climb_stay_inside() {
    let (out, result) = Archive::new()
        .file("../outside/secret", "climbed")
        .file("/outside/other", "absolute")
        .file("a/../../../outside/third", "climbed")
        .unpack();
    result.unwrap();
    assert_eq!(out.text("outside/secret"), "climbed");
    assert_eq!(out.text("outside/other"), "absolute");
    assert_eq!(out.text("outside/third"), "climbed");
}

#[test]
fn links_lead_nowhere_outside() {
    for target in ["../outside", "../../../../../../outside", "a/../../outside"] {
        let (out, result) = Archive::new()
            .dir("a")
            .link("escape", target)
            .dir("outside")
            .file("escape/secret", "through a link")
            .unpack();
        result.unwrap();
        assert_eq!(out.text("outside/secret"), "through a link");
    }
    // An absolute target means the layer's own root.
    let (out, result) = Archive::new()
        .dir("in")
        .link("abs", "/in")
        .file("abs/f", "x")
        .unpack();
    result.unwrap();
    assert_eq!(out.text("in/f"), "x");
    // Nothing inside has that name: an error, not a file outside.
    let (_, result) = Archive::new()
        .link("escape", "../outside")
        .file("escape/secret", "x")
        .unpack();
    assert!(result.is_err());
    let (_, result) = Archive::new()
        .link("a", "b")
        .link("b", "a")
        .file("a/f", "x")
        .unpack();
    assert!(result.is_err());
}

#[test]
fn a_link_is_replaced_and_never_written_through() {
    let (out, result) = Archive::new()
        .link("f", "../outside/secret")
        .file("f", "own")
        .link("d", "../outside")
        .dir("d")
        .file("d/secret", "own too")
        .unpack();
    result.unwrap();
    assert_eq!(out.text("f"), "own");
    assert!(fs::symlink_metadata(out.at("f")).unwrap().is_file());
    assert_eq!(out.text("d/secret"), "own too");
    assert!(fs::symlink_metadata(out.at("d")).unwrap().is_dir());
}

#[test]
fn a_folder_swapped_for_a_link_is_not_used_any_more() {
    let (out, result) = Archive::new()
        .dir("d")
        .file("d/one", "1")
        .link("d", "../outside")
        .dir("outside")
        .file("d/secret", "2")
        .unpack();
    result.unwrap();
    assert_eq!(out.text("outside/secret"), "2");
    // The folder's own time and mode are not set on what the link leads to.
    let (out, result) = Archive::new()
        .add(tar::EntryType::Directory, "d", "", 0o700, b"")
        .dir("other")
        .link("d", "other")
        .unpack();
    result.unwrap();
    assert_eq!(
        fs::metadata(out.at("other")).unwrap().permissions().mode() & 0o7777,
        0o755
    );
}

#[test]
fn hard_links_stay_inside() {
    for target in ["../outside/secret", "/outside/secret", "missing"] {
        let (_, result) = Archive::new().hard("h", target).unpack();
        assert!(result.is_err(), "{target}");
    }
    let (_, result) = Archive::new()
        .link("out", "../outside")
        .hard("h", "out/secret")
        .unpack();
    assert!(result.is_err());
    // A link to a link is a second name of the link.
    let (out, result) = Archive::new()
        .link("l", "../outside/secret")
        .hard("h", "l")
        .unpack();
    result.unwrap();
    assert!(fs::symlink_metadata(out.at("h")).unwrap().is_symlink());
}

#[test]
fn the_last_of_one_name_counts() {
    let (out, result) = Archive::new()
        .file("x", "file")
        .dir("x")
        .file("x/y", "in it")
        .file("z", "first")
        .hard("second", "z")
        .file("z", "last")
        .dir("gone/below")
        .file("gone", "a file now")
        .unpack();
    result.unwrap();
    assert_eq!(out.text("x/y"), "in it");
    assert_eq!(out.text("z"), "last");
    assert_eq!(out.text("second"), "first");
    assert_eq!(out.text("gone"), "a file now");
}

#[test]
fn what_overlayfs_would_misread_is_refused() {
    let marked = Archive::new()
        .xattr("trusted.overlay.redirect", b"/outside")
        .dir("d");
    assert!(matches!(
        marked.unpack().1,
        Err(UnpackError::Refused { .. })
    ));
    let marked = Archive::new().xattr("user.overlay.opaque", b"y").dir("d");
    assert!(matches!(
        marked.unpack().1,
        Err(UnpackError::Refused { .. })
    ));
    let mut device = tar::Header::new_ustar();
    device.set_path("dev").unwrap();
    device.set_entry_type(tar::EntryType::Char);
    device.set_device_major(0).unwrap();
    device.set_device_minor(0).unwrap();
    device.set_mode(0o600);
    device.set_uid(0);
    device.set_gid(0);
    device.set_size(0);
    device.set_cksum();
    let mut archive = Archive::new();
    archive.0.append(&device, &[][..]).unwrap();
    assert!(matches!(
        archive.unpack().1,
        Err(UnpackError::Refused { .. })
    ));
}

#[test]
fn a_tar_cut_short_is_an_error() {
    let whole = Archive::new().file("f", &"content".repeat(1000)).bytes();
    for at in [100, 600, 2000] {
        let folder = tempfile::tempdir().unwrap();
        assert!(unpack_layer(&whole[..at], folder.path()).is_err(), "{at}");
    }
}

#[test]
fn folders_get_their_times_and_modes_last() {
    let (out, result) = Archive::new()
        .add(tar::EntryType::Directory, "closed", "", 0o500, b"")
        .file("closed/f", "x")
        .file("implied/f", "x")
        .unpack();
    result.unwrap();
    let closed = fs::metadata(out.at("closed")).unwrap();
    assert_eq!(
        (closed.mode() & 0o7777, closed.mtime(), closed.mtime_nsec()),
        (0o500, 1_000_000_000, 0)
    );
    assert_eq!((closed.uid(), closed.gid()), (1234, 77));
    let implied = fs::metadata(out.at("implied")).unwrap();
    assert_eq!(
        (implied.mode() & 0o7777, implied.mtime(), implied.uid()),
        (0o755, 315_532_800, 0)
    );
}

#[test]
fn snapshots_are_unpacked_once_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let tar = Archive::new().dir("d").file("d/f", "content").bytes();
    let diff_id = DiffId::of(&tar);
    let missing = store.ensure_snapshot(&diff_id).unwrap_err();
    assert!(missing.to_string().contains(&diff_id.hex()), "{missing}");
    store.put_blob(&tar).unwrap();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| store.ensure_snapshot(&diff_id).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(fs::read_to_string(paths[0].join("d/f")).unwrap(), "content");
    assert_eq!(
        fs::metadata(folder.path().join("snapshots"))
            .unwrap()
            .mode()
            & 0o7777,
        0o700
    );

    let other = Archive::new().file("x", "y").bytes();
    let digest = store.put_blob(&other).unwrap();
    let path = folder.path().join("blobs/sha256").join(digest.hex());
    let mut rotten = other.clone();
    // In the end mark, where no reader looks.
    *rotten.last_mut().unwrap() ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, rotten).unwrap();
    let error = store.ensure_snapshot(&DiffId(digest.0)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    assert_eq!(store.snapshot(&DiffId(digest.0)).unwrap(), None);
    assert!(store.blob_size(&digest).unwrap().is_none());
}
