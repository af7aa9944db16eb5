//! One instruction: from its joined line to what it says.

use std::ops::Range;

use crate::ast::{
    Add, ArgDefinition, CommandForm, CommandLine, Copy, From, Healthcheck, Heredoc, Kind, Pair,
    Run, Word,
};
use crate::duration::parse_duration;
use crate::flags::{Flags, Takes};
use crate::heredoc::announced;
use crate::lines::Logical;
use crate::suggest::suggest;
use crate::words::{split_blank, split_first, split_quoted, take_flags, trim};
use crate::{Diagnostic, Span};

/// All instructions.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A joined line taken apart as far as every instruction is alike.
pub(crate) struct Statement<'a> {
    pub line: &'a Logical,
    pub escape: char,
    /// The keyword in upper case.
    pub keyword: String,
    /// Where the keyword stands in the line.
    pub keyword_range: Range<usize>,
    flags: Vec<(String, Span)>,
    rest: Range<usize>,
}

/// The result of reading a JSON array of strings.
enum Json {
    Strings(Vec<String>),
    OtherValues,
    None,
}

impl<'a> Statement<'a> {
    /// Splits keyword, flags and the rest.
    pub fn split(line: &'a Logical, escape: char) -> Self {
        let text = &line.text;
        let (keyword_range, rest) = split_first(text, trim(text, 0..text.len()));
        let keyword = text[keyword_range.clone()].to_uppercase();
        let (flags, rest) = match rest {
            Some(rest) => take_flags(text, rest, escape),
            None => (Vec::new(), keyword_range.end..keyword_range.end),
        };
        let flags = flags
            .into_iter()
            .map(|flag| (flag.text, line.span(flag.range)))
            .collect();
        let rest = trim(text, rest);
        Self {
            line,
            escape,
            keyword,
            keyword_range,
            flags,
            rest,
        }
    }

    /// Whether `<<NAME` in it announces a here-document.
    pub fn takes_heredocs(&self) -> bool {
        match self.keyword.as_str() {
            "ADD" | "COPY" | "RUN" => !matches!(self.json(self.rest.clone()), Json::Strings(_)),
            "ONBUILD" => self
                .trigger()
                .is_some_and(|trigger| Statement::split(&trigger, self.escape).takes_heredocs()),
            _ => false,
        }
    }

    /// The instruction after ONBUILD.
    fn trigger(&self) -> Option<Logical> {
        let text = &self.line.text[self.rest.clone()];
        let logical = Logical::of(text);
        // ONBUILD ONBUILD is an error of its own: no need to look any deeper.
        (!text.is_empty() && !text.to_uppercase().starts_with("ONBUILD")).then_some(logical)
    }

    fn word(&self, range: Range<usize>) -> Word {
        Word {
            text: self.line.text[range.clone()].to_owned(),
            span: self.line.span(range),
        }
    }

    fn text_of_rest(&self) -> &str {
        &self.line.text[self.rest.clone()]
    }

    fn whole_rest(&self) -> Word {
        self.word(self.rest.clone())
    }

    fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error("InvalidInstruction", self.line.whole(), message)
    }

    fn json(&self, range: Range<usize>) -> Json {
        let text = self.line.text[range].trim_start();
        if !text.starts_with('[') {
            return Json::None;
        }
        match serde_json::from_str::<Vec<serde_json::Value>>(text) {
            Ok(values) => {
                let strings = values.into_iter().map(|value| match value {
                    serde_json::Value::String(text) => Some(text),
                    _ => None,
                });
                strings
                    .collect::<Option<Vec<String>>>()
                    .map_or(Json::OtherValues, Json::Strings)
            }
            Err(_) => Json::None,
        }
    }

    /// Reads the instruction. Errors and warnings go where they are told; none is given back for an error.
    pub fn parse(
        mut self,
        heredocs: Vec<Heredoc>,
        errors: &mut Vec<Diagnostic>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Option<Kind> {
        let keyword = self.keyword.clone();
        if !KEYWORDS.contains(&keyword.as_str()) {
            let span = self.line.span(self.keyword_range.clone());
            let message = format!(
                "unknown instruction {}",
                &self.line.text[self.keyword_range.clone()]
            );
            let diagnostic = Diagnostic::error("UnknownInstruction", span, message);
            errors.push(diagnostic.did_you_mean(suggest(&keyword, KEYWORDS)));
            return None;
        }
        let before = errors.len();
        let allowed = allowed_flags(&keyword);
        let mut given = std::mem::take(&mut self.flags);
        if keyword == "HEALTHCHECK" && self.text_of_rest().eq_ignore_ascii_case("NONE") {
            // As with BuildKit, nobody looks at them.
            given.clear();
        }
        let flags = Flags::check(&keyword, given, allowed, errors);
        let result = match keyword.as_str() {
            "FROM" => self.from(flags, warnings),
            "ARG" => self.arg(),
            "ENV" => self.pairs().map(Kind::Env),
            "LABEL" => self.pairs().map(Kind::Label),
            "COPY" => self.copy(flags, &heredocs),
            "ADD" => self.add(flags, &heredocs),
            "RUN" => self.run(flags, heredocs),
            "CMD" => self.command(self.rest.clone()).map(Kind::Cmd),
            "ENTRYPOINT" => self.command(self.rest.clone()).map(Kind::Entrypoint),
            "EXPOSE" => self.list().map(Kind::Expose),
            "VOLUME" => self.volume(),
            "USER" => self.one().map(Kind::User),
            "WORKDIR" => self.one().map(Kind::Workdir),
            "STOPSIGNAL" => self.one().map(Kind::StopSignal),
            "MAINTAINER" => {
                warnings.push(
                    Diagnostic::warning(
                        "MaintainerDeprecated",
                        self.line.whole(),
                        "MAINTAINER is deprecated",
                    )
                    .with_hint("write LABEL org.opencontainers.image.authors=… instead"),
                );
                self.one().map(Kind::Maintainer)
            }
            "SHELL" => self.shell(),
            "HEALTHCHECK" => self.healthcheck(flags),
            _ => self.onbuild(&heredocs),
        };
        match result {
            Ok(kind) => (errors.len() == before).then_some(kind),
            Err(error) => {
                errors.push(error);
                None
            }
        }
    }

    fn from(&self, mut flags: Flags, warnings: &mut Vec<Diagnostic>) -> Result<Kind, Diagnostic> {
        let words = split_blank(&self.line.text, self.rest.clone());
        let text = |index: usize| &self.line.text[words[index].clone()];
        let name = match words.len() {
            1 => None,
            3 if text(1).eq_ignore_ascii_case("as") => Some(self.word(words[2].clone())),
            _ => {
                let error = self.error("FROM takes an image, or an image, AS and a name");
                return Err(error.with_hint("write FROM IMAGE or FROM IMAGE AS NAME"));
            }
        };
        let platform = flags.take("platform");
        if let Some(name) = &name {
            let written = &self.line.text[self.keyword_range.clone()];
            let lower = written.chars().all(char::is_lowercase);
            let upper = written.chars().all(char::is_uppercase);
            let matches = |c: char| {
                if lower {
                    c.is_lowercase()
                } else {
                    c.is_uppercase()
                }
            };
            if (lower || upper) && !text(1).chars().all(matches) {
                let message = format!("the casing of {} does not match that of {written}", text(1));
                warnings.push(Diagnostic::warning(
                    "FromAsCasing",
                    self.line.span(words[1].clone()),
                    message,
                ));
            }
            if name.text != name.text.to_lowercase() {
                let message = format!("stage name {} is not lower case", name.text);
                warnings.push(Diagnostic::warning("StageNameCasing", name.span, message));
            }
        }
        let name = name.map(|name| Word {
            text: name.text.to_lowercase(),
            ..name
        });
        if let Some(name) = &name {
            let rest = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
            };
            if !name.text.starts_with(|c: char| c.is_ascii_lowercase())
                || !name.text.chars().all(rest)
            {
                let message = format!("stage name {:?} is not valid", name.text);
                return Err(Diagnostic::error("InvalidStageName", name.span, message)
                    .with_hint("a letter first, then letters, digits, - _ ."));
            }
        }
        Ok(Kind::From(From {
            image: self.word(words[0].clone()),
            name,
            platform,
        }))
    }

    fn arg(&self) -> Result<Kind, Diagnostic> {
        let words = split_quoted(&self.line.text, self.rest.clone(), self.escape);
        if words.is_empty() {
            return Err(self.error("ARG needs at least one argument"));
        }
        let mut definitions = Vec::new();
        for range in words {
            let (name, default) = match self.line.text[range.clone()].find('=') {
                Some(0) => {
                    return Err(Diagnostic::error(
                        "InvalidInstruction",
                        self.line.span(range),
                        "ARG without a name",
                    ));
                }
                Some(at) => (
                    range.start..range.start + at,
                    Some(range.start + at + 1..range.end),
                ),
                None => (range, None),
            };
            definitions.push(ArgDefinition {
                name: self.word(name),
                default: default.map(|range| self.word(range)),
            });
        }
        Ok(Kind::Arg(definitions))
    }

    fn pairs(&self) -> Result<Vec<Pair>, Diagnostic> {
        let (text, keyword) = (&self.line.text, &self.keyword);
        let words = split_quoted(text, self.rest.clone(), self.escape);
        let Some(first) = words.first() else {
            return Err(self.error(format!("{keyword} needs at least one argument")));
        };
        if !text[first.clone()].contains('=') {
            let (key, Some(value)) = split_first(text, self.rest.clone()) else {
                return Err(self
                    .error(format!("{keyword} {} has no value", &text[first.clone()]))
                    .with_hint(format!("write {keyword} {}=VALUE", &text[first.clone()])));
            };
            return Ok(vec![Pair {
                key: self.word(key),
                value: self.word(value),
                legacy: true,
            }]);
        }
        let mut pairs = Vec::new();
        for range in words {
            let word = &text[range.clone()];
            match word.find('=') {
                Some(0) => {
                    let message = format!("{keyword} without a name");
                    return Err(Diagnostic::error(
                        "InvalidInstruction",
                        self.line.span(range),
                        message,
                    ));
                }
                Some(at) => pairs.push(Pair {
                    key: self.word(range.start..range.start + at),
                    value: self.word(range.start + at + 1..range.end),
                    legacy: false,
                }),
                None => {
                    let message = format!("no = in {word:?}");
                    return Err(Diagnostic::error(
                        "InvalidInstruction",
                        self.line.span(range),
                        message,
                    )
                    .with_hint("each must be name=value; quote values that hold white space"));
                }
            }
        }
        Ok(pairs)
    }

    fn copy(&self, mut flags: Flags, heredocs: &[Heredoc]) -> Result<Kind, Diagnostic> {
        let (sources, heredocs, dest) = self.sources(heredocs)?;
        Ok(Kind::Copy(Copy {
            from: flags.take("from"),
            chown: flags.take("chown"),
            chmod: flags.take("chmod"),
            link: flags.take("link"),
            parents: flags.take("parents"),
            exclude: flags.take_all("exclude"),
            sources,
            heredocs,
            dest,
        }))
    }

    fn add(&self, mut flags: Flags, heredocs: &[Heredoc]) -> Result<Kind, Diagnostic> {
        let (sources, heredocs, dest) = self.sources(heredocs)?;
        Ok(Kind::Add(Add {
            chown: flags.take("chown"),
            chmod: flags.take("chmod"),
            link: flags.take("link"),
            keep_git_dir: flags.take("keep-git-dir"),
            checksum: flags.take("checksum"),
            unpack: flags.take("unpack"),
            exclude: flags.take_all("exclude"),
            sources,
            heredocs,
            dest,
        }))
    }

    /// Sources, here-documents among them, and destination.
    fn sources(&self, heredocs: &[Heredoc]) -> Result<(Vec<Word>, Vec<Heredoc>, Word), Diagnostic> {
        let mut words: Vec<Word> = match self.json(self.rest.clone()) {
            Json::OtherValues => return Err(self.not_strings()),
            Json::Strings(strings) => {
                let span = self.line.span(self.rest.clone());
                strings
                    .into_iter()
                    .map(|text| Word { text, span })
                    .collect()
            }
            Json::None => split_blank(&self.line.text, self.rest.clone())
                .into_iter()
                .map(|range| self.word(range))
                .collect(),
        };
        let keyword = &self.keyword;
        let Some(dest) = words.pop().filter(|_| !words.is_empty()) else {
            return Err(self.error(format!("{keyword} needs a source and a destination")));
        };
        if announced(&dest.text).ok().flatten().is_some() {
            let message = format!("{keyword} cannot take a here-document as destination");
            return Err(Diagnostic::error("InvalidInstruction", dest.span, message));
        }
        let mut paths = Vec::new();
        let mut documents = Vec::new();
        for word in words {
            match announced(&word.text).ok().flatten() {
                Some(found) => {
                    // Of several with one name the last one's content counts.
                    let Some(document) =
                        heredocs.iter().rfind(|heredoc| heredoc.name == found.name)
                    else {
                        let message = format!("here-document {} has no content", found.name);
                        return Err(Diagnostic::error("InvalidHeredoc", word.span, message));
                    };
                    documents.push(document.clone());
                }
                None => paths.push(word),
            }
        }
        Ok((paths, documents, dest))
    }

    fn run(&self, mut flags: Flags, heredocs: Vec<Heredoc>) -> Result<Kind, Diagnostic> {
        let command = self.command(self.rest.clone())?;
        Ok(Kind::Run(Run {
            mounts: flags.take_all("mount"),
            network: flags.take("network"),
            security: flags.take("security"),
            devices: flags.take_all("device"),
            command,
            heredocs,
        }))
    }

    fn not_strings(&self) -> Diagnostic {
        let message = format!("the JSON array of {} may hold strings only", self.keyword);
        Diagnostic::error(
            "InvalidInstruction",
            self.line.span(self.rest.clone()),
            message,
        )
    }

    fn command(&self, range: Range<usize>) -> Result<CommandLine, Diagnostic> {
        let form = match self.json(range.clone()) {
            Json::OtherValues => return Err(self.not_strings()),
            Json::Strings(strings) => CommandForm::Exec(strings),
            Json::None => CommandForm::Shell(self.line.text[range.clone()].to_owned()),
        };
        Ok(CommandLine {
            form,
            span: self.line.span(range),
        })
    }

    fn one(&self) -> Result<Word, Diagnostic> {
        if self.rest.is_empty() {
            return Err(self.error(format!("{} needs an argument", self.keyword)));
        }
        Ok(self.whole_rest())
    }

    fn list(&self) -> Result<Vec<Word>, Diagnostic> {
        self.one()?;
        Ok(split_blank(&self.line.text, self.rest.clone())
            .into_iter()
            .map(|range| self.word(range))
            .collect())
    }

    fn volume(&self) -> Result<Kind, Diagnostic> {
        let words = match self.json(self.rest.clone()) {
            Json::OtherValues => return Err(self.not_strings()),
            Json::Strings(strings) => {
                let span = self.line.span(self.rest.clone());
                strings
                    .into_iter()
                    .map(|text| Word {
                        text: text.trim().to_owned(),
                        span,
                    })
                    .collect()
            }
            Json::None => self.list()?,
        };
        if words.is_empty() || words.iter().any(|word| word.text.is_empty()) {
            return Err(self.error("VOLUME needs paths that are not empty"));
        }
        Ok(Kind::Volume(words))
    }

    fn shell(&self) -> Result<Kind, Diagnostic> {
        match self.json(self.rest.clone()) {
            Json::OtherValues => Err(self.not_strings()),
            Json::Strings(strings) if strings.is_empty() => {
                Err(self.error("SHELL needs at least one argument"))
            }
            Json::Strings(strings) => Ok(Kind::Shell(strings)),
            Json::None => Err(self
                .error("SHELL takes a JSON array of strings")
                .with_hint(r#"write SHELL ["/bin/sh", "-c"]"#)),
        }
    }

    fn healthcheck(&self, mut flags: Flags) -> Result<Kind, Diagnostic> {
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

    /// What is wrong with the form of a trigger's arguments. All else is told by the build that it is run in.
    fn check_trigger(&self) -> Result<(), Diagnostic> {
        let Some(line) = self.trigger() else {
            return Ok(());
        };
        let inner = Statement::split(&line, self.escape);
        let misformed = match inner.keyword.as_str() {
            "ENV" | "LABEL" => {
                let words = split_quoted(&line.text, inner.rest.clone(), self.escape);
                let named = |range: &Range<usize>| line.text[range.clone()].contains('=');
                match words.first() {
                    None => false,
                    Some(first) if named(first) => !words.iter().all(named),
                    Some(_) => split_first(&line.text, inner.rest.clone()).1.is_none(),
                }
            }
            "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "COPY" | "ADD" | "VOLUME" => {
                matches!(inner.json(inner.rest.clone()), Json::OtherValues)
            }
            "HEALTHCHECK" => split_first(&line.text, inner.rest.clone())
                .1
                .is_some_and(|rest| matches!(inner.json(rest), Json::OtherValues)),
            _ => false,
        };
        if misformed {
            let message = format!("the arguments of {} are not of its form", inner.keyword);
            return Err(Diagnostic::error(
                "InvalidInstruction",
                self.line.span(self.rest.clone()),
                message,
            ));
        }
        Ok(())
    }

    fn onbuild(&self, heredocs: &[Heredoc]) -> Result<Kind, Diagnostic> {
        let word = self.one()?;
        let trigger = split_first(&self.line.text, self.rest.clone()).0;
        let keyword = self.line.text[trigger].to_uppercase();
        if matches!(keyword.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
            return Err(Diagnostic::error(
                "InvalidInstruction",
                word.span,
                format!("ONBUILD {keyword} is not allowed"),
            ));
        }
        self.check_trigger()?;
        // White space at the end of the line stays: an image keeps the text as it was written.
        let mut text = self.line.text[self.rest.start..].to_owned();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        Ok(Kind::Onbuild(Word {
            text,
            span: word.span,
        }))
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

fn allowed_flags(keyword: &str) -> &'static [(&'static str, Takes)] {
    match keyword {
        "FROM" => &[("platform", Takes::Value)],
        "COPY" => &[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("parents", Takes::Switch),
            ("exclude", Takes::Values),
        ],
        "ADD" => &[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("keep-git-dir", Takes::Switch),
            ("checksum", Takes::Value),
            ("unpack", Takes::Switch),
            ("exclude", Takes::Values),
        ],
        "RUN" => &[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ],
        "HEALTHCHECK" => &[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ],
        _ => &[],
    }
}
