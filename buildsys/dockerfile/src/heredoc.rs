//! Here-documents: which ones a line announces, and their delimiters.

use crate::expand::Lexer;
use crate::expand_error::ExpandError;

/// `<<NAME` on an instruction's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The delimiter without quotes.
    pub name: String,
    /// No part of the delimiter is quoted.
    pub expand: bool,
    /// Written `<<-`.
    pub chomp: bool,
}

/// Reads one word as the announcement of a here-document: `[fd]<<[-][ ]WORD`. None where it is none.
pub(crate) fn announced(word: &str) -> Result<Option<Announced>, ExpandError> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Lexer {
        keep_unset: true,
        ..Lexer::default()
    }
    .run(rest, &unset)?;
    let raw = Lexer {
        keep_unset: true,
        keep_quotes: true,
        ..Lexer::default()
    }
    .run(rest, &unset)?;
    let ([name], [quoted]) = (plain.words.as_slice(), raw.words.as_slice()) else {
        return Ok(None);
    };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let expand = quotes(name) == quotes(quoted);
    Ok(Some(Announced {
        name: name.clone(),
        expand,
        chomp,
    }))
}

/// All that a line announces, in order.
pub(crate) fn announced_in(line: &str) -> Result<Vec<Announced>, ExpandError> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let lexer = Lexer {
        keep_unset: true,
        keep_quotes: true,
        keep_escapes: true,
        ..Lexer::default()
    };
    // A line that the shell's rules cannot read is left to the shell.
    let Ok(expansion) = lexer.run(line, &unset) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for word in &expansion.words {
        found.extend(announced(word)?);
    }
    Ok(found)
}

fn unset(_: &str) -> Option<String> {
    None
}
