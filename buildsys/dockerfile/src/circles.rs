//! Stages that wait for themselves.

use std::collections::BTreeSet;

use crate::ast::{Dockerfile, Kind};
use crate::lower::{Draft, stage_names};
use crate::{Diagnostic, Span, Step};

/// Stages that copy from what copies from them, of those that are `unneeded`: for the others it is an error of
/// its own to copy from a stage that is not before them.
pub(crate) fn in_circles(
    dockerfile: &Dockerfile,
    drafts: &[Draft],
    unneeded: impl Fn(&usize) -> bool,
) -> Vec<Diagnostic> {
    let names = stage_names(dockerfile);
    let copied = |draft: &Draft| -> Vec<(usize, Span)> {
        let from = |step: &Step| {
            let Kind::Copy(copy) = &step.kind else {
                return None;
            };
            let word = copy.from.as_ref()?;
            let lower = word.text.to_lowercase();
            let named = names.iter().rposition(|name| *name == Some(lower.as_str()));
            let stage = named.or_else(|| word.text.parse().ok())?;
            Some((
                stage,
                step.trigger.as_ref().map_or(word.span, |_| step.span),
            ))
        };
        draft.stage.steps.iter().filter_map(from).collect()
    };
    let mut found = Vec::new();
    for (index, draft) in drafts
        .iter()
        .enumerate()
        .filter(|(index, _)| unneeded(index))
    {
        for (stage, span) in copied(draft)
            .into_iter()
            .filter(|(stage, _)| *stage >= index)
        {
            // Whether that one needs this one.
            let (mut open, mut seen) = (vec![stage], BTreeSet::new());
            while let Some(next) = open.pop() {
                if next < drafts.len() && seen.insert(next) {
                    open.extend(copied(&drafts[next]).into_iter().map(|(stage, _)| stage));
                    open.extend(drafts[next].stage.depends_on.iter());
                }
            }
            if seen.contains(&index) {
                let message = format!("stage {index} copies from what is made from it");
                found.push(Diagnostic::error("CircularDependency", span, message));
            }
        }
    }
    found
}
