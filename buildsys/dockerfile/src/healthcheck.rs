//! HEALTHCHECK.

use crate::Diagnostic;
use crate::ast::{CommandForm, Healthcheck, Kind, Word};
use crate::duration::parse_duration;
use crate::flags::Flags;
use crate::instruction::Statement;
use crate::words::split_first;

impl Statement<'_> {
    pub(crate) fn healthcheck(&self, mut flags: Flags) -> Result<Kind, Diagnostic> {
        let (kind, rest) = split_first(&self.line.text, self.rest.clone());
        let rest = rest.unwrap_or(self.rest.end..self.rest.end);
        match self.line.text[kind.clone()].to_uppercase().as_str() {
            "" => Err(self.error("HEALTHCHECK needs CMD and a command, or NONE")),
            "NONE" if rest.is_empty() => Ok(Kind::Healthcheck(Healthcheck::None)),
            "NONE" => Err(self.error("HEALTHCHECK NONE takes no arguments")),
            "CMD" => {
                let command = self.command(rest)?;
                let empty = match &command.form {
                    CommandForm::Shell(line) => line.is_empty(),
                    CommandForm::Exec(argv) => argv.is_empty(),
                };
                if empty {
                    return Err(self.error("HEALTHCHECK CMD needs a command"));
                }
                let mut time = |name: &str| time(name, flags.take(name));
                let (interval, timeout) = (time("interval")?, time("timeout")?);
                let (start_period, start_interval) =
                    (time("start-period")?, time("start-interval")?);
                let retries = match flags.take("retries") {
                    None => 0,
                    Some(word) if word.text.is_empty() => 0,
                    Some(word) => word
                        .text
                        .parse()
                        .ok()
                        .filter(|n| i32::try_from(*n).is_ok())
                        .ok_or_else(|| {
                            let message = format!(
                                "--retries takes a number that is not negative, not {:?}",
                                word.text
                            );
                            Diagnostic::error("InvalidFlag", word.span, message)
                        })?,
                };
                let check = Healthcheck::Cmd {
                    command,
                    interval,
                    timeout,
                    start_period,
                    start_interval,
                    retries,
                };
                Ok(Kind::Healthcheck(check))
            }
            other => {
                let message = format!("HEALTHCHECK takes CMD or NONE, not {other}");
                Err(Diagnostic::error(
                    "InvalidInstruction",
                    self.line.span(kind),
                    message,
                ))
            }
        }
    }
}

fn time(name: &str, flag: Option<Word>) -> Result<u64, Diagnostic> {
    /// One millisecond.
    const SHORTEST: u64 = 1_000_000;
    let Some(word) = flag.filter(|word| !word.text.is_empty()) else {
        return Ok(0);
    };
    match parse_duration(&word.text) {
        Some(nanoseconds) if nanoseconds == 0 || nanoseconds >= SHORTEST => Ok(nanoseconds),
        Some(_) => {
            let message = format!("--{name} is shorter than a millisecond");
            Err(Diagnostic::error("InvalidFlag", word.span, message))
        }
        None => {
            let message = format!("--{name} takes a duration, not {:?}", word.text);
            Err(Diagnostic::error("InvalidFlag", word.span, message)
                .with_hint("such as 30s, 1m30s or 500ms"))
        }
    }
}
