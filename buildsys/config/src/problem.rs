//! Findings about a configuration, and how findings about any text are shown.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use tbuild_dockerfile::{Diagnostic, Origin, Severity};

use crate::Span;

/// A finding at a place of tbuild.toml.
pub(crate) fn at(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("config", span.into(), message)
}

/// A finding about the command line: it has no place in the file.
pub(crate) fn elsewhere(message: impl Into<String>) -> Diagnostic {
    let origin = Origin {
        name: "command line".to_owned(),
        text: String::new(),
    };
    Diagnostic::error("config", (0..0).into(), message).in_text(origin)
}

/// Shows a finding: the message, then file, line, column and the text with a caret, then the hint.
/// `file` and `text` are what it was found in, unless it carries its own.
pub fn render(finding: &Diagnostic, file: &str, text: &str, color: bool) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (file, text) = match &finding.text {
        Some(origin) => (origin.name.as_str(), origin.text.as_str()),
        None => (file, text),
    };
    let mut group = Group::with_title(level.primary_title(&finding.message));
    if !text.is_empty() {
        // A span past the end (an unterminated value) is shown at the end.
        let end = finding.span.end.min(text.len());
        let span = finding.span.start.min(end)..end;
        group = group.element(
            Snippet::source(text)
                .path(file)
                .annotation(AnnotationKind::Primary.span(span)),
        );
    }
    if let Some(hint) = &finding.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}
