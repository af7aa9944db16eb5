//! Contexts with links that lead out, pipes in the place of files, and files that take long to read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::bench::{Bench, SECRET};

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo").success());
}

#[test]
fn links_are_copied_as_links_and_never_led_out_by() {
    let bench = Bench::new();
    let context = bench.context();
    let secret = bench.outside().join("secret");
    let up = format!("{}{}", "../".repeat(60), secret.display());
    symlink(&secret, context.join("absolute")).expect("linked");
    symlink(&up, context.join("up")).expect("linked");
    symlink("/etc/passwd", context.join("passwd")).expect("linked");
    symlink(bench.outside(), context.join("folder")).expect("linked");
    symlink("folder", context.join("second")).expect("linked");
    symlink("loop", context.join("loop")).expect("linked");
    symlink(".", context.join("self")).expect("linked");
    let built = bench.build("FROM scratch\nCOPY . /all/\n");
    built.has(&format!("/all/absolute 777 -> {}", secret.display()));
    built.has(&format!("/all/up 777 -> {up}"));
    built.has("/all/loop 777 -> loop");
    for source in [
        "absolute",
        "up",
        "passwd",
        "loop",
        "folder/secret",
        "second/secret",
        "folder/sec*",
        "fold*/secret",
        "loop/x",
        "../outside/secret",
        "/../../outside/secret",
        "self/self/folder/secret",
    ] {
        for instruction in ["COPY", "COPY --link", "COPY --parents", "ADD"] {
            let built = bench.build(&format!(
                "# syntax=docker/dockerfile:1-labs\nFROM scratch\n{instruction} {source} /out/\n"
            ));
            // A link may be taken as a link; what it leads to, never.
            assert!(matches!(built.code, 0..=2), "{built:?}");
            let regular = built.files.iter().any(|line| line.contains("file"));
            assert!(!regular, "{instruction} {source}: {built:?}");
        }
        let mount = format!("--mount=type=bind,source={source},target=/m");
        // A part of it: what is said has the command.
        let part = &SECRET[..8];
        let built = bench.busybox().build(&format!(
            "FROM scratch\nCOPY busybox /busybox\nRUN {mount} [\"/busybox\", \"grep\", \"-r\", \"{part}\", \"/m\"]\n"
        ));
        assert!(matches!(built.code, 1 | 2), "{built:?}");
    }
}

#[test]
fn a_context_that_is_named_leads_nowhere_else() {
    let bench = Bench::new();
    fs::create_dir(bench.path("named")).expect("made");
    symlink(bench.outside(), bench.path("named/out")).expect("linked");
    bench.write(
        "Dockerfile",
        "FROM scratch\nCOPY --from=named out/secret /x\n",
    );
    let (code, said) = bench.run(&["build", "context", "--build-context", "named=named"]);
    assert!(matches!(code, 1 | 2), "{said}");
    bench.unharmed();
}

#[test]
fn pipes_are_taken_unread_and_devices_refused_by_name() {
    let bench = Bench::new();
    pipe(&bench.context().join("pipe"));
    bench
        .build("FROM scratch\nCOPY . /\n")
        .has("/pipe 644 pipe");
    fs::remove_file(bench.context().join("pipe")).expect("removed");
    let made = Command::new("mknod")
        .arg(bench.context().join("zeros"))
        .args(["c", "1", "5"])
        .status();
    assert!(made.expect("mknod").success());
    bench
        .build("FROM scratch\nCOPY zeros /\n")
        .refused(&["zeros", "character device"]);
}

#[test]
fn a_dockerignore_that_is_no_file_of_the_context() {
    let bench = Bench::new();
    bench
        .write("Dockerfile", "FROM scratch\nCOPY . /all/\n")
        .write("a", "x");
    let ignore = bench.context().join(".dockerignore");
    pipe(&ignore);
    bench
        .build_as_it_is()
        .refused(&[".dockerignore", "no regular file"]);
    fs::remove_file(&ignore).expect("removed");
    symlink(bench.outside().join("secret"), &ignore).expect("linked");
    bench
        .build_as_it_is()
        .refused(&[".dockerignore", "leads out of its folder"]);
    fs::remove_file(&ignore).expect("removed");
    symlink("/dev/zero", &ignore).expect("linked");
    bench.build_as_it_is().refused(&[".dockerignore"]);
    fs::remove_file(&ignore).expect("removed");
    fs::write(&ignore, "x\n".repeat(1 << 20)).expect("written");
    bench
        .build_as_it_is()
        .refused(&[".dockerignore", "larger than 1 MiB"]);
    // A link to a neighbour is a file of the context.
    fs::remove_file(&ignore).expect("removed");
    bench.write("ignored", "a\n");
    symlink("ignored", &ignore).expect("linked");
    let built = bench.build_as_it_is();
    built.has("/all/ignored 644 file a");
    assert!(
        !built.files.iter().any(|line| line.starts_with("/all/a ")),
        "{built:?}"
    );
}

