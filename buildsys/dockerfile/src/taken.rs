//! What the files that an instruction takes come from: the context, a stage, something with a name.

use crate::ast::Word;
use crate::{CopySource, Diagnostic, NamedRef, Span, Stage, mount};

/// The last stage before number `before` that has this name; stage names have no case.
pub(crate) fn earlier_stage(name: &str, before: usize, names: &[Option<&str>]) -> Option<usize> {
    let lower = name.to_lowercase();
    names[..before]
        .iter()
        .rposition(|known| *known == Some(lower.as_str()))
}

/// Where the files of a mount come from. Stages go by their names there, never by numbers.
pub(crate) fn mount_source(
    mount: &Word,
    index: usize,
    names: &[Option<&str>],
) -> Result<Option<CopySource>, Diagnostic> {
    match mount::origin(mount)? {
        mount::Origin::Nothing => Ok(None),
        mount::Origin::Context => Ok(Some(CopySource::Context)),
        mount::Origin::Named(from) if from.text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let message = format!("--mount: from={} is no name of a stage", from.text);
            Err(Diagnostic::error("UnknownStage", from.span, message)
                .with_hint("a mount takes stages by name only: FROM ... AS name"))
        }
        mount::Origin::Named(from) => copy_source(&from, index, names).map(Some),
    }
}

/// Notes what a stage takes files from.
pub(crate) fn uses(stage: &mut Stage, source: Option<&CopySource>, span: Span) {
    match source {
        None | Some(CopySource::Context) => {}
        Some(CopySource::Stage(number)) => {
            stage.depends_on.insert(*number);
        }
        Some(CopySource::Named(name)) => {
            let known = |known: &NamedRef| !known.base && known.name == *name;
            if !stage.names.iter().any(known) {
                stage.names.push(NamedRef {
                    name: name.clone(),
                    span,
                    base: false,
                });
            }
        }
    }
}

/// What `--from` names. Variables are not allowed there.
pub(crate) fn copy_source(
    from: &Word,
    index: usize,
    names: &[Option<&str>],
) -> Result<CopySource, Diagnostic> {
    let name = &from.text;
    if name.contains('$') {
        return Err(
            Diagnostic::error("VariableInFrom", from.span, "--from takes no variables").with_hint(
                "name a stage for it: FROM $IMAGE AS name, with an ARG before the first FROM",
            ),
        );
    }
    if name.is_empty() {
        return Ok(CopySource::Context);
    }
    let lower = name.to_lowercase();
    if let Some(stage) = earlier_stage(name, index, names) {
        return Ok(CopySource::Stage(stage));
    }
    let too_late = |what: &str| {
        Diagnostic::error(
            "StageOrder",
            from.span,
            format!("cannot copy from {what}: it is not before this stage"),
        )
    };
    if names[index..].contains(&Some(lower.as_str())) {
        return Err(too_late(&format!("stage {name}")));
    }
    match name
        .parse::<i64>()
        .map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    {
        Ok(number) if number < index => Ok(CopySource::Stage(number)),
        Ok(number) if number < names.len() => Err(too_late(&format!("stage number {number}"))),
        Ok(_) => Err(Diagnostic::error(
            "UnknownStage",
            from.span,
            format!("there is no stage number {name}"),
        )),
        Err(_) => Ok(CopySource::Named(name.clone())),
    }
}
