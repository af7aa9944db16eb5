//! What is understood and not supported yet: an error that names it, never ignored.

use crate::Diagnostic;
use crate::ast::{Instruction, Kind, Word};

/// Everything of an instruction that cannot be built.
pub(crate) fn unsupported(instruction: &Instruction) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut flag = |keyword: &str, name: &str, word: Option<&Word>| {
        if let Some(word) = word {
            let message = format!("{keyword} --{name} is not supported yet");
            found.push(Diagnostic::error("Unsupported", word.span, message));
        }
    };
    // A switch that says no asks for nothing.
    let on = |word: &Option<Word>| word.clone().filter(|word| word.text != "false");
    match &instruction.kind {
        Kind::Run(run) => {
            run.devices
                .iter()
                .for_each(|word| flag("RUN", "device", Some(word)));
        }
        Kind::Copy(copy) => {
            flag("COPY", "link", on(&copy.link).as_ref());
            flag("COPY", "parents", on(&copy.parents).as_ref());
            copy.exclude
                .iter()
                .for_each(|word| flag("COPY", "exclude", Some(word)));
            found.extend(
                copy.sources
                    .iter()
                    .filter_map(|source| remote("COPY", source, &source.text)),
            );
        }
        Kind::Add(add) => {
            flag("ADD", "link", on(&add.link).as_ref());
            flag("ADD", "keep-git-dir", on(&add.keep_git_dir).as_ref());
            flag("ADD", "checksum", add.checksum.as_ref());
            add.exclude
                .iter()
                .for_each(|word| flag("ADD", "exclude", Some(word)));
            found.extend(
                add.sources
                    .iter()
                    .filter_map(|source| remote("ADD", source, &source.text)),
            );
        }
        Kind::Onbuild(_) => {
            found.push(Diagnostic::error(
                "Unsupported",
                instruction.span,
                "ONBUILD is not supported yet",
            ));
        }
        _ => {}
    }
    found
}

/// The error for a source that is a URL or a git repository; `text` is the source as far as it is known.
pub(crate) fn remote(keyword: &str, source: &Word, text: &str) -> Option<Diagnostic> {
    let what = if is_git(text) {
        "git repository"
    } else if is_http(text) {
        "URL"
    } else {
        return None;
    };
    Some(if keyword == "COPY" {
        Diagnostic::error(
            "RemoteCopy",
            source.span,
            format!("COPY takes files, not the {what} {text}"),
        )
    } else {
        Diagnostic::error(
            "Unsupported",
            source.span,
            format!("ADD of the {what} {text} is not supported yet"),
        )
        .with_hint("make it a [source] and copy from it by name")
    })
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_git(text: &str) -> bool {
    if text.starts_with("git://") || text.starts_with("ssh://") || text.starts_with("git@") {
        return true;
    }
    let path = text.split(['#', '?']).next().unwrap_or_default();
    is_http(text) && path.strip_suffix(".git").is_some()
}
