//! ONBUILD.

use std::ops::Range;

use crate::Diagnostic;
use crate::ast::{Heredoc, Kind, Word};
use crate::instruction::{Json, Statement};
use crate::lines::Logical;
use crate::words::{split_first, split_quoted};

impl Statement<'_> {
    /// The instruction after ONBUILD.
    pub(crate) fn trigger(&self) -> Option<Logical> {
        let text = &self.line.text[self.rest.clone()];
        let logical = Logical::of(text);
        // ONBUILD ONBUILD is an error of its own: no need to look any deeper.
        (!text.is_empty() && !text.to_uppercase().starts_with("ONBUILD")).then_some(logical)
    }

    /// What is wrong with the form of a trigger's arguments. All else is told by the build that it is run in.
    fn check_trigger(&self) -> Result<(), Diagnostic> {
        let Some(line) = self.trigger() else {
            return Ok(());
        };
        let inner = Statement::split(&line, self.escape);
        let misformed = match inner.keyword.as_str() {
            "ENV" | "LABEL" => {
                let words = split_quoted(&line.text, inner.rest.clone(), self.escape);
                let named = |range: &Range<usize>| line.text[range.clone()].contains('=');
                match words.first() {
                    None => false,
                    Some(first) if named(first) => !words.iter().all(named),
                    Some(_) => split_first(&line.text, inner.rest.clone()).1.is_none(),
                }
            }
            "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "COPY" | "ADD" | "VOLUME" => {
                matches!(inner.json(inner.rest.clone()), Json::OtherValues)
            }
            "HEALTHCHECK" => split_first(&line.text, inner.rest.clone())
                .1
                .is_some_and(|rest| matches!(inner.json(rest), Json::OtherValues)),
            _ => false,
        };
        if misformed {
            let message = format!("the arguments of {} are not of its form", inner.keyword);
            return Err(Diagnostic::error(
                "InvalidInstruction",
                self.line.span(self.rest.clone()),
                message,
            ));
        }
        Ok(())
    }

    pub(crate) fn onbuild(&self, heredocs: &[Heredoc]) -> Result<Kind, Diagnostic> {
        let word = self.one()?;
        let trigger = split_first(&self.line.text, self.rest.clone()).0;
        let keyword = self.line.text[trigger].to_uppercase();
        if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            return Err(Diagnostic::error(
                "InvalidInstruction",
                word.span,
                format!("ONBUILD {keyword} is not allowed"),
            ));
        }
        self.check_trigger()?;
        // White space at the end of the line stays: an image keeps the text as it was written.
        let mut text = self.line.text[self.rest.start..].to_owned();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        Ok(Kind::Onbuild(Word {
            text,
            span: word.span,
        }))
    }
}
