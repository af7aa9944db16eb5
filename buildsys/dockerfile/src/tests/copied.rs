//! COPY and ADD: flags, permissions, remote sources.

use crate::{
    BaseConfig, Chmod, Concrete, ConcreteCopy, GitRemote, LowerOptions, Remote, Scope, Source,
    lower, parse,
};

/// The last instruction of a stage, resolved, or what is wrong with it.
fn last(text: &str) -> Result<ConcreteCopy, String> {
    let dockerfile = parse(&format!("FROM x\n{text}\n")).map_err(|all| all[0].message.clone())?;
    let plan = lower(&dockerfile, &LowerOptions::default())
        .map_err(|all| format!("{}: {}", all[0].code, all[0].message))?;
    let mut scope = Scope::new(&plan, &BaseConfig::default());
    let mut concrete = None;
    for step in &plan.stages[0].steps {
        concrete = Some(step.resolve(&mut scope).map_err(|error| error.message)?);
    }
    match concrete {
        Some(Concrete::Copy(copy)) => Ok(copy),
        other => Err(format!("no copy: {other:?}")),
    }
}

#[test]
fn permissions_are_octal_or_symbolic() {
    // (change, mode, folder, result): what chmod(1) of coreutils leaves.
    for (text, mode, folder, expected) in [
        ("755", 0o600, false, 0o755),
        ("4755", 0o600, true, 0o4755),
        ("u=rwX,go=rX", 0o640, false, 0o644),
        ("u=rwX,go=rX", 0o750, false, 0o755),
        ("u=rwX,go=rX", 0o700, true, 0o755),
        ("a+x,g-r,o=u,+t", 0o644, false, 0o1717),
        ("g+s,u+s", 0o755, true, 0o6755),
        ("o+s", 0o755, false, 0o755),
        ("+x", 0o644, false, 0o755),
        ("go=", 0o777, false, 0o700),
        ("go=u-w", 0o700, false, 0o755),
        ("u=rw,g=u,o=g", 0o000, false, 0o666),
        ("=", 0o777, false, 0o000),
        ("a-X", 0o755, false, 0o644),
        ("u+w-x", 0o555, false, 0o655),
    ] {
        let chmod = Chmod::parse(text).unwrap_or_else(|| panic!("{text} is not read"));
        let found = chmod.apply(mode, folder);
        assert_eq!(found, expected, "{text} of {mode:o}: {found:o}");
    }
    for text in [
        "", "999", "77777", "u=q", "u", "u+r,", ",u+r", "x", "8", "-1",
    ] {
        let found = Chmod::parse(text);
        // A minus and a plus alone are clauses of everybody.
        assert!(found.is_none(), "{text:?} is read as {found:?}");
    }
}

#[test]
fn flags_of_copy() {
    let copy = last("COPY --link --parents --exclude=*.o --exclude=!a.o a/./b/c /d/e ./../f g/ /t")
        .expect("it resolves");
    assert!(copy.link && !copy.add);
    assert_eq!(copy.exclude, ["*.o", "!a.o"]);
    let paths: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            Source::Path(path) => (
                path.path.as_str(),
                path.below.as_deref(),
                path.is_required(),
            ),
            Source::Remote(_) => panic!("not a path"),
        })
        .collect();
    assert_eq!(
        paths,
        [
            ("/a", Some("b/c"), true),
            ("/", Some("d/e"), true),
            ("/", Some("f"), true),
            ("/", Some("g"), true),
        ]
    );
    assert!(!last("COPY --link=false a /t").expect("it resolves").link);
    // As with BuildKit, permissions turn --link off.
    assert!(
        !last("COPY --link --chmod=644 a /t")
            .expect("it resolves")
            .link
    );
    assert!(last("COPY --parents . /t").is_err_and(|text| text.contains("names nothing below")));
    assert_eq!(
        last("COPY --checksum=sha256:00 a /t"),
        Err("COPY has no flag --checksum".to_owned())
    );
}

