//! Diagnostics as users see them.

use std::borrow::Cow;

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
    // Its own line alone: whoever renders looks at all of what it is given, for every finding again.
    let before = &text[..start];
    // The very end of the text belongs to its last line.
    let before = match before.strip_suffix('\n') {
        Some(last) if start == text.len() => last,
        _ => before,
    };
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    let rest = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let number = text[..line].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let snippet = Snippet::source(&text[line..rest])
        .line_start(number)
        .path(file)
        .annotation(AnnotationKind::Primary.span(start - line..end - line));
    let message = cut(&diagnostic.message);
    let hint = diagnostic.hint.as_deref().map(cut);
    let mut group = level
        .primary_title(message.as_ref())
        .id(diagnostic.code)
        .element(snippet);
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.message(hint.as_ref()));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// The most bytes of a message that are shown: it may quote a word of any length.
const LONGEST: usize = 1000;

fn cut(message: &str) -> Cow<'_, str> {
    if message.len() <= LONGEST {
        return Cow::Borrowed(message);
    }
    let mut end = LONGEST;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &message[..end]))
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
