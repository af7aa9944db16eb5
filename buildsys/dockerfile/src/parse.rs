//! A whole Dockerfile.

use crate::ast::{Directive, Dockerfile, Heredoc, Instruction, Kind, Word};
use crate::heredoc::{Announced, announced_in};
use crate::instruction::Statement;
use crate::lines::{Lines, Logical, Physical, is_comment};
use crate::normalize::{Pending, misplaced};
use crate::{Checks, Diagnostic, Span, directive, lint};

/// Front ends of `# syntax=` that this parser takes the place of.
const FRONT_ENDS: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Parses a Dockerfile. All errors of the text that can be told apart come at once.
///
/// Text in, instructions out; nothing is expanded and no name is resolved. Rules are those of the Dockerfile
/// reference (docs.docker.com/reference/dockerfile) as BuildKit reads them.
pub fn parse(text: &str) -> Result<Dockerfile, Vec<Diagnostic>> {
    let mut parser = Parser::new(text);
    parser.look_ahead(text);
    parser.read();
    parser.check_order(text);
    if !parser.errors.is_empty() {
        parser.errors.sort_by_key(|error| error.span.start);
        return Err(parser.errors);
    }
    Ok(Dockerfile {
        escape: parser.escape,
        directives: parser.directives,
        instructions: parser.instructions,
        warnings: parser.warnings,
        checks: parser.checks,
    })
}

/// Parses an ONBUILD trigger: one instruction of a stage, given as an image keeps it.
pub(crate) fn parse_trigger(text: &str) -> Result<Instruction, Vec<Diagnostic>> {
    let mut parser = Parser::new(text);
    parser.read();
    let whole = Span::new(0, text.len());
    if parser.instructions.len() != 1 && parser.errors.is_empty() {
        let message = "an ONBUILD trigger is one instruction";
        parser
            .errors
            .push(Diagnostic::error("InvalidTrigger", whole, message));
    }
    match parser.instructions.pop() {
        Some(instruction) if parser.errors.is_empty() => {
            if matches!(instruction.kind, Kind::From(_)) {
                let message = "FROM is not allowed as an ONBUILD trigger";
                return Err(vec![Diagnostic::error("InvalidTrigger", whole, message)]);
            }
            Ok(instruction)
        }
        _ => Err(parser.errors),
    }
}

