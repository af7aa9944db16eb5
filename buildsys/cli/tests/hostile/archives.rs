//! ADD of archives that reach for what lies outside the destination, or are none.

use std::fs;

use crate::bench::{Bench, Built, SECRET};
use crate::tar::{Tar, header};

fn add(bench: &Bench, archive: &[u8]) -> Built {
    bench
        .write("a.tar", archive)
        .build("FROM scratch\nADD a.tar /in/\n")
}

#[test]
fn names_that_lead_up_or_to_the_root_stay_in_the_destination() {
    let bench = Bench::new();
    let outside = bench.outside().join("pwned");
    let absolute = outside.to_str().expect("a path");
    let up = format!("{}{absolute}", "../".repeat(60));
    let tar = Tar::new()
        .file("../../x", "x")
        .file("/pwned", "y")
        .long(b'0', absolute.as_bytes(), b"")
        .long(b'0', up.as_bytes(), b"")
        .file("a/../../../etc/pwned", "z");
    let built = add(&bench, &tar.end());
    built.has("/in/x 644 file x");
    built.has("/in/pwned 644 file y");
    built.has("/in/etc/pwned 644 file z");
    built.has(&format!("/in{absolute} 644 file"));
    assert!(
        built.files.iter().all(|line| line.starts_with("/in")),
        "{built:?}"
    );
}

#[test]
fn links_are_followed_inside_the_destination_alone() {
    let bench = Bench::new();
    let outside = bench.outside();
    let outside = outside.to_str().expect("a path");
    let up = format!("{}{outside}", "../".repeat(60));
    for target in [outside, &up] {
        let direct = Tar::new().symlink("l", target).file("l/pwned", "x");
        add(&bench, &direct.end()).refused(&["a.tar", "l/pwned"]);
        let chain = Tar::new()
            .symlink("one", target)
            .symlink("two", "one")
            .symlink("three", "./two/.")
            .file("three/pwned", "x");
        add(&bench, &chain.end()).refused(&["a.tar", "three/pwned"]);
        let replaced = Tar::new()
            .folder("d")
            .file("d/first", "x")
            .symlink("d", target)
            .file("d/pwned", "x");
        add(&bench, &replaced.end()).refused(&["a.tar", "d/pwned"]);
        // The link itself is a link, and what takes its place takes only that.
        let over = Tar::new()
            .symlink("secret", &format!("{target}/secret"))
            .file("secret", "mine");
        add(&bench, &over.end()).has("/in/secret 644 file mine");
    }
    let built = add(
        &bench,
        &Tar::new()
            .folder("etc")
            .symlink("l", "/etc")
            .file("l/pwned", "x")
            .end(),
    );
    built.has("/in/etc/pwned 644 file x");
    let circle = Tar::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/x", "x");
    add(&bench, &circle.end()).refused(&["too many levels of symbolic links"]);
}

#[test]
fn hard_links_lead_to_what_the_archive_holds() {
    let bench = Bench::new();
    let secret = bench.outside().join("secret");
    let secret = secret.to_str().expect("a path");
    let up = format!("{}{secret}", "../".repeat(60));
    for target in [secret, &up, "/etc/passwd", "nothing", "h"] {
        let tar = Tar::new().hardlink("h", target).end();
        add(&bench, &tar).refused(&["a.tar", "/h: it links to"]);
    }
    // A second name of a link that leads out, and then content "through" it.
    let tar = Tar::new()
        .symlink("l", secret)
        .hardlink("h", "l")
        .file("h", "mine");
    add(&bench, &tar.end()).has("/in/h 644 file mine");
}

#[test]
fn devices_and_set_uid_files_are_entries_of_the_layer_and_nothing_else() {
    let bench = Bench::new();
    let tar = Tar::new()
        .device(b'4', "disk")
        .device(b'3', "char")
        .mode("su", 0o6755, "x");
    let built = add(&bench, &tar.end());
    built.has("/in/disk 666 block 8:0");
    built.has("/in/char 666 char 8:0");
    built.has("/in/su 6755 file x");
}

#[test]
fn what_would_mean_something_else_in_a_layer_is_refused() {
    let bench = Bench::new();
    // Overlayfs takes a device 0:0 for a removed file, and these attributes for its own.
    let mut zero = header(b'3', b"gone", b"", 0o666, 0);
    zero[329..345].copy_from_slice(b"0000000\x000000000\0");
    let sum: u32 = zero
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    zero[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    add(&bench, &Tar::new().raw(&zero).end()).refused(&["a.tar: /gone", "0:0"]);
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.metacopy",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        let tar = Tar::new().pax(&[(&key, b"/etc")]).folder("d");
        add(&bench, &tar.end()).refused(&["a.tar: /d", "overlayfs"]);
    }
    for name in [".wh.x", ".wh..wh..opq", "d/.wh.y"] {
        let tar = Tar::new().file(name, "x");
        add(&bench, &tar.end()).refused(&[name, "removed file"]);
    }
}

