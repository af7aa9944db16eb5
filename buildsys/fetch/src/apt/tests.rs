use proptest::prelude::*;
use tbuild_digest::BlobDigest;

use super::AptError;
use super::packages::Universe;
use super::release::Release;
use super::resolve::resolve;

/// A stanza: name, version, other fields.
fn stanza(name: &str, version: &str, fields: &str) -> String {
    let digest = BlobDigest::of(name.as_bytes()).hex();
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}Filename: ./pool/{name}.deb\nSize: 1\nSHA256: {digest}\n\n"
    )
}

fn universe(indexes: &[(u16, &str)]) -> Universe {
    let mut universe = Universe::default();
    for (priority, index) in indexes {
        universe
            .add("suite", "debian", *priority, "amd64", index.as_bytes())
            .unwrap();
    }
    universe.finish();
    universe
}

const APT: &str = "Package: apt\nVersion: 1\nArchitecture: amd64\nFilename: apt.deb\nSize: 1\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\n";

fn names(index: &str, include: &[&str]) -> Result<Vec<String>, AptError> {
    let universe = universe(&[(500, &format!("{APT}{index}"))]);
    let include: Vec<String> = include.iter().map(|name| (*name).to_owned()).collect();
    Ok(resolve(&universe, "suite", &include)?
        .into_keys()
        .filter(|name| *name != "apt")
        .map(str::to_owned)
        .collect())
}

#[test]
fn essential_required_and_what_they_need() {
    let index = [
        stanza("libc", "2", ""),
        stanza("dash", "1", "Essential: yes\nPre-Depends: libc (>= 2)\n"),
        stanza(
            "passwd",
            "1",
            "Priority: required\nDepends: login | other\n",
        ),
        stanza("login", "1", ""),
        stanza("other", "1", ""),
        stanza("unrelated", "1", "Priority: important\n"),
    ]
    .concat();
    assert_eq!(
        names(&index, &[]).unwrap(),
        ["dash", "libc", "login", "passwd"]
    );
}

#[test]
fn alternatives_and_providers() {
    let index = [
        stanza(
            "a",
            "1",
            "Depends: missing | mta, b | c, usrmerge | usr-is-merged\n",
        ),
        stanza("postfix", "1", "Priority: optional\nProvides: mta\n"),
        stanza("exim", "1", "Priority: standard\nProvides: mta (= 4)\n"),
        stanza("b", "1", ""),
        stanza("c", "1", ""),
        stanza("usrmerge", "1", ""),
        stanza("usr-is-merged", "1", ""),
        stanza("needs-mta", "1", "Depends: mta (>= 3)\n"),
    ]
    .concat();
    assert_eq!(
        names(&index, &["a"]).unwrap(),
        ["a", "b", "exim", "usr-is-merged"]
    );
    assert_eq!(
        names(&index, &["c", "a"]).unwrap(),
        ["a", "c", "exim", "usr-is-merged"],
        "what is chosen already is taken"
    );
    assert_eq!(
        names(&index, &["needs-mta"]).unwrap(),
        ["exim", "needs-mta"],
        "a version needs a versioned provider"
    );
    assert_eq!(names(&index, &["mta"]).unwrap(), ["exim"]);
}

#[test]
fn what_cannot_be_names_who_wants_it() {
    let index = [
        stanza("a", "1", "Depends: b (>= 2) | c\n"),
        stanza("b", "1", ""),
    ]
    .concat();
    match names(&index, &["a"]).unwrap_err() {
        AptError::Unsatisfied {
            relation, because, ..
        } => assert_eq!((relation.as_str(), because.as_str()), ("b (>= 2) | c", "a")),
        other => panic!("{other}"),
    }
    let index = [
        stanza("a", "1", "Conflicts: x\nProvides: x\n"),
        stanza("b", "1", "Provides: x\n"),
    ]
    .concat();
    assert_eq!(names(&index, &["a"]).unwrap(), ["a"], "not with itself");
    assert!(matches!(
        names(&index, &["a", "b"]),
        Err(AptError::Conflict { .. })
    ));
    let index = [stanza("a", "1", "Breaks: b (<< 2)\n"), stanza("b", "2", "")].concat();
    assert!(names(&index, &["a", "b"]).is_ok());
}

