//! Relations between packages (Debian policy, section 7.1).

use std::fmt;

use super::version::Version;

/// How a version must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// One package that may satisfy a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package, or a name that others provide.
    pub name: String,
    version: Option<(Comparison, Version)>,
}

/// What must be satisfied: alternatives, first choice first.
pub type Alternatives = Vec<Relation>;

impl Relation {
    /// Any version of `name`.
    pub fn any(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: None,
        }
    }

    /// Whether a package of that name and `version` satisfies this.
    pub fn accepts(&self, version: &Version) -> bool {
        self.version
            .as_ref()
            .is_none_or(|(comparison, wanted)| match comparison {
                Comparison::Less => version < wanted,
                Comparison::LessOrEqual => version <= wanted,
                Comparison::Equal => version == wanted,
                Comparison::GreaterOrEqual => version >= wanted,
                Comparison::Greater => version > wanted,
            })
    }

    /// Whether a `Provides` entry of that name satisfies this: a versioned relation needs a versioned one
    /// (policy, section 7.5).
    pub fn accepts_provided(&self, version: Option<&Version>) -> bool {
        match (&self.version, version) {
            (None, _) => true,
            (Some(_), Some(version)) => self.accepts(version),
            (Some(_), None) => false,
        }
    }

    /// The exact version that a `Provides` entry names.
    pub fn provided_version(&self) -> Option<&Version> {
        self.version
            .as_ref()
            .filter(|(comparison, _)| *comparison == Comparison::Equal)
            .map(|(_, version)| version)
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let Some((comparison, version)) = &self.version else {
            return Ok(());
        };
        let sign = match comparison {
            Comparison::Less => "<<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "=",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Greater => ">>",
        };
        write!(f, " ({sign} {version})")
    }
}

/// Shows alternatives as a control file writes them.
pub fn show(alternatives: &[Relation]) -> String {
    let texts: Vec<String> = alternatives.iter().map(Relation::to_string).collect();
    texts.join(" | ")
}

/// Parses the value of a field such as Depends. On failure, the part that is no relation.
pub fn parse(value: &str) -> Result<Vec<Alternatives>, String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.split('|')
                .map(|one| relation(one.trim()).ok_or_else(|| part.to_owned()))
                .collect()
        })
        .collect()
}

fn relation(text: &str) -> Option<Relation> {
    let (name, version) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => (name, Some(constraint(rest.split_once(')')?.0.trim())?)),
    };
    // An architecture qualifier (`:any`, `:amd64`) says nothing new where only one architecture is read, and
    // [architectures] and <profiles> are matters of source packages.
    let name = name.split([':', '[', '<']).next()?.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!name.is_empty() && name.chars().all(good)).then(|| Relation {
        name: name.to_owned(),
        version,
    })
}

fn constraint(text: &str) -> Option<(Comparison, Version)> {
    const SIGNS: [(&str, Comparison); 7] = [
        ("<<", Comparison::Less),
        ("<=", Comparison::LessOrEqual),
        (">>", Comparison::Greater),
        (">=", Comparison::GreaterOrEqual),
        ("=", Comparison::Equal),
        // Ancient spellings that dpkg still reads as "or equal".
        ("<", Comparison::LessOrEqual),
        (">", Comparison::GreaterOrEqual),
    ];
    let (sign, comparison) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
    let version = text[sign.len()..].trim();
    (!version.is_empty()).then(|| (*comparison, Version::new(version)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_archives_hold() {
        let relations = parse("libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, perl:any,\n python3 (<< 3.12), a (= 1:2-3)").unwrap();
        let shown: Vec<String> = relations.iter().map(|one| show(one)).collect();
        assert_eq!(
            shown,
            [
                "libc6 (>= 2.36)",
                "debconf (>= 0.5) | debconf-2.0",
                "perl",
                "python3 (<< 3.12)",
                "a (= 1:2-3)"
            ]
        );
    }

    #[test]
    fn versions_decide() {
        let one = |text: &str| parse(text).unwrap().remove(0).remove(0);
        for (text, version, holds) in [
            ("a (>= 2)", "2", true),
            ("a (>> 2)", "2", false),
            ("a (<< 2)", "2~rc1", true),
            ("a (<= 2)", "2.1", false),
            ("a (= 2)", "2-0", true),
            ("a", "1", true),
        ] {
            assert_eq!(
                one(text).accepts(&Version::new(version)),
                holds,
                "{text} by {version}"
            );
        }
        assert!(!one("a (>= 2)").accepts_provided(None));
        assert!(one("a").accepts_provided(None));
        assert!(one("a (>= 2)").accepts_provided(Some(&Version::new("3"))));
    }

    #[test]
    fn refuses_what_is_no_relation() {
        for bad in ["a (2)", "a (>= )", "a (>= 2", "a b", "(>= 1)", "a | "] {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(names in prop::collection::vec("[a-z][a-z0-9+.-]{1,6}( \\((<<|<=|=|>=|>>) [0-9.:~]{1,5}\\))?", 1..4)) {
            let text = names.join(" | ");
            let read = parse(&text).unwrap();
            prop_assert_eq!(show(&read[0]), text);
        }

        #[test]
        fn nothing_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