#[test]
fn checksums_are_for_one_remote_source() {
    let digest = "0123456789abcdef".repeat(4);
    let good = format!("ADD --checksum=sha256:{digest} https://example.com/a /");
    let checksum = last(&good).expect("it resolves").checksum;
    assert_eq!(checksum, Some(format!("sha256:{digest}")));
    for (text, expected) in [
        (
            "--checksum=sha256:00 a /",
            "is for URLs and git repositories",
        ),
        (
            "--checksum=sha256:00 https://example.com/a https://example.com/b /",
            "takes one source",
        ),
        (
            "--checksum=md5:00 https://example.com/a /",
            "is not sha256: and 64 digits",
        ),
        (
            "--checksum=12 https://example.com/a.git?commit=13 /",
            "the URL says 13",
        ),
        (
            "--keep-git-dir=false https://example.com/a.git?keep-git-dir /",
            "the URL says true",
        ),
        ("https://example.com/a.git?x=1 /", "there is no query x"),
        (
            "https://example.com/a.git?ref=1&ref=2 /",
            "ref is given twice",
        ),
        (
            "https://example.com/a.git?ref=1#2 /",
            "two revisions: 2 and 1",
        ),
        (
            "https://example.com/a.git?tag=1&branch=2 /",
            "a branch and a tag at once",
        ),
        ("https://example.com/a.git?ref= /", "ref has no value"),
        (
            "https://example.com/a.git?submodules=maybe /",
            "is true or false",
        ),
    ] {
        let found = last(&format!("ADD {text}")).expect_err(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn remote_sources() {
    let http = |url: &str, name: &str| {
        let (url, name) = (url.to_owned(), name.to_owned());
        Some(Remote::Http { url, name })
    };
    let git = |url: &str, revision: Option<&str>, folder: &str| {
        Some(Remote::Git(GitRemote {
            url: url.to_owned(),
            revision: revision.map(str::to_owned),
            folder: folder.to_owned(),
            ..GitRemote::default()
        }))
    };
    for (text, expected) in [
        (
            "https://example.com/a/b.tar?x=1#y",
            http("https://example.com/a/b.tar?x=1#y", "b.tar"),
        ),
        (
            "http://example.com/a%20b/",
            http("http://example.com/a%20b/", "a b"),
        ),
        (
            "http://example.com",
            http("http://example.com", "__unnamed__"),
        ),
        ("HTTP://example.com/x", http("HTTP://example.com/x", "x")),
        (
            "https://example.com/a.git",
            git("https://example.com/a.git", None, ""),
        ),
        (
            "https://example.com/a.git#v1:sub/dir",
            git("https://example.com/a.git", Some("v1"), "sub/dir"),
        ),
        (
            "https://example.com/a.git#:/../sub",
            git("https://example.com/a.git", None, "sub"),
        ),
        (
            "https://example.com/a.git?tag=v1&subdir=x",
            git("https://example.com/a.git", Some("refs/tags/v1"), "x"),
        ),
        (
            "https://example.com/a.git?branch=v1",
            git("https://example.com/a.git", Some("refs/heads/v1"), ""),
        ),
        (
            "https://example.com/a.git?ref=v1#v1",
            git("https://example.com/a.git", Some("v1"), ""),
        ),
        (
            "git@example.com:a/b.git#main",
            git("git@example.com:a/b.git", Some("main"), ""),
        ),
        ("user@example.com:a", git("user@example.com:a", None, "")),
        (
            "ssh://git@example.com/a",
            git("ssh://git@example.com/a", None, ""),
        ),
        (
            "git://example.com/a#x:y",
            git("git://example.com/a", Some("x"), "y"),
        ),
        ("./git@example.com:a", None),
        ("example.com/a.git", None),
        ("ftp://example.com/a", None),
        ("a@b", None),
        ("/x", None),
    ] {
        assert_eq!(Remote::parse(text).expect(text), expected, "{text}");
    }
    let Ok(Some(Remote::Git(all))) = Remote::parse(
        "https://example.com/a.git?ref=r&commit=abc&keep-git-dir=1&submodules=0&mtime=commit&fetch-by-commit",
    ) else {
        panic!("no repository");
    };
    assert_eq!(
        (
            all.checksum.as_deref(),
            all.keep_git_dir,
            all.skip_submodules
        ),
        (Some("abc"), Some(true), true)
    );
}
