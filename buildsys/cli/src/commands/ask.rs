//! Questions to whoever sits at the terminal.

use std::io::{BufRead as _, IsTerminal as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::CliError;

/// Whether the answer is yes; `yes` is one. `command` asks, and says what to do where nobody can answer.
pub fn ask(question: &str, yes: bool, command: &str) -> Result<bool, CliError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            CliError::usage(format!("{command} asks before it does that"))
                .hint("say --yes where nobody can answer"),
        );
    }
    Ok(line(&format!("{question} [y/N] "))?.eq_ignore_ascii_case("y"))
}

/// A line of text from the terminal.
pub fn line(prompt: &str) -> Result<String, CliError> {
    crate::report::eprint(prompt);
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::failed(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim_end_matches(['\r', '\n']).trim().to_owned())
}

/// A line that is not shown, asked for twice.
pub fn secret(what: &str) -> Result<String, CliError> {
    let _hidden = Hidden::new();
    let hidden = |prompt: String| {
        let answer = line(&prompt);
        crate::report::eprint("\n");
        answer
    };
    let first = hidden(format!("{what}: "))?;
    if first.is_empty() {
        return Err(CliError::usage(format!("{what} is empty")));
    }
    if hidden(format!("{what} (again): "))? != first {
        return Err(CliError::usage(format!("{what}: the two are not the same")));
    }
    Ok(first)
}

/// A terminal that shows nothing of what is typed, put back when dropped.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            let _no_terminal = tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet);
        }
        Self(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone.
            let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
