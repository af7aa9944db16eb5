//! Images of a registry that lies, with layers that reach for the host.

use tbuild_digest::{BlobDigest, DiffId, Sha256};

use crate::bench::{Bench, Built};
use crate::bombs::{HUGE, gzip, gzip_bomb};
use crate::registry::{Registry, config};
use crate::tar::{Tar, header};

/// Builds on the image, with a step that needs its layers unpacked.
fn build(bench: &Bench, registry: &Registry) -> Built {
    let _old = std::fs::remove_dir_all(bench.path("lockfiles"));
    bench.busybox().build(&format!(
        "FROM {}\nCOPY busybox /busybox\nRUN [\"/busybox\", \"touch\", \"/ran\"]\n",
        registry.name()
    ))
}

fn layer(bench: &Bench, registry: &Registry, tar: Tar) -> Built {
    registry.layer(&tar.end());
    build(bench, registry)
}

#[test]
fn layers_stay_in_their_snapshot() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let outside = bench.outside();
    let outside = outside.to_str().expect("a path");
    let up = format!("{}{outside}", "../".repeat(60));
    let tar = Tar::new()
        .file("../../x", "x")
        .file("/etc/pwned", "y")
        .long(b'0', format!("{up}/pwned").as_bytes(), b"")
        .mode("su", 0o6755, "s")
        .device(b'4', "disk")
        .file(".wh..wh.aufs", "")
        .file(".wh...", "");
    let built = layer(&bench, &registry, tar);
    for line in [
        "/x 644 file x",
        "/etc/pwned 644 file y",
        "/su 6755 file s",
        "/disk 666 block 8:0",
        "/ran 644 file",
        &format!("{outside}/pwned 644 file"),
    ] {
        built.has(line);
    }
    for target in [outside, &up] {
        for tar in [
            Tar::new().symlink("l", target).file("l/pwned", "x"),
            Tar::new()
                .symlink("l", target)
                .folder("l/d")
                .file("l/d/pwned", "x"),
            Tar::new()
                .symlink("a", target)
                .symlink("b", "a")
                .file("b/pwned", "x"),
            Tar::new().symlink("l", target).file("l/.wh.secret", ""),
            Tar::new().symlink("l", target).file("l/.wh..wh..opq", ""),
            Tar::new()
                .folder("l")
                .symlink("l", target)
                .file("l/pwned", "x"),
        ] {
            let built = layer(&bench, &registry, tar);
            assert!(matches!(built.code, 0..=2), "{built:?}");
        }
    }
}

#[test]
fn layers_that_are_none_are_refused() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let secret = bench.outside().join("secret");
    let secret = secret.to_str().expect("a path");
    let up = format!("{}{secret}", "../".repeat(60));
    let before = || Tar::new().file("before", "x");
    for target in [secret, &up, "/etc/passwd", "nothing", "h"] {
        layer(&bench, &registry, before().hardlink("h", target)).refused(&["/h: it links to"]);
    }
    let circle = Tar::new().hardlink("a", "b").hardlink("b", "a");
    layer(&bench, &registry, circle).refused(&["it links to"]);
    let overlay = before()
        .pax(&[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
        .folder("d");
    layer(&bench, &registry, overlay).refused(&["/d", "overlayfs"]);
    layer(&bench, &registry, before().long(b'0', b"a\0b", b"")).refused(&["zero byte"]);
    layer(
        &bench,
        &registry,
        before().long(b'0', &b"n".repeat(256), b""),
    )
    .refused(&["256 bytes"]);
    layer(
        &bench,
        &registry,
        before().long(b'2', b"l", &b"t".repeat(5000)),
    )
    .refused(&["/l: its target is longer"]);
    layer(
        &bench,
        &registry,
        before().member(b'S', b"sparse", b"", 0o644, b""),
    )
    .refused(&["/sparse", "not supported"]);
    layer(&bench, &registry, Tar::new().symlink(".", "/etc")).refused(&["root"]);
    // Cut off, in a member and in a header.
    for length in [600, 1024 + 100] {
        let whole = Tar::new().file("a", "one").file("b", "two").cut();
        registry.layer(&whole[..length]);
        build(&bench, &registry).refused(&["layer"]);
    }
    let lie = before().pax(&[("size", b"9223372036854775807")]);
    layer(&bench, &registry, lie.file("lie", "x")).refused(&["layer"]);
}

#[test]
fn hard_links_in_a_long_chain() {
    let (bench, registry) = (Bench::new(), Registry::start());
    // Each is a second name of the next one, which only comes later.
    let mut tar = Tar::new();
    for number in (0..30_000).rev() {
        tar = tar.raw(&header(
            b'1',
            format!("l{number}").as_bytes(),
            format!("l{}", number + 1).as_bytes(),
            0o644,
            0,
        ));
    }
    layer(&bench, &registry, tar.file("l30000", "x")).refused(&["cannot make hard link /l29999"]);
}

#[test]
fn a_layer_that_unpacks_to_far_more_than_it_is() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let bomb = gzip_bomb(HUGE);
    let image = registry.image(&bomb, &DiffId(Sha256::of(b"never read to its end")));
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&[
        "more than 1024 MiB and more than 200 times its size",
        "skopeo copy --dest-decompress",
    ]);
    // Nothing of it stays.
    let blobs = bench.path("store/blobs/sha256");
    let largest = std::fs::read_dir(blobs)
        .expect("blobs")
        .map(|blob| blob.expect("blob").metadata().expect("metadata").len())
        .max();
    assert!(largest < Some(100 << 20), "{largest:?}");
}

