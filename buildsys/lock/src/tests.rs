use proptest::prelude::*;
use tbuild_digest::{BlobDigest, Sha256, TreeDigest};

use super::*;

fn digest() -> impl Strategy<Value = BlobDigest> {
    prop::array::uniform32(any::<u8>()).prop_map(|bytes| BlobDigest(Sha256(bytes)))
}

fn path() -> impl Strategy<Value = ArchivePath> {
    "[a-z0-9]{1,4}(/[a-zA-Z0-9_+.~%:-]{1,8}x){0,3}".prop_map(|text| text.parse().unwrap())
}

prop_compose! {
    fn package()(name in "[a-z][a-z0-9+.-]{0,6}", version in "([0-9]:)?[0-9a-z.+~-]{1,9}", bootstrap in any::<bool>(),
        path in path(), size in 0..u64::from(u32::MAX), sha256 in digest()) -> PackageLock {
        PackageLock { name, version, architecture: "amd64".into(), bootstrap, origin: "debian".into(), path, size, sha256 }
    }
}

prop_compose! {
    fn release()(suite in "[a-z-]{1,9}", path in path(), date in ".{0,20}", sha256 in digest()) -> ReleaseLock {
        ReleaseLock { suite, origin: "debian".into(), path, date, sha256 }
    }
}

fn base() -> impl Strategy<Value = Lock> {
    (
        prop::collection::vec(package(), 0..6),
        prop::collection::vec(release(), 0..3),
        prop::collection::vec(".{0,6}", 0..3),
    )
        .prop_map(|(mut packages, mut releases, extra_suites)| {
            let size = packages.len();
            packages.sort_by(|a, b| a.name.cmp(&b.name));
            packages.dedup_by(|a, b| a.name == b.name);
            packages.reverse();
            releases.sort_by(|a, b| a.suite.cmp(&b.suite));
            releases.dedup_by(|a, b| a.suite == b.suite);
            Lock::Base(BaseLock {
                origin: "debian".into(),
                suite: "bookworm".into(),
                extra_suites,
                components: vec!["main".into()],
                include: vec!["zip".into(), "ca-certificates".into()],
                architecture: "amd64".into(),
                when: (size % 2 == 0).then(|| Day::of_unix(size as u64 * 90_000)),
                releases,
                packages,
            })
        })
}

prop_compose! {
    fn tool()(name in ".{1,8}", module in prop::option::of(".{1,8}"), size in prop::option::of(0..1_u64 << 40),
        path in path(), sha256 in digest()) -> Lock {
        let file = |platform: &str| ToolFileLock { platform: platform.into(), url: None, origin: Some("go".into()),
            path: Some(path.clone()), member: Some(path.clone()), size, sha256 };
        Lock::Tool(ToolLock { name, version: "1".into(), module, files: vec![file("linux/arm64"), file("linux/amd64")] })
    }
}

fn any_lock() -> impl Strategy<Value = Lock> {
    prop_oneof![
        base(),
        tool(),
        (
            ".{0,20}",
            ".{0,9}",
            "[0-9a-f]{40}",
            prop::option::of(digest())
        )
            .prop_map(|(url, rev, commit, tree)| {
                Lock::Git(GitLock {
                    url,
                    rev,
                    commit,
                    when: Some(Day::of_unix(0)),
                    tree: tree.map(|tree| TreeDigest(tree.0)),
                })
            }),
        (".{0,20}", digest()).prop_map(|(reference, digest)| Lock::Image(ImageLock {
            reference,
            digest,
            when: None
        })),
        (".{0,20}", digest()).prop_map(|(url, sha256)| Lock::Url(UrlLock {
            url,
            size: 7,
            sha256
        })),
    ]
}

proptest! {
    #[test]
    fn a_lock_reads_back_and_rewriting_changes_nothing(lock in any_lock()) {
        let text = lock.to_text();
        let read = Lock::parse("x.lock", &text).unwrap();
        prop_assert_eq!(read.to_text(), text);
        prop_assert_eq!(read.kind(), lock.kind());
        prop_assert_eq!(Lock::parse("x.lock", &read.to_text()).unwrap(), read);
    }

    #[test]
    fn no_text_panics(text in "(schema = 1\nkind = \"(base|tool|git)\"\n)?.{0,80}") {
        let _ = Lock::parse("x.lock", &text);
    }
}

const GIT: &str = "schema = 1\nkind = \"git\"\nurl = \"https://example.com/x.git\"\nrev = \"main\"\ncommit = \"abc\"\n";

