//! What a Dockerfile says, instruction by instruction, nothing expanded.

use crate::{Checks, Diagnostic, Normalizer, Span};

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\` or, by directive, a backquote.
    pub escape: char,
    /// Parser directives, in order.
    pub directives: Vec<Directive>,
    /// Instructions, in order. Those before the first FROM are all ARG.
    pub instructions: Vec<Instruction>,
    /// What is odd and still builds.
    pub warnings: Vec<Diagnostic>,
    /// What `# check=` says for the whole file.
    pub checks: Checks,
}

/// A parser directive: `# name=value` on a line before anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Lower-case name.
    pub name: String,
    /// The value, trimmed.
    pub value: Word,
}

/// A piece of text as it stands in the file, joined over continued lines, not expanded and with its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The whole instruction without its heredocs.
    pub span: Span,
    /// Its first line, from 1.
    pub line: usize,
    /// The whole instruction on one line, for display.
    pub text: String,
    /// The keyword as written.
    pub keyword: Word,
    /// What it says.
    pub kind: Kind,
    /// What is put right in its layer, sorted; of RUN alone.
    pub normalize: Vec<Normalizer>,
    /// The rules that are checked here: the file's, and those of the comments right above.
    pub checks: Checks,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// FROM: a new stage.
    From(From),
    /// ARG.
    Arg(Vec<ArgDefinition>),
    /// ENV.
    Env(Vec<Pair>),
    /// LABEL.
    Label(Vec<Pair>),
    /// COPY.
    Copy(Copy),
    /// ADD.
    Add(Add),
    /// RUN.
    Run(Run),
    /// CMD.
    Cmd(CommandLine),
    /// ENTRYPOINT.
    Entrypoint(CommandLine),
    /// EXPOSE.
    Expose(Vec<Word>),
    /// VOLUME.
    Volume(Vec<Word>),
    /// USER.
    User(Word),
    /// WORKDIR.
    Workdir(Word),
    /// STOPSIGNAL.
    StopSignal(Word),
    /// MAINTAINER.
    Maintainer(Word),
    /// SHELL: a program and its arguments.
    Shell(Vec<String>),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// ONBUILD: the text of its instruction on one line, here-documents behind it, as an image keeps it.
    Onbuild(Word),
}

/// FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// Image, stage or named context.
    pub image: Word,
    /// Name of the stage, in lower case.
    pub name: Option<Word>,
    /// `--platform`.
    pub platform: Option<Word>,
}

/// One name of an ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// The name.
    pub name: Word,
    /// The default.
    pub default: Option<Word>,
}

/// A key and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Written as `KEY value`, without `=`.
    pub legacy: bool,
}

/// COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// `--from`.
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: Option<Word>,
    /// `--parents`.
    pub parents: Option<Word>,
    /// `--exclude`, each.
    pub exclude: Vec<Word>,
    /// Sources that are paths, in order.
    pub sources: Vec<Word>,
    /// Sources that stand in the Dockerfile itself, in order.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: Word,
}

/// ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: Option<Word>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<Word>,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--unpack`.
    pub unpack: Option<Word>,
    /// `--exclude`, each.
    pub exclude: Vec<Word>,
    /// Sources that are paths or URLs, in order.
    pub sources: Vec<Word>,
    /// Sources that stand in the Dockerfile itself, in order.
    pub heredocs: Vec<Heredoc>,
    /// Where to.
    pub dest: Word,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, each.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<Word>,
    /// `--security`.
    pub security: Option<Word>,
    /// `--device`, each.
    pub devices: Vec<Word>,
    /// What runs.
    pub command: CommandLine,
    /// The here-documents of the command, in order.
    pub heredocs: Vec<Heredoc>,
}

/// The argument of RUN, CMD, ENTRYPOINT and HEALTHCHECK CMD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Shell or exec form.
    pub form: CommandForm,
    /// Where it stands.
    pub span: Span,
}

/// Shell or exec form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandForm {
    /// A line for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// Its delimiter without quotes, which is also the name of the file that it becomes.
    pub name: String,
    /// Whether variables in it are expanded: no part of the delimiter was quoted.
    pub expand: bool,
    /// Written with `<<-`: leading tabs go away.
    pub chomp: bool,
    /// The lines up to the delimiter, as they stand in the file.
    pub content: String,
    /// Where the content stands.
    pub span: Span,
}

impl Heredoc {
    /// The content with leading tabs removed where `<<-` asks for it.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// Disables what the base declares.
    None,
    /// A command; times are nanoseconds, 0 means the default.
    Cmd {
        /// What runs.
        command: CommandLine,
        /// `--interval`.
        interval: u64,
        /// `--timeout`.
        timeout: u64,
        /// `--start-period`.
        start_period: u64,
        /// `--start-interval`.
        start_interval: u64,
        /// `--retries`; 0 means the default.
        retries: u32,
    },
}