#[test]
fn names_of_any_bytes_and_lengths() {
    let bench = Bench::new();
    let long = |name: &[u8]| Tar::new().long(b'0', name, b"").end();
    add(&bench, &long(b"new\nline")).has("/in/new\nline 644 file");
    add(&bench, &long(b"\x1b[2J\xff")).has("/in/\u{1b}[2J\u{fffd} 644 file");
    let deep = format!("{}/x", "d".repeat(200)).repeat(20);
    assert!(deep.len() > 4000);
    add(&bench, &long(deep.as_bytes())).has(&format!("/in/{deep} 644 file"));
    for (name, why) in [
        (b"zero\0byte".to_vec(), "zero byte"),
        (b"n".repeat(256), "256 bytes"),
        (b"d/".repeat(10_000), "20001 bytes"),
    ] {
        let name = [name, b"x".to_vec()].concat();
        if why == "256 bytes" {
            add(&bench, &long(&name[1..])).refused(&["a.tar", why]);
        } else {
            add(&bench, &long(&name)).refused(&["a.tar", why]);
        }
    }
    for target in [b"to\0nul".to_vec(), b"t".repeat(4096), b"a/..".repeat(5000)] {
        let tar = Tar::new().long(b'2', b"l", &target).end();
        add(&bench, &tar).refused(&["a.tar", "/l", "its target"]);
    }
    add(
        &bench,
        &Tar::new().member(b'2', b"l", b"", 0o777, b"").end(),
    )
    .refused(&["/l: a link without a target"]);
}

#[test]
fn archives_that_end_early_or_lie_about_sizes() {
    let bench = Bench::new();
    let whole = Tar::new().file("a", "one").file("b", "two");
    let bytes = whole.clone().cut();
    // In the middle of the first header it is no archive, and so a file like any other.
    let built = add(&bench, &bytes[..300]);
    let is_file = |line: &String| line.starts_with("/in/a.tar 644 file");
    assert!(built.files.iter().any(is_file), "{built:?}");
    for length in [600, 1024 + 300, 1024 + 512 + 1] {
        add(&bench, &bytes[..length]).refused(&["a.tar"]);
    }
    let before = || Tar::new().file("before", "x");
    for (name, size) in [
        ("far more", "9223372036854775807"),
        ("all", "18446744073709551615"),
        ("too many digits", "99999999999999999999999"),
        ("negative", "-1"),
        ("no number", "1e9"),
    ] {
        let tar = before()
            .pax(&[("size", size.as_bytes())])
            .file("lie", "content");
        let built = add(&bench, &tar.end());
        assert!(matches!(built.code, 1 | 2), "{name}: {built:?}");
    }
    let huge = before().raw(&header(b'0', b"huge", b"", 0o644, u64::MAX - 1));
    add(&bench, &huge.end()).refused(&["a.tar"]);
    // Records whose lengths lie.
    for record in [
        "9999 path=x\n",
        "0 path=x\n",
        "4 path=x\n",
        "x",
        "99999999999999999999 a=b\n",
    ] {
        let tar = before().member(b'x', b"pax", b"", 0o644, record.as_bytes());
        add(&bench, &tar.file("after", "x").end()).refused(&["a.tar", "pax record is malformed"]);
    }
    // An extended header that asks for the memory.
    let tar = before().raw(&header(b'x', b"pax", b"", 0o644, 1 << 40));
    add(&bench, &tar.end()).refused(&["a.tar", "extended header is too large"]);
    let tar = before().raw(&header(b'L', b"long", b"", 0o644, 1 << 40));
    add(&bench, &tar.end()).refused(&["a.tar", "extended header is too large"]);
    // Headers for headers, without end.
    let mut tar = before();
    for _ in 0..10_000 {
        tar = tar.pax(&[("path", b"x")]);
    }
    add(&bench, &tar.end()).has("/in/before 644 file x");
}

#[test]
fn sparse_members_and_unknown_kinds_are_refused() {
    let bench = Bench::new();
    let before = || Tar::new().file("before", "x");
    // GNU's old form, with headers that continue headers; both pax forms.
    let mut sparse = header(b'S', b"sparse", b"", 0o644, 0);
    sparse[482] = 1;
    let sum: u32 = sparse
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut more = [0xff; 512];
    more[504] = 1;
    let tar = before().raw(&sparse).raw(&more).raw(&more).raw(&more);
    add(&bench, &tar.end()).refused(&["a.tar", "/sparse"]);
    for records in [
        vec![
            ("GNU.sparse.major", b"1".as_slice()),
            ("GNU.sparse.realsize", b"9999999999999"),
        ],
        vec![
            ("GNU.sparse.map", b"0,1,99999999999,1".as_slice()),
            ("GNU.sparse.size", b"999999999999"),
        ],
    ] {
        let tar = before().pax(&records).file("sparse", "1\n0\n");
        add(&bench, &tar.end()).refused(&["a.tar", "/sparse", "sparse members are not supported"]);
    }
    for kind in [b'M', b'V', b'D', b'Z', 0xff] {
        let tar = before().member(kind, b"odd", b"", 0o644, b"");
        add(&bench, &tar.end()).refused(&["a.tar", "/odd", "not supported"]);
    }
    // Records for all members name none of them.
    let tar = Tar::new()
        .records(
            b'g',
            &[("path", b"/etc/pwned"), ("linkpath", b"/etc/passwd")],
        )
        .file("a", "x");
    add(&bench, &tar.end()).has("/in/a 644 file x");
}

#[test]
fn an_archive_that_is_a_link_or_a_pipe() {
    let bench = Bench::new();
    let archive = Tar::new().file("a", SECRET).end();
    fs::write(bench.path("real.tar"), archive).expect("written");
    std::os::unix::fs::symlink(bench.path("real.tar"), bench.context().join("a.tar"))
        .expect("linked");
    bench
        .build("FROM scratch\nADD a.tar /in/\n")
        .refused(&["a.tar"]);
    fs::remove_file(bench.context().join("a.tar")).expect("removed");
    let made = std::process::Command::new("mkfifo")
        .arg(bench.context().join("a.tar"))
        .status();
    assert!(made.expect("mkfifo").success());
    // It is taken as one, and never read from.
    bench
        .build("FROM scratch\nADD a.tar /in/\n")
        .has("/in/a.tar 644 pipe");
}