#[test]
fn candidates_by_priority_then_version() {
    let (old, new) = (stanza("a", "1.9", ""), stanza("a", "1.10", ""));
    let version = |indexes: &[(u16, &str)]| universe(indexes).get("a").unwrap().version.to_string();
    assert_eq!(version(&[(500, &old), (500, &new)]), "1.10");
    assert_eq!(version(&[(500, &new), (500, &old)]), "1.10");
    assert_eq!(version(&[(500, &old), (100, &new)]), "1.9");
    assert_eq!(version(&[(100, &new)]), "1.10");
}

#[test]
fn other_architectures_and_broken_stanzas() {
    let foreign = stanza("a", "1", "").replace("amd64", "arm64");
    assert!(universe(&[(500, &foreign)]).get("a").is_none());
    for (from, to) in [
        ("Filename: ./pool", "Filename: ../.."),
        ("Size: 1", "Size: x"),
        ("SHA256: ", "SHA256: 0"),
        ("Version", "X"),
    ] {
        let broken = stanza("a", "1", "").replace(from, to);
        let error = Universe::default()
            .add("suite", "debian", 500, "amd64", broken.as_bytes())
            .unwrap_err();
        assert!(matches!(error, AptError::Malformed { .. }), "{to}: {error}");
    }
}

#[test]
fn releases() {
    let digest = BlobDigest::of(b"x").hex();
    let text = format!(
        "Suite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\nNotAutomatic: yes\nButAutomaticUpgrades: yes\nSHA256:\n {digest} 12 main/binary-amd64/Packages.gz\n {digest} 99 main/binary-amd64/Packages\n"
    );
    let release = |suite: &str, now| Release::parse(suite, text.as_bytes(), now);
    let good = release("bookworm", 0).unwrap();
    assert!(good.by_hash);
    assert_eq!(good.priority, 100);
    assert_eq!(
        good.index("main", "amd64").unwrap(),
        (
            "main/binary-amd64/Packages.gz".to_owned(),
            BlobDigest::of(b"x"),
            12
        )
    );
    assert!(good.index("main", "arm64").is_none());
    assert!(release("stable", 0).is_ok());
    assert!(
        matches!(release("trixie", 0), Err(AptError::Malformed { .. })),
        "another suite in its place"
    );
    let end = 1_784_369_797;
    assert!(release("bookworm", end).is_ok());
    assert!(matches!(
        release("bookworm", end + 1),
        Err(AptError::Expired { .. })
    ));
}

proptest! {
    #[test]
    fn the_choice_does_not_depend_on_the_order(edges in prop::collection::vec((0..8_usize, 0..8_usize), 0..20), seed in any::<prop::sample::Index>()) {
        let mut stanzas: Vec<String> = (0..8)
            .map(|at| {
                let needs: Vec<String> = edges.iter().filter(|(from, _)| *from == at).map(|(_, to)| format!("p{to}")).collect();
                let depends = if needs.is_empty() { String::new() } else { format!("Depends: {}\n", needs.join(", ")) };
                stanza(&format!("p{at}"), "1", &depends)
            })
            .collect();
        let one = names(&stanzas.concat(), &["p0"]).unwrap();
        stanzas.rotate_left(seed.index(8));
        stanzas.reverse();
        prop_assert_eq!(&names(&stanzas.concat(), &["p0"]).unwrap(), &one);
        for (from, to) in edges {
            let has = |at: usize| one.contains(&format!("p{at}"));
            prop_assert!(!has(from) || has(to), "closed under what is needed");
        }
    }
}
