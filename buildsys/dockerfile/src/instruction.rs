//! One instruction: from its joined line to what it says.

use std::ops::Range;

use crate::ast::{
    Add, ArgDefinition, CommandForm, CommandLine, Copy, From, Heredoc, Kind, Pair, Run, Word,
};
use crate::flags::{Flags, allowed_flags};
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
    pub(crate) rest: Range<usize>,
}

/// The result of reading a JSON array of strings.
pub(crate) enum Json {
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

    pub(crate) fn word(&self, range: Range<usize>) -> Word {
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

    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error("InvalidInstruction", self.line.whole(), message)
    }

    pub(crate) fn json(&self, range: Range<usize>) -> Json {
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

    pub(crate) fn not_strings(&self) -> Diagnostic {
        let message = format!("the JSON array of {} may hold strings only", self.keyword);
        Diagnostic::error(
            "InvalidInstruction",
            self.line.span(self.rest.clone()),
            message,
        )
    }

    pub(crate) fn command(&self, range: Range<usize>) -> Result<CommandLine, Diagnostic> {
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

    pub(crate) fn one(&self) -> Result<Word, Diagnostic> {
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
}
