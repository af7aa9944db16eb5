//! RUN: its command and its flags.

use crate::ast::{CommandForm, Kind, Run, Word};
use crate::heredoc::announced;
use crate::suggest::suggest;
use crate::{
    Concrete, ConcreteMount, ConcreteRun, Diagnostic, InlineFile, RunNetwork, Scope, Stage, Step,
    mount,
};

/// Folder of the files that here-documents with `#!` become while RUN runs.
const SCRIPTS: &str = "/dev/pipes";

/// Fills in what a RUN says.
pub(crate) fn resolve(step: &Step, run: &Run, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
    let mut script = None;
    let argv = match (&run.command.form, run.heredocs.as_slice()) {
        (CommandForm::Exec(argv), _) if argv.is_empty() => {
            return Err(Diagnostic::error(
                "InvalidInstruction",
                step.span,
                "RUN [] has no program",
            ));
        }
        (CommandForm::Exec(argv), _) => argv.clone(),
        (CommandForm::Shell(line), []) => scope.in_shell(line),
        (CommandForm::Shell(line), [first, ..]) if announced(line).ok().flatten().is_some() => {
            // The document is the command: a program of its own with #!, else a script for the shell.
            let text = first.text();
            if first.content.starts_with("#!") {
                let name = format!("{SCRIPTS}/{}", first.name);
                script = Some(InlineFile {
                    name: name.clone(),
                    bytes: text.into_bytes(),
                });
                scope.in_shell(&name)
            } else {
                scope.in_shell(&text)
            }
        }
        (CommandForm::Shell(line), documents) => {
            // The shell reads them: they are put back behind the line.
            let mut whole = line.clone();
            for document in documents {
                whole.push('\n');
                whole.push_str(&document.content);
                whole.push_str(&document.name);
            }
            scope.in_shell(&whole)
        }
    };
    Ok(Concrete::Run(ConcreteRun {
        argv,
        env: scope.env().clone(),
        args: scope.args(),
        proxy: scope.proxy(),
        script,
        mounts: mounts(step, run, scope)?,
        network: run.network.as_ref().and_then(network).unwrap_or_default(),
        insecure: is_insecure(run),
    }))
}

/// The mounts in the order in which they are made: a folder before what is mounted in it.
fn mounts(step: &Step, run: &Run, scope: &mut Scope) -> Result<Vec<ConcreteMount>, Diagnostic> {
    let workdir = scope.workdir().to_owned();
    let mut mounts = Vec::new();
    for (word, from) in run.mounts.iter().zip(&step.mount_from) {
        let mut expand = |value: &str| {
            scope.word(&Word {
                text: value.to_owned(),
                span: word.span,
            })
        };
        mounts.push(mount::read(word, from.clone(), &workdir, &mut expand)?);
    }
    mounts.sort_by(|a, b| a.target().cmp(&b.target()));
    Ok(mounts)
}

fn network(word: &Word) -> Option<RunNetwork> {
    match word.text.as_str() {
        "default" => Some(RunNetwork::Default),
        "none" => Some(RunNetwork::None),
        "host" => Some(RunNetwork::Host),
        _ => None,
    }
}

fn is_insecure(run: &Run) -> bool {
    run.security
        .as_ref()
        .is_some_and(|security| security.text == "insecure")
}

/// What is wrong with the flags, as far as no variable decides it.
pub(crate) fn problems(run: &Run) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let choice = |word: &Word, flag: &str, choices: &[&'static str]| {
        let (last, first) = choices.split_last()?;
        let message = format!(
            "--{flag}={} is not {} or {last}",
            word.text,
            first.join(", ")
        );
        let near = suggest(&word.text, choices.iter().copied());
        Some(Diagnostic::error("InvalidFlag", word.span, message).did_you_mean(near))
    };
    if let Some(word) = run.network.as_ref().filter(|word| network(word).is_none()) {
        found.extend(choice(word, "network", &["default", "none", "host"]));
    }
    let known = |word: &&Word| matches!(word.text.as_str(), "sandbox" | "insecure");
    if let Some(word) = run.security.as_ref().filter(|word| !known(word)) {
        found.extend(choice(word, "security", &["sandbox", "insecure"]));
    }
    for word in run.mounts.iter().filter(|word| !word.text.contains('$')) {
        // Without a variable nothing changes any more but the folder that a relative target counts from.
        let read = mount::read(word, None, "/workdir", &mut |value| Ok(value.to_owned()));
        found.extend(read.err());
    }
    found
}

/// The steps of a stage that ask for more than a sandbox.
pub(crate) fn insecure(stage: &Stage) -> impl Iterator<Item = Diagnostic> {
    stage.steps.iter().filter_map(|step| match &step.kind {
        Kind::Run(run) if is_insecure(run) => {
            let span = run.security.as_ref().map_or(step.span, |word| word.span);
            let message = "--security=insecure is not allowed";
            Some(Diagnostic::error("NotAllowed", span, message).with_hint(
                "it gives the step all rights of the builder: --allow security.insecure",
            ))
        }
        _ => None,
    })
}
