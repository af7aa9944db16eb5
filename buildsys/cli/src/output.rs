//! Results on standard output. A reader that went away is no error.

use std::io::Write as _;

/// Prints a line of a result.
pub fn line(text: impl std::fmt::Display) {
    let _gone = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a value as JSON.
pub fn json(value: &impl serde::Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        line(text);
    }
}

/// Prints text that ends its own lines.
pub fn text(text: &str) {
    let _gone = std::io::stdout().lock().write_all(text.as_bytes());
}
