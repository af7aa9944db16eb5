//! Diagnostics as users see them.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use tbuild_dockerfile::{Diagnostic, Severity};

/// Shows a diagnostic of tbuild.toml, a Dockerfile or a .dockerignore: message, file, line, column, the line
/// itself with a caret, and the hint. `text` is the file's; `color` asks for ANSI colours. No line end.
pub fn render(diagnostic: &Diagnostic, text: &str, file: &str, color: bool) -> String {
    let (text, file) = match &diagnostic.text {
        Some(origin) => (origin.text.as_str(), origin.name.as_str()),
        None => (text, file),
    };
    let (start, end) = clamp(text, diagnostic.span.start, diagnostic.span.end);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let snippet = Snippet::source(text)
        .path(file)
        .annotation(AnnotationKind::Primary.span(start..end));
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .element(snippet);
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// A range within the text, on character boundaries, on one line where it would run over many.
fn clamp(text: &str, start: usize, end: usize) -> (usize, usize) {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (boundary(start), boundary(end));
    let shown = &text[start..end.max(start)];
    // The first line says enough of an instruction that goes on for fifty.
    let first = shown.lines().next().unwrap_or_default();
    (start, start + first.len())
}
