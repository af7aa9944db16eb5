//! Filling in a step's variables.

use crate::ast::{CommandForm, CommandLine, Healthcheck, Kind, Pair, Word};
use crate::copied::Copied;
use crate::ports::parse_port;
use crate::{Concrete, ConcreteHealthcheck, CopySource, Diagnostic, Scope, Step};
use crate::{lint, run, values};

/// The rule of instructions of which a stage has only one.
const REPEATED: &str = "MultipleInstructionsDisallowed";

impl Step {
    /// The step with its variables filled in by `scope`, which is moved on: it then holds after the step. Steps
    /// of a stage have to be resolved in their order, each once.
    pub fn resolve(&self, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
        let found = std::mem::take(&mut scope.warnings);
        let resolved = self.filled_in(scope);
        let own = std::mem::replace(&mut scope.warnings, found);
        for mut warning in own.into_iter().filter(|own| self.checks.wants(own.code)) {
            // A trigger's own text, unless it is about an earlier instruction of the file.
            if warning.code != REPEATED {
                warning.text = self.trigger.clone().map(Box::new);
            }
            scope.warnings.push(warning);
        }
        resolved.map_err(|error| match &self.trigger {
            Some(trigger) => error.in_text(trigger.clone()),
            None => error,
        })
    }

    fn filled_in(&self, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
        match &self.kind {
            Kind::Arg(definitions) => {
                let names = definitions.iter().map(|one| &one.name);
                let names = names.map(|name| (name.text.as_str(), name.span));
                scope.warnings.extend(lint::secrets(names));
                let values: Result<_, _> = definitions
                    .iter()
                    .map(|definition| scope.declare(definition))
                    .collect();
                Ok(Concrete::Arg(values?))
            }
            Kind::Env(pairs) => {
                let values = scope.pairs(pairs)?;
                old_form("ENV", pairs, scope);
                let names = values.iter().zip(pairs);
                let names = names.map(|((name, _), pair)| (name.as_str(), pair.key.span));
                scope.warnings.extend(lint::secrets(names));
                scope.set_env(&values);
                Ok(Concrete::Env(values))
            }
            Kind::Label(pairs) => {
                let values = scope.pairs(pairs)?;
                old_form("LABEL", pairs, scope);
                Ok(Concrete::Label(values))
            }
            Kind::Run(command) => run::resolve(self, command, scope),
            Kind::Copy(copy) => Copied::of_copy(copy).resolve(self.copy_from.clone(), scope),
            Kind::Add(add) => Copied::of_add(add).resolve(CopySource::Context, scope),
            Kind::Cmd(command) => {
                self.once("CMD", scope);
                scope.cmd_set = true;
                Ok(Concrete::Cmd(argv("CMD", command, scope)))
            }
            Kind::Entrypoint(command) => {
                self.once("ENTRYPOINT", scope);
                let argv = argv("ENTRYPOINT", command, scope);
                Ok(Concrete::Entrypoint {
                    argv,
                    keeps_cmd: scope.cmd_set,
                })
            }
            Kind::Expose(words) => expose(words, scope),
            Kind::Volume(words) => {
                let volumes: Vec<String> = words
                    .iter()
                    .map(|word| scope.word(word))
                    .collect::<Result<_, _>>()?;
                match volumes.iter().position(String::is_empty) {
                    Some(empty) => Err(Diagnostic::error(
                        "InvalidValue",
                        words[empty].span,
                        "VOLUME is empty",
                    )),
                    None => Ok(Concrete::Volume(volumes)),
                }
            }
            Kind::User(word) => Ok(Concrete::User(scope.word(word)?)),
            Kind::Workdir(word) => workdir(word, scope),
            Kind::StopSignal(word) => {
                let signal = scope.word(word)?;
                if values::is_signal(&signal) {
                    return Ok(Concrete::StopSignal(signal));
                }
                let message = format!("{signal:?} is not a signal");
                Err(Diagnostic::error("InvalidValue", word.span, message))
            }
            Kind::Maintainer(word) => Ok(Concrete::Maintainer(word.text.clone())),
            Kind::Shell(shell) => {
                scope.shell.clone_from(shell);
                Ok(Concrete::Shell(shell.clone()))
            }
            Kind::Healthcheck(check) => {
                self.once("HEALTHCHECK", scope);
                Ok(Concrete::Healthcheck(healthcheck(check)))
            }
            Kind::Onbuild(word) => Ok(Concrete::Onbuild(word.text.clone())),
            Kind::From(_) => {
                let message = format!("{} starts a stage and is no step of one", self.text);
                Err(Diagnostic::error("Unsupported", self.span, message))
            }
        }
    }

