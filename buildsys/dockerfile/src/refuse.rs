//! What is understood and not supported yet: an error that names it, never ignored.

use crate::ast::{Instruction, Kind, Word};
use crate::{Diagnostic, copied};

/// Everything of an instruction that cannot be built.
pub(crate) fn unsupported(instruction: &Instruction) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut flag = |keyword: &str, name: &str, word: Option<&Word>| {
        if let Some(word) = word {
            let message = format!("{keyword} --{name} is not supported yet");
            found.push(Diagnostic::error("Unsupported", word.span, message));
        }
    };
    match &instruction.kind {
        Kind::Run(run) => {
            run.devices
                .iter()
                .for_each(|word| flag("RUN", "device", Some(word)));
        }
        Kind::Copy(copy) => found.extend(
            copy.sources
                .iter()
                .filter_map(|source| copied::remote(source, &source.text)),
        ),
        _ => {}
    }
    found
}
