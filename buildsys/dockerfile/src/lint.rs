//! Rules of `docker build --check`. Those that an instruction's text alone decides are with the parser, those
//! that variables or a base image decide with [`crate::Step::resolve`].

use std::collections::BTreeMap;

use crate::ast::{Dockerfile, From, Instruction, Kind};
use crate::{Diagnostic, Expansion, Platform, Span};

/// Words of a name that say it is harmless whatever its other words are.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Words of a name that say its value is a secret.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];

/// Findings about the file as a whole, in no order.
pub(crate) fn check(dockerfile: &Dockerfile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    stage_names(dockerfile, &mut found);
    casing(dockerfile, &mut found);
    found.retain(|finding| dockerfile.checks.wants(finding.code));
    found
}

/// A comment right above an ARG or a named stage that does not start with its name.
pub(crate) fn description(kind: &Kind, comments: &[String], span: Span) -> Option<Diagnostic> {
    let (keyword, names): (_, Vec<&str>) = match kind {
        Kind::From(from) => ("FROM", vec![from.name.as_ref()?.text.as_str()]),
        Kind::Arg(definitions) => {
            let names = definitions.iter().map(|one| one.name.text.as_str());
            ("ARG", names.collect())
        }
        _ => return None,
    };
    let first = comments.last()?.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return None;
    }
    let name = match names.as_slice() {
        [name] => name,
        _ => "NAME",
    };
    let message = format!("the comment above {keyword} is not of the form # {name} DESCRIPTION");
    Some(Diagnostic::warning(
        "InvalidDefinitionDescription",
        span,
        message,
    ))
}

/// Variables of ARG and ENV that look like secrets.
pub(crate) fn secrets<'a>(names: impl IntoIterator<Item = (&'a str, Span)>) -> Vec<Diagnostic> {
    let looks = |name: &str| {
        let lower = name.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| has_word(&lower, word));
        has(&SECRET) && !has(&HARMLESS)
    };
    names
        .into_iter()
        .filter(|(name, _)| looks(name))
        .map(|(name, span)| {
            let message = format!("{name} looks like a secret, and its value stays in the image");
            Diagnostic::warning("SecretsUsedInArgOrEnv", span, message)
        })
        .collect()
}

/// Whether `word` is one of the words that `_` separates.
fn has_word(name: &str, word: &str) -> bool {
    name.split('_').any(|part| part == word)
}

fn stage_names(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for instruction in &dockerfile.instructions {
        let Kind::From(from) = &instruction.kind else {
            continue;
        };
        let Some(name) = &from.name else { continue };
        if matches!(name.text.as_str(), "scratch" | "context") {
            let message = format!("stage name {} is reserved", name.text);
            found.push(Diagnostic::warning("ReservedStageName", name.span, message));
        }
        if seen.insert(&name.text, name.span).is_some() {
            let message = format!("stage name {} is used twice", name.text);
            found.push(Diagnostic::warning(
                "DuplicateStageName",
                name.span,
                message,
            ));
        }
    }
}

/// Keywords all in one casing, the one that most have.
fn casing(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    // ARGs before the first FROM belong to no stage.
    let in_stages = || {
        let before = |one: &&Instruction| !matches!(one.kind, Kind::From(_));
        dockerfile.instructions.iter().skip_while(before)
    };
    let is_lower =
        |instruction: &Instruction| instruction.keyword.text.chars().all(char::is_lowercase);
    let is_upper =
        |instruction: &Instruction| instruction.keyword.text.chars().all(char::is_uppercase);
    let lower = in_stages().filter(|one| is_lower(one)).count();
    let upper = in_stages().filter(|one| is_upper(one)).count();
    for instruction in in_stages() {
        let (fits, casing) = if lower > upper {
            (is_lower(instruction), "lower")
        } else {
            (is_upper(instruction), "upper")
        };
        if !fits {
            let message = format!(
                "{} is not in {casing} case as most keywords are",
                instruction.keyword.text
            );
            found.push(Diagnostic::warning(
                "ConsistentInstructionCasing",
                instruction.keyword.span,
                message,
            ));
        }
    }
}

/// A FROM that says what is so anyway, or that ties the build to one platform. `matched` and `unmatched` are the
/// variables in `--platform`, `platform` is what they come to.
pub(crate) fn platform(
    from: &From,
    expansion: &Expansion,
    platform: &Platform,
    target: Option<&String>,
) -> Option<Diagnostic> {
    let word = from.platform.as_ref()?;
    if expansion.used.is_empty() && expansion.undefined.is_empty() {
        // A stage that is named after its platform is one of several, which is what constants are for.
        let name = from.name.as_ref().map_or("", |name| name.text.as_str());
        if name.contains(&platform.os) || name.contains(&platform.architecture) {
            return None;
        }
        let message = format!("--platform of FROM is the constant {}", expansion.text);
        let warning = Diagnostic::warning("FromPlatformFlagConstDisallowed", word.span, message);
        return Some(
            warning.with_hint("$BUILDPLATFORM says the platform of the machine that builds"),
        );
    }
    let only_target = expansion.undefined.is_empty()
        && expansion.used.iter().eq(["TARGETPLATFORM"])
        && Some(&expansion.text) == target;
    only_target.then(|| {
        let message = format!("--platform={} is what FROM does anyway", word.text);
        Diagnostic::warning("RedundantTargetPlatform", word.span, message)
    })
}
