//! Filling in a step's variables.

use crate::ast::{CommandForm, CommandLine, Healthcheck, Heredoc, Kind, Word};
use crate::ports::parse_port;
use crate::{
    Concrete, ConcreteCopy, ConcreteHealthcheck, CopySource, Diagnostic, InlineFile, Scope, Step,
};
use crate::{refuse, run, values};

impl Step {
    /// The step with its variables filled in by `scope`, which is moved on: it then holds after the step. Steps
    /// of a stage have to be resolved in their order, each once.
    pub fn resolve(&self, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
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
            Kind::Copy(copy) => {
                let copied = Copied {
                    keyword: "COPY",
                    unpack: false,
                    sources: &copy.sources,
                    heredocs: &copy.heredocs,
                    dest: &copy.dest,
                    chown: copy.chown.as_ref(),
                    chmod: copy.chmod.as_ref(),
                };
                copied.resolve(self.copy_from.clone(), scope)
            }
            Kind::Add(add) => {
                let copied = Copied {
                    keyword: "ADD",
                    unpack: add
                        .unpack
                        .as_ref()
                        .is_none_or(|unpack| unpack.text == "true"),
                    sources: &add.sources,
                    heredocs: &add.heredocs,
                    dest: &add.dest,
                    chown: add.chown.as_ref(),
                    chmod: add.chmod.as_ref(),
                };
                copied.resolve(CopySource::Context, scope)
            }
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
            Kind::Onbuild(_) | Kind::From(_) => {
                let message = format!("{} is not supported here", self.text);
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

/// What COPY and ADD have in common.
struct Copied<'a> {
    keyword: &'static str,
    unpack: bool,
    sources: &'a [Word],
    heredocs: &'a [Heredoc],
    dest: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
}

impl Copied<'_> {
    fn resolve(&self, from: CopySource, scope: &mut Scope) -> Result<Concrete, Diagnostic> {
        let mut sources = Vec::new();
        for word in self.sources {
            let source = scope.word(word)?;
            if let Some(error) = refuse::remote(self.keyword, word, &source) {
                return Err(error);
            }
            sources.push(values::clean_path("/", &source));
        }
        let mut heredocs = Vec::new();
        for heredoc in self.heredocs {
            let text = heredoc.text();
            let text = if heredoc.expand {
                scope.heredoc(&text, heredoc.span)?
            } else {
                text
            };
            heredocs.push(InlineFile {
                name: heredoc.name.clone(),
                bytes: text.into_bytes(),
            });
        }
        let dest = scope.word(self.dest)?;
        let folder = dest.is_empty() || dest.ends_with('/') || dest == "." || dest.ends_with("/.");
        let mut dest = values::clean_path(scope.workdir(), &dest);
        if folder && !dest.ends_with('/') {
            dest.push('/');
        }
        let chown = self
            .chown
            .map(|word| scope.word(word))
            .transpose()?
            .filter(|chown| !chown.is_empty());
        let chmod = match self.chmod {
            None => None,
            Some(word) => {
                let chmod = scope.word(word)?;
                if !chmod.is_empty() && !values::is_mode(&chmod) {
                    let message =
                        format!("--chmod={chmod} is neither octal up to 7777 nor symbolic");
                    return Err(Diagnostic::error("InvalidFlag", word.span, message));
                }
                Some(chmod).filter(|chmod| !chmod.is_empty())
            }
        };
        Ok(Concrete::Copy(ConcreteCopy {
            unpack: self.unpack,
            from,
            sources,
            heredocs,
            dest,
            chown,
            chmod,
        }))
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