    /// Tells of an earlier instruction of the stage that this one makes void.
    fn once(&self, keyword: &'static str, scope: &mut Scope) {
        if let Some(earlier) = scope.once.insert(keyword, self.span) {
            let message = format!("only the last {keyword} of a stage counts");
            scope.warn(Diagnostic::warning(REPEATED, earlier, message));
        }
    }
}

/// Tells of `ENV key value`.
fn old_form(keyword: &str, pairs: &[Pair], scope: &mut Scope) {
    for pair in pairs.iter().filter(|pair| pair.legacy) {
        let message = format!("{keyword} key value is the old form");
        let span = pair.key.span.to(pair.value.span);
        scope.warn(
            Diagnostic::warning("LegacyKeyValueFormat", span, message)
                .with_hint(format!("write {keyword} {}=…", pair.key.text)),
        );
    }
}

/// CMD and ENTRYPOINT.
fn argv(keyword: &str, command: &CommandLine, scope: &mut Scope) -> Vec<String> {
    match &command.form {
        CommandForm::Exec(argv) => argv.clone(),
        CommandForm::Shell(line) => {
            if scope.shell.is_empty() {
                let message = format!(
                    "{keyword} in shell form: the program does not get the container's signals"
                );
                let hint = if line.starts_with('[') {
                    "what starts with [ is not a JSON array of strings; those take double quotes"
                        .to_owned()
                } else {
                    format!("write {keyword} [\"program\", \"argument\"]")
                };
                scope.warn(
                    Diagnostic::warning("JSONArgsRecommended", command.span, message)
                        .with_hint(hint),
                );
            }
            scope.in_shell(line)
        }
    }
}

fn workdir(word: &Word, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
    let path = scope.word(word)?;
    if !path.starts_with('/') && !scope.workdir_set {
        let message = format!("relative WORKDIR {path} depends on the base image's");
        scope.warn(Diagnostic::warning(
            "WorkdirRelativePath",
            word.span,
            message,
        ));
    }
    // An absolute one stays as it is written.
    scope.workdir = if path.is_empty() {
        scope.workdir.clone()
    } else if path.starts_with('/') {
        path
    } else {
        values::clean_path(&values::clean_path("/", &scope.workdir), &path)
    };
    scope.workdir_set = true;
    Ok(Concrete::Workdir(scope.workdir.clone()))
}

fn expose(words: &[Word], scope: &mut Scope) -> Result<Concrete, Diagnostic> {
    let mut ports = Vec::new();
    for word in words {
        for text in scope.words(word)? {
            let port = parse_port(&text).map_err(|error| {
                Diagnostic::error("InvalidValue", word.span, format!("EXPOSE {text}: {error}"))
            })?;
            if port.mapped {
                let message =
                    format!("EXPOSE {text}: addresses and ports of the host have no effect");
                scope.warn(Diagnostic::warning(
                    "ExposeInvalidFormat",
                    word.span,
                    message,
                ));
            }
            if port.protocol_has_upper_case {
                let message = format!("EXPOSE {text}: the protocol is not lower case");
                scope.warn(Diagnostic::warning("ExposeProtoCasing", word.span, message));
            }
            ports.extend(port.ports);
        }
    }
    Ok(Concrete::Expose(ports))
}

fn healthcheck(check: &Healthcheck) -> ConcreteHealthcheck {
    let (test, times) = match check {
        Healthcheck::None => (vec!["NONE".to_owned()], ([0; 4], 0)),
        Healthcheck::Cmd {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => {
            let test = match &command.form {
                CommandForm::Exec(argv) => ["CMD".to_owned()]
                    .into_iter()
                    .chain(argv.iter().cloned())
                    .collect(),
                CommandForm::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
            };
            (
                test,
                (
                    [*interval, *timeout, *start_period, *start_interval],
                    *retries,
                ),
            )
        }
    };
    let ([interval, timeout, start_period, start_interval], retries) = times;
    ConcreteHealthcheck {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    }
}
