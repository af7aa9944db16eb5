//! apt's indexes. Sources: the Debian wiki, DebianRepository/Format; deb822(5).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tbuild_digest::Sha256;

/// An index that a release lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the release's folder: `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// In lower case.
    pub sha256: String,
}

/// The text of an `InRelease`, without its signature; none if it is not one. Whether the signature is good is not
/// looked at.
pub fn signed_text(document: &[u8]) -> Option<String> {
    let document = std::str::from_utf8(document).ok()?;
    let (_, rest) = document.split_once("-----BEGIN PGP SIGNED MESSAGE-----")?;
    // Armor headers end with an empty line (RFC 4880, section 7).
    let (_, rest) = rest.split_once("\n\n")?;
    let (text, _) = rest.split_once("\n-----BEGIN PGP SIGNATURE-----")?;
    let lines = text
        .lines()
        .map(|line| line.strip_prefix("- ").unwrap_or(line));
    Some(lines.fold(String::new(), |text, line| text + line + "\n"))
}

/// What a release lists with SHA-256.
pub fn listed(release: &str) -> Vec<Listed> {
    let lines = release.lines().skip_while(|line| *line != "SHA256:");
    lines
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let sha256 = words.next()?.to_ascii_lowercase();
            let path = words.nth(1)?.to_owned();
            Some(Listed { path, sha256 })
        })
        .collect()
}

/// A release that lists these indexes and no others: paths and contents. It does not end to be valid: it is what was
/// seen once.
pub fn release(text: &str, indexes: &[(String, Vec<u8>)]) -> String {
    const DROPPED: [&str; 6] = [
        "Acquire-By-Hash",
        "MD5Sum",
        "SHA1",
        "SHA256",
        "SHA512",
        "Valid-Until",
    ];
    let mut reduced = String::new();
    let mut is_kept = true;
    for line in text.lines() {
        // Lines that go on with a field begin with white space.
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default();
            is_kept = !DROPPED
                .iter()
                .any(|dropped| dropped.eq_ignore_ascii_case(name));
        }
        if is_kept && !line.is_empty() {
            reduced.push_str(line);
            reduced.push('\n');
        }
    }
    reduced.push_str("SHA256:\n");
    for (path, content) in indexes {
        let sha256 = Sha256::of(content).hex();
        let _infallible = writeln!(reduced, " {sha256} {} {path}", content.len());
    }
    reduced
}

/// The paragraphs of packages whose files are among `taken` (`pool/...`), and the names of these packages.
pub fn packages(index: &[u8], taken: &BTreeSet<String>) -> (Vec<u8>, BTreeSet<String>) {
    let mut names = BTreeSet::new();
    let kept = paragraphs(index, |paragraph| {
        let is_taken = field(paragraph, "Filename").is_some_and(|file| taken.contains(file));
        if is_taken && let Some(name) = field(paragraph, "Package") {
            names.insert(name.to_owned());
        }
        is_taken
    });
    (kept, names)
}

/// The paragraphs of packages with these names: what is left of translations.
pub fn of_packages(index: &[u8], names: &BTreeSet<String>) -> Vec<u8> {
    paragraphs(index, |paragraph| {
        field(paragraph, "Package").is_some_and(|name| names.contains(name))
    })
}

/// The paragraphs that are wanted, as they are.
fn paragraphs(index: &[u8], mut is_wanted: impl FnMut(&str) -> bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let text = String::from_utf8_lossy(index);
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.trim_matches('\n');
        if !paragraph.is_empty() && is_wanted(paragraph) {
            kept.extend_from_slice(paragraph.as_bytes());
            kept.extend_from_slice(b"\n\n");
        }
    }
    kept
}

/// The value of a field on one line.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "Package: a\nVersion: 1\nFilename: pool/a_1.deb\nDescription: one\n more\n\n\
                         Package: b\nFilename: pool/b_1.deb\n\nPackage: a\nFilename: pool/a_2.deb\n";

    #[test]
    fn what_was_taken_is_left() {
        let taken = BTreeSet::from(["pool/a_1.deb".to_owned()]);
        let (left, names) = packages(INDEX.as_bytes(), &taken);
        let first = INDEX.split_inclusive("\n\n").next().expect("one");
        assert_eq!(left, first.as_bytes());
        assert_eq!(names, BTreeSet::from(["a".to_owned()]));
        let translations = "Package: a\nDescription-en: x\n\nPackage: c\nDescription-en: y\n";
        assert_eq!(
            of_packages(translations.as_bytes(), &names),
            b"Package: a\nDescription-en: x\n\n"
        );
        assert_eq!(packages(b"", &taken).0, b"");
    }

    #[test]
    fn a_release_lists_what_is_left() {
        let text = "Origin: Debian\nValid-Until: Sat, 01 Jan 2000 00:00:00 UTC\nSuite: stable\nMD5Sum:\n aa 1 x\nSHA256:\n bb 2 y\n cc 3 main/z.xz\n";
        let found = listed(text);
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[1].path, &*found[1].sha256), ("main/z.xz", "cc"));
        let reduced = release(text, &[("main/z".to_owned(), b"hello".to_vec())]);
        let digest = Sha256::of(b"hello").hex();
        assert_eq!(
            reduced,
            format!("Origin: Debian\nSuite: stable\nSHA256:\n {digest} 5 main/z\n")
        );
        assert_eq!(listed(&reduced)[0].path, "main/z");
    }
}
