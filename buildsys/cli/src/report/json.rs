//! One event a line on standard output; the schema is that of [`Event`].

use std::io::Write as _;

use tbuild_realise::Event;

use super::Reporter;

/// The JSON reporter.
pub struct Json;

impl Reporter for Json {
    fn event(&mut self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            let _gone = std::io::stdout().lock().write_all(&line);
        }
    }
}
