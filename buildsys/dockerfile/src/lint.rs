//! Rules of `docker build --check` that need no base image. Those of single instructions are with the parser,
//! those that need the environment with [`crate::Scope`].

use std::collections::BTreeMap;

use crate::ast::{Dockerfile, Instruction, Kind};
use crate::{Diagnostic, Span};

/// Parts of a name that say its value is a secret, unless `public` is another part.
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

/// All findings, in no order.
pub(crate) fn check(dockerfile: &Dockerfile) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    stage_names(dockerfile, &mut found);
    casing(dockerfile, &mut found);
    repeated(dockerfile, &mut found);
    for instruction in &dockerfile.instructions {
        platform(instruction, &mut found);
        secrets(instruction, &mut found);
    }
    found
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
    let is_lower =
        |instruction: &Instruction| instruction.keyword.text.chars().all(char::is_lowercase);
    let is_upper =
        |instruction: &Instruction| instruction.keyword.text.chars().all(char::is_uppercase);
    let lower = dockerfile
        .instructions
        .iter()
        .filter(|instruction| is_lower(instruction))
        .count();
    let upper = dockerfile
        .instructions
        .iter()
        .filter(|instruction| is_upper(instruction))
        .count();
    for instruction in &dockerfile.instructions {
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

/// Instructions of which the last one of a stage counts.
fn repeated(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let mut last: BTreeMap<&str, &Instruction> = BTreeMap::new();
    for instruction in &dockerfile.instructions {
        let keyword = match &instruction.kind {
            Kind::From(_) => {
                last.clear();
                continue;
            }
            Kind::Cmd(_) => "CMD",
            Kind::Entrypoint(_) => "ENTRYPOINT",
            Kind::Healthcheck(_) => "HEALTHCHECK",
            _ => continue,
        };
        if let Some(earlier) = last.insert(keyword, instruction) {
            let message = format!("only the last {keyword} of a stage counts");
            found.push(Diagnostic::warning(
                "MultipleInstructionsDisallowed",
                earlier.span,
                message,
            ));
        }
    }
}

fn platform(instruction: &Instruction, found: &mut Vec<Diagnostic>) {
    let Kind::From(from) = &instruction.kind else {
        return;
    };
    let Some(platform) = &from.platform else {
        return;
    };
    if matches!(
        platform.text.as_str(),
        "$TARGETPLATFORM" | "${TARGETPLATFORM}"
    ) {
        let message = "--platform=$TARGETPLATFORM is what FROM does anyway";
        found.push(Diagnostic::warning(
            "RedundantTargetPlatform",
            platform.span,
            message,
        ));
    }
    // A stage that is named after its platform is one of several, which is what constants are for.
    let named_after = from.name.as_ref().is_some_and(|name| {
        platform
            .text
            .split('/')
            .any(|part| name.text.contains(part))
    });
    if !platform.text.contains('$') && !named_after {
        let message = format!("--platform of FROM is the constant {}", platform.text);
        found.push(
            Diagnostic::warning("FromPlatformFlagConstDisallowed", platform.span, message)
                .with_hint("$BUILDPLATFORM says the platform of the machine that builds"),
        );
    }
}

fn secrets(instruction: &Instruction, found: &mut Vec<Diagnostic>) {
    let names = match &instruction.kind {
        Kind::Arg(definitions) => definitions
            .iter()
            .map(|definition| &definition.name)
            .collect::<Vec<_>>(),
        Kind::Env(pairs) => pairs.iter().map(|pair| &pair.key).collect(),
        _ => return,
    };
    for name in names {
        let lower = name.text.to_lowercase();
        let has = |word: &str| lower.split('_').any(|part| part == word);
        if SECRET.into_iter().any(has) && !has("public") {
            let message = format!(
                "{} looks like a secret, and its value stays in the image",
                name.text
            );
            found.push(Diagnostic::warning(
                "SecretsUsedInArgOrEnv",
                name.span,
                message,
            ));
        }
    }
}