#[test]
fn patterns_made_to_take_long() {
    let bench = Bench::new();
    let name = "a".repeat(250);
    let deep = "a/".repeat(20);
    fs::create_dir_all(bench.context().join(&deep)).expect("made");
    bench.write(&name, "x").write(&format!("{deep}{name}"), "x");
    let patterns = [
        "*a".repeat(120) + "b",
        "**/".repeat(200) + "b",
        "**/a/".repeat(100) + "**/b",
        "**a".repeat(100) + "b",
        "a*".repeat(100) + "/**/" + &"*a".repeat(100),
        "?*".repeat(100) + "b",
        "[a-z]*".repeat(80) + "b",
        format!("!{}", "**/*/".repeat(100) + "b"),
    ];
    bench
        .write(".dockerignore", patterns.join("\n"))
        .build("FROM scratch\nCOPY . /all/\n")
        .has(&format!("/all/{name} 644 file x"));
    for pattern in &patterns[..7] {
        let built = bench.build(&format!("FROM scratch\nCOPY {pattern} /all/\n"));
        assert!(matches!(built.code, 0..=2), "{built:?}");
        let built = bench.build(&format!(
            "# syntax=docker/dockerfile:1-labs\nFROM scratch\nCOPY --exclude={pattern} . /all/\n"
        ));
        assert!(matches!(built.code, 0..=2), "{built:?}");
    }
}

#[test]
fn a_dockerfile_that_is_too_large_or_none() {
    let bench = Bench::new();
    let file = bench.context().join("Dockerfile");
    let line = "ENV A=B\n";
    bench.write(
        "Dockerfile",
        "FROM scratch\n".to_owned() + &line.repeat((100 << 20) / line.len()),
    );
    bench
        .build_as_it_is()
        .refused(&["Dockerfile", "larger than 16 MiB"]);
    bench.write("a", "x");
    fs::remove_file(&file).expect("removed");
    symlink(bench.outside().join("secret"), &file).expect("linked");
    bench
        .build_as_it_is()
        .refused(&["Dockerfile", "leads out of its folder"]);
    fs::remove_file(&file).expect("removed");
    pipe(&file);
    bench
        .build_as_it_is()
        .refused(&["Dockerfile", "no regular file"]);
    fs::remove_file(&file).expect("removed");
    fs::write(&file, b"FROM scratch\n\xff\xfe\0\n").expect("written");
    bench.build_as_it_is().refused(&["Dockerfile"]);
}

#[test]
fn dockerfiles_made_to_take_long() {
    let bench = Bench::new();
    let many = |line: &str, bytes: usize| line.repeat(bytes / line.len());
    // Values that double with each line.
    let double = |number: usize| {
        let before = format!("$A{}", number - 1);
        format!("ENV A{number}={}\n", before.repeat(4))
    };
    let doubles: Vec<String> = (1..60).map(double).collect();
    let doubles = format!("FROM scratch\nENV A0=aaaaaaaaaa\n{}", doubles.concat());
    for text in [
        doubles,
        "FROM scratch\n".to_owned() + &many("# a comment\n", 4 << 20),
        "FROM scratch\nRUN a \\\n".to_owned() + &many("b \\\n", 4 << 20),
        "FROM scratch\nRUN a \\\n".to_owned() + &many("# c\n\n", 4 << 20),
        "FROM scratch\nENV A=".to_owned() + &many("${A:-", 1 << 20),
        "FROM scratch\nENV A=".to_owned() + &many("${A:-", 100_000) + &many("}", 20_000),
        "FROM scratch\nENV A=".to_owned() + &many("\\", 1 << 20),
        "FROM scratch\nENV ".to_owned() + &many("a=b ", 1 << 20),
        "FROM scratch\nCMD ".to_owned() + &many("[", 1 << 20),
        "FROM scratch\nRUN ".to_owned() + &many("<<A ", 100_000),
        "FROM scratch\nLABEL a=\"".to_owned() + &many("\n", 1 << 20),
        many("FROM scratch\n", 200_000),
        many("x", 4 << 20),
        many("X\n", 1 << 20),
        "FROM scratch\n".to_owned() + &many("ENV A=$B\n", 1 << 20),
    ] {
        let built = bench.build(&text);
        assert!(
            matches!(built.code, 0..=2),
            "{}",
            &built.said[..built.said.len().min(2000)]
        );
        // What is said of it is said to people.
        assert!(
            built.said.len() < 32 << 20,
            "{} bytes are said",
            built.said.len()
        );
    }
}