#[test]
fn the_text_is_the_reviewed_format() {
    let lock = BaseLock {
        origin: "debian".into(),
        suite: "bookworm".into(),
        extra_suites: vec!["bookworm-security".into()],
        components: vec!["main".into()],
        include: vec![],
        architecture: "amd64".into(),
        when: Some(Day::of_unix(0)),
        releases: vec![],
        packages: vec![PackageLock {
            name: "apt".into(),
            version: "2.6.1".into(),
            architecture: "amd64".into(),
            bootstrap: true,
            origin: "debian".into(),
            path: "pool/main/a/apt/apt_2.6.1_amd64.deb".parse().unwrap(),
            size: 12,
            sha256: BlobDigest::of(b"abc"),
        }],
    };
    assert_eq!(
        lock.to_text(),
        r#"# Written by `tbuild lock`: review it as a diff, change it with `tbuild lock --update`.
schema = 1
kind = "base"
origin = "debian"
suite = "bookworm"
extra-suites = ["bookworm-security"]
components = ["main"]
architecture = "amd64"
when = "1970-01-01"

[[package]]
name = "apt"
version = "2.6.1"
architecture = "amd64"
bootstrap = true
origin = "debian"
path = "pool/main/a/apt/apt_2.6.1_amd64.deb"
size = 12
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#
    );
}

#[test]
fn errors_name_file_line_and_column() {
    let at = |text: &str| match Lock::parse("git-x.lock", text) {
        Err(LockError::Syntax {
            line,
            column,
            message,
            ..
        }) => (line, column, message),
        other => panic!("{text} gave {other:?}"),
    };
    assert_eq!(at(&format!("{GIT}surprise = 1\n")).0, 6);
    let (line, column, message) = at(&GIT.replace("\"main\"", "7"));
    assert_eq!((line, column), (4, 7), "{message}");
    assert_eq!(at("schema = 1\nkind = \"nonsense\"\n").0, 2);
    assert_eq!(at("schema = 1\nkind = \n").0, 2);
    let (line, _, message) = at(&format!("{GIT}tree = \"sha256:00\"\n"));
    assert_eq!(line, 6);
    assert!(message.contains("64 hex digits"), "{message}");
}

#[test]
fn what_was_asked_for_stays_as_it_was_asked() {
    let text = "schema = 1\nkind = \"base\"\norigin = \"debian\"\nsuite = \"s\"\ncomponents = [\"non-free\", \"main\"]\ninclude = [\"zip\", \"bash\"]\narchitecture = \"amd64\"\n";
    let lock = BaseLock::parse("x", &BaseLock::parse("x", text).unwrap().to_text()).unwrap();
    assert_eq!(lock.include, ["zip", "bash"]);
    assert_eq!(lock.components, ["non-free", "main"]);
}

#[test]
fn refuses_other_schemas_kinds_and_doubles() {
    let newer = GIT.replace("schema = 1", "schema = 2");
    assert!(matches!(
        Lock::parse("x", &newer),
        Err(LockError::Schema { found: 2, .. })
    ));
    assert!(matches!(
        BaseLock::parse("x", GIT),
        Err(LockError::Kind {
            found: Kind::Git,
            ..
        })
    ));
    let file = "\n[[file]]\nplatform = \"linux/amd64\"\nsha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n";
    let tool = format!("schema = 1\nkind = \"tool\"\nname = \"x\"\nversion = \"1\"\n{file}");
    assert!(ToolLock::parse("x", &tool).is_ok());
    let twice = format!("{tool}{file}");
    assert!(matches!(
        ToolLock::parse("x", &twice),
        Err(LockError::Duplicate { .. })
    ));
    let half = format!("{tool}origin = \"go\"\n");
    assert!(matches!(
        ToolLock::parse("x", &half),
        Err(LockError::Incomplete { .. })
    ));
}

#[test]
fn a_path_stays_below_its_origin() {
    for bad in [
        "",
        "/etc",
        "a//b",
        "../a",
        "a/..",
        "a/./b",
        "http://example.com/x",
        "a b",
        "a\nb",
        "a?b",
        "a\\b",
    ] {
        assert!(bad.parse::<ArchivePath>().is_err(), "{bad:?} was taken");
    }
    assert_eq!(
        "pool/a/a_1%3a2.deb"
            .parse::<ArchivePath>()
            .unwrap()
            .file_name(),
        "a_1%3a2.deb"
    );
}

#[test]
fn file_names_are_plain() {
    assert_eq!(
        file_name(Kind::Base, "debian:bookworm"),
        "base-debian-bookworm.lock"
    );
    assert_eq!(
        file_name(Kind::Image, "example.com/x/../y:1"),
        "image-example.com-x-..-y-1.lock"
    );
}
