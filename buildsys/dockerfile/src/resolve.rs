//! Filling in a step's variables.

use crate::ast::{CommandForm, CommandLine, Healthcheck, Kind, Word};
use crate::copied::Copied;
use crate::ports::parse_port;
use crate::run;
use crate::values;
use crate::{Concrete, ConcreteHealthcheck, CopySource, Diagnostic, Scope, Step};

impl Step {
    /// The step with its variables filled in by `scope`, which is moved on: it then holds after the step. Steps
    /// of a stage have to be resolved in their order, each once.
    pub fn resolve(&self, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
        let before = scope.warnings.len();
        let resolved = self.filled_in(scope);
        let Some(trigger) = &self.trigger else {
            return resolved;
        };
        for warning in scope.warnings.iter_mut().skip(before) {
            warning.text = Some(Box::new(trigger.clone()));
        }
        resolved.map_err(|error| error.in_text(trigger.clone()))
    }

    fn filled_in(&self, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
        match &self.kind {
            Kind::Arg(definitions) => {
                let values: Result<_, _> = definitions
                    .iter()
                    .map(|definition| scope.declare(definition))
                    .collect();
                Ok(Concrete::Arg(values?))
            }
            Kind::Env(pairs) => {
                let pairs = scope.pairs(pairs)?;
                scope.set_env(&pairs);
                Ok(Concrete::Env(pairs))
            }
            Kind::Label(pairs) => Ok(Concrete::Label(scope.pairs(pairs)?)),
            Kind::Run(command) => run::resolve(self, command, scope),
            Kind::Copy(copy) => Copied::of_copy(copy).resolve(self.copy_from.clone(), scope),
            Kind::Add(add) => Copied::of_add(add).resolve(CopySource::Context, scope),
            Kind::Cmd(command) => {
                scope.cmd_set = true;
                Ok(Concrete::Cmd(self.command("CMD", command, scope)?))
            }
            Kind::Entrypoint(command) => {
                let argv = self.command("ENTRYPOINT", command, scope)?;
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
            Kind::Healthcheck(check) => Ok(Concrete::Healthcheck(healthcheck(check))),
            Kind::Onbuild(word) => Ok(Concrete::Onbuild(word.text.clone())),
            Kind::From(_) => {
                let message = format!("{} starts a stage and is no step of one", self.text);
                Err(Diagnostic::error("Unsupported", self.span, message))
            }
        }
    }

    /// CMD and ENTRYPOINT.
    fn command(
        &self,
        keyword: &str,
        command: &CommandLine,
        scope: &mut Scope,
    ) -> Result<Vec<String>, Diagnostic> {
        match &command.form {
            CommandForm::Exec(argv) => Ok(argv.clone()),
            CommandForm::Shell(line) => {
                if scope.shell.is_empty() {
                    let message = format!(
                        "{keyword} in shell form: the program does not get the container's signals"
                    );
                    let hint = if line.starts_with('[') {
                        "what starts with [ is not a JSON array of strings; those take double quotes".to_owned()
                    } else {
                        format!("write {keyword} [\"program\", \"argument\"]")
                    };
                    scope.warn(
                        Diagnostic::warning("JSONArgsRecommended", self.span, message)
                            .with_hint(hint),
                    )?;
                }
                Ok(scope.in_shell(line))
            }
        }
    }
}

fn workdir(word: &Word, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
    let path = scope.word(word)?;
    if path.is_empty() {
        return Err(Diagnostic::error(
            "InvalidValue",
            word.span,
            "WORKDIR is empty",
        ));
    }
    if !path.starts_with('/') && !scope.workdir_set {
        let message = format!("relative WORKDIR {path} depends on the base image's");
        scope.warn(Diagnostic::warning(
            "WorkdirRelativePath",
            word.span,
            message,
        ))?;
    }
    scope.workdir = values::clean_path(&scope.workdir, &path);
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
                ))?;
            }
            if port.protocol_has_upper_case {
                let message = format!("EXPOSE {text}: the protocol is not lower case");
                scope.warn(Diagnostic::warning("ExposeProtoCasing", word.span, message))?;
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