#[test]
fn sizes_and_digests_that_lie() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let tar = Tar::new().file("a", "content").end();
    let true_id = DiffId(Sha256::of(&tar));
    let good = registry.image(&tar, &true_id);
    for size in ["1", "100000", "0", "18446744073709551615"] {
        registry.manifest(&good.manifest_with(size, ""));
        let built = build(&bench, &registry);
        // Where there is less than was said, the connection may be to blame.
        assert!(matches!(built.code, 1..=3), "{size}: {built:?}");
    }
    for size in ["-1", "1e3", "18446744073709551616", "\"5\"", "null"] {
        registry.manifest(&good.manifest_with(size, ""));
        build(&bench, &registry).refused(&["malformed"]);
    }
    // Two sizes whose sum is beyond what a number holds.
    let other = Tar::new().file("b", "other").end();
    let layers = config(&[true_id, DiffId(Sha256::of(&other))]);
    let size = layers.len();
    let digests = (registry.blob(layers), registry.blob(other));
    let most = u64::MAX;
    let one = format!(
        r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{most}}}"#,
        good.layer.0
    );
    let two = one.replace(&good.layer.0.to_string(), &digests.1.to_string());
    registry.manifest(&format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{size}}},
        "layers":[{one},{two}]}}"#,
        digests.0
    ));
    let built = build(&bench, &registry);
    assert!(matches!(built.code, 1..=3), "{built:?}");
    // Content that is not what its digest says: the layer's, the config's, the diff ID, the manifest.
    let mut image = good.clone();
    image.layer.0 = BlobDigest(Sha256::of(b"other"));
    registry.blob_as(&image.layer.0, tar.clone());
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["expected sha256:", "got sha256:"]);
    let mut image = good.clone();
    image.config.0 = BlobDigest(Sha256::of(b"other"));
    registry.blob_as(&image.config.0, config(&[true_id]));
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["expected sha256:"]);
    let image = registry.image(&gzip(&tar), &DiffId(Sha256::of(b"other")));
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["diff ID"]);
    let text = good.manifest("");
    let digest = BlobDigest(Sha256::of(b"other"));
    registry.put(
        &format!("/v2/evil/manifests/{digest}"),
        "application/vnd.oci.image.manifest.v1+json",
        text.into_bytes(),
    );
    bench
        .build(&format!("FROM {}/evil@{digest}\n", registry.address))
        .refused(&["expected sha256:"]);
    // Fewer layers than diff IDs.
    let none = config(&[]);
    let mut image = good;
    image.config = (registry.blob(none.clone()), none.len() as u64);
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["1 layers but 0 diff IDs"]);
}

#[test]
fn addresses_of_others_are_not_visited() {
    let (bench, registry, other) = (Bench::new(), Registry::start(), Registry::start());
    let tar = Tar::new().file("a", "content").end();
    let mut image = registry.image(&tar, &DiffId(Sha256::of(&tar)));
    let urls = format!(
        r#","urls":["http://{}/layer","file:///etc/passwd"]"#,
        other.address
    );
    other.put("/layer", "application/octet-stream", tar.clone());
    // Where the registry has the layer itself, and where it does not.
    registry.manifest(&image.manifest(&urls));
    build(&bench, &registry).has("/a 644 file content");
    let absent = Tar::new().file("b", "elsewhere").end();
    image = registry.image(&tar, &DiffId(Sha256::of(&absent)));
    image.layer = (BlobDigest::of(&absent), absent.len() as u64);
    other.put("/layer", "application/octet-stream", absent);
    registry.manifest(&image.manifest(&urls));
    build(&bench, &registry).refused(&["does not have"]);
    assert_eq!(other.asked(), 0, "an address in a manifest was visited");
}

#[test]
fn documents_that_are_huge_or_deep() {
    let (bench, registry) = (Bench::new(), Registry::start());
    let tar = Tar::new().file("a", "content").end();
    let good = registry.image(&tar, &DiffId(Sha256::of(&tar)));
    let padding = " ".repeat(9 << 20);
    registry.manifest(&(good.manifest("") + &padding));
    build(&bench, &registry).refused(&["larger than"]);
    let deep = format!(
        r#","annotations":{}1{}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    registry.manifest(&good.manifest(&deep));
    build(&bench, &registry).refused(&["malformed"]);
    let mut image = good.clone();
    let mut long = config(&[DiffId(Sha256::of(&tar))]);
    long.resize(33 << 20, b' ');
    image.config = (registry.blob(long.clone()), long.len() as u64);
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["larger than"]);
    // One that only says that it is small.
    image.config.1 = 100;
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["100 bytes"]);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    image.config = (registry.blob(deep.clone()), deep.len() as u64);
    registry.manifest(&image.manifest(""));
    build(&bench, &registry).refused(&["malformed"]);
    for text in [
        "",
        "{}",
        "[]",
        "null",
        "{\"schemaVersion\":2",
        "\0\0\0",
        "<html>",
    ] {
        registry.manifest(text);
        let built = build(&bench, &registry);
        assert!(matches!(built.code, 1 | 2), "{text:?}: {built:?}");
    }
}