struct Parser<'a> {
    lines: Lines<'a>,
    escape: char,
    directives: Vec<Directive>,
    instructions: Vec<Instruction>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// Of the next instruction.
    options: Pending,
    checks: Checks,
    /// Comments since the last instruction, a bare `#` starting anew.
    comments: Vec<String>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            lines: Lines::new(text),
            escape: '\\',
            directives: Vec::new(),
            instructions: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            options: Pending::default(),
            checks: Checks::default(),
            comments: Vec::new(),
        }
    }

    /// What a directive says that counts wherever the parser itself would see none.
    fn look_ahead(&mut self, text: &str) {
        if let Some((at, value)) = directive::front_end(text)
            && let Err(error) = check_front_end(&value, Span::new(at, at + value.len()))
        {
            self.errors.push(error);
        }
        if let Some((at, value)) = directive::check(text) {
            match Checks::parse(value) {
                Ok(checks) => self.checks = checks,
                Err(error) => {
                    let span = Span::new(at, at + value.len());
                    self.errors
                        .push(Diagnostic::error("InvalidDirective", span, error));
                }
            }
        }
    }

    fn read(&mut self) {
        let mut directives_end = false;
        while let Some(line) = self.lines.next() {
            if !directives_end {
                if self.directive(line) {
                    continue;
                }
                directives_end = true;
            }
            if is_comment(line.body) {
                self.options.comment(line, &mut self.errors);
                let comment = line.body.get(1..).unwrap_or_default().trim();
                if comment.is_empty() {
                    self.comments.clear();
                } else {
                    self.comments.push(comment.to_owned());
                }
                continue;
            }
            let logical = Logical::read(line, &mut self.lines, self.escape);
            if logical.text.trim().is_empty() {
                self.options.end(&mut self.errors);
                continue;
            }
            self.instruction(&logical);
        }
        self.options.end(&mut self.errors);
    }

    /// Reads a parser directive; false where the line is none, which ends them.
    fn directive(&mut self, line: Physical<'_>) -> bool {
        let Some(comment) = line.body.trim_start().strip_prefix('#') else {
            return false;
        };
        let Some((name, value)) = directive::read(comment) else {
            return false;
        };
        let start = line.start + (value.as_ptr() as usize - line.body.as_ptr() as usize);
        let word = Word {
            text: value.to_owned(),
            span: Span::new(start, start + value.len()),
        };
        if self
            .directives
            .iter()
            .any(|directive| directive.name == name)
        {
            let message = format!("directive {name} is given twice");
            self.errors
                .push(Diagnostic::error("InvalidDirective", word.span, message));
        }
        if name == "escape" {
            match value {
                "\\" => self.escape = '\\',
                "`" => self.escape = '`',
                _ => {
                    let message = format!("escape character {value:?} is neither \\ nor `");
                    self.errors
                        .push(Diagnostic::error("InvalidDirective", word.span, message));
                }
            }
        }
        self.directives.push(Directive { name, value: word });
        true
    }

    fn instruction(&mut self, logical: &Logical) {
        if let Some(span) = logical.empty_continuation {
            let message = "empty line within a continued instruction";
            let warning = Diagnostic::warning("NoEmptyContinuation", span, message)
                .with_hint("make it a comment or take it out");
            self.checks.push(&mut self.warnings, warning);
        }
        self.errors
            .extend(logical.options.iter().copied().map(misplaced));
        let statement = Statement::split(logical, self.escape);
        let mut heredocs = Vec::new();
        if statement.takes_heredocs() {
            match announced_in(&logical.text) {
                Ok(announced) => {
                    for announced in announced {
                        heredocs.extend(self.heredoc(announced, logical));
                    }
                }
                Err(error) => {
                    let message = format!("bad here-document: {error}");
                    self.errors.push(Diagnostic::error(
                        "InvalidHeredoc",
                        logical.whole(),
                        message,
                    ));
                }
            }
        }
        let keyword = Word {
            text: logical.text[statement.keyword_range.clone()].to_owned(),
            span: logical.span(statement.keyword_range.clone()),
        };
        let is_run = keyword.text.eq_ignore_ascii_case("run");
        let normalize = self.options.take(is_run, &mut self.errors);
        let comments = std::mem::take(&mut self.comments);
        let checks = self.checks.with_comments(&comments);
        let mut warnings = Vec::new();
        if let Some(kind) = statement.parse(heredocs, &mut self.errors, &mut warnings) {
            warnings.extend(lint::description(&kind, &comments, logical.whole()));
            self.instructions.push(Instruction {
                checks: checks.clone(),
                span: logical.whole(),
                line: logical.line,
                text: logical.display(),
                keyword,
                kind,
                normalize,
            });
        }
        for warning in warnings {
            checks.push(&mut self.warnings, warning);
        }
    }

    /// Reads the lines of one here-document.
    fn heredoc(&mut self, announced: Announced, logical: &Logical) -> Option<Heredoc> {
        let Announced {
            name,
            expand,
            chomp,
        } = announced;
        let mut content = String::new();
        let mut span: Option<Span> = None;
        for line in self.lines.by_ref() {
            let candidate = if chomp {
                line.body.trim_start_matches('\t')
            } else {
                line.body
            };
            if candidate == name {
                let span = span.unwrap_or(Span::new(line.start, line.start));
                return Some(Heredoc {
                    name,
                    expand,
                    chomp,
                    content,
                    span,
                });
            }
            content.push_str(line.full);
            let here = Span::new(line.start, line.start + line.full.len());
            span = Some(span.map_or(here, |span| span.to(here)));
        }
        let message = format!("here-document {name} does not end");
        self.errors.push(
            Diagnostic::error("InvalidHeredoc", logical.whole(), message)
                .with_hint(format!("a line of its own that says {name} ends it")),
        );
        None
    }

    /// Every instruction but ARG belongs to a stage.
    fn check_order(&mut self, text: &str) {
        let is_from = |instruction: &Instruction| matches!(instruction.kind, Kind::From(_));
        let first = self.instructions.iter().position(is_from);
        if first.is_none() && self.errors.is_empty() {
            let end = Span::new(text.len(), text.len());
            let message = "no FROM: there is no stage to build";
            self.errors.push(Diagnostic::error("NoStage", end, message));
            return;
        }
        // A FROM that could not be read is an error already; what follows it is not one more.
        let Some(first) = first else { return };
        for instruction in &self.instructions[..first] {
            let broken_before = self
                .errors
                .iter()
                .any(|error| error.span.start < instruction.span.start);
            if !matches!(instruction.kind, Kind::Arg(_)) && !broken_before {
                let message = format!(
                    "{} stands before the first FROM",
                    instruction.keyword.text.to_uppercase()
                );
                self.errors.push(
                    Diagnostic::error("NoStage", instruction.span, message)
                        .with_hint("only ARG may stand before the first FROM"),
                );
                return;
            }
        }
    }
}

/// Whether this program takes the place of a front end.
pub(crate) fn check_front_end(given: &str, span: Span) -> Result<(), Diagnostic> {
    let reference = given.split_whitespace().next().unwrap_or_default();
    let name = reference.split('@').next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    // A tag: nothing after a colon in the last component may hold a slash.
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    if FRONT_ENDS.contains(&name) {
        return Ok(());
    }
    let message = format!("front end {reference} is not supported");
    Err(Diagnostic::error("UnsupportedSyntax", span, message)
        .with_hint("only docker/dockerfile is; this program is its own front end for it"))
}
