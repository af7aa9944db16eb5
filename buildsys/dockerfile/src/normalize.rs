//! Options of a step that stand in a comment right above it: `# tbuild: normalize=apt,pyc`.
//!
//! A comment, and not a flag of RUN or a key of tbuild.toml: every other builder of Dockerfiles reads past it, it
//! stands where the step is that needs it, and a build without a tbuild.toml can have it. Because it is a comment
//! nothing of it may be overlooked: a name that is unknown, or one that stands above no RUN, is an error.

use std::fmt;

use crate::lines::Physical;
use crate::suggest::suggest;
use crate::{Diagnostic, Span};

/// What makes a comment one of options.
const MARK: &str = "tbuild:";
const CODE: &str = "InvalidStepOption";

/// Something that tools write and that differs from run to run, put right in a step's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Normalizer {
    /// The logs of apt and dpkg, apt's package lists and caches: as the layers below have them.
    Apt,
    /// Members of static libraries: times and owners 0, mode 0644, as `ar D` writes them.
    Ar,
    /// The time in the header of .gz files below /usr/share/doc, man and info: 0.
    Gzip,
    /// Java's key store of whom to trust, /etc/ssl/certs/java/cacerts: its entries' times 0, in the order of their names.
    Java,
    /// /var/cache/ldconfig/aux-cache, which holds inode numbers and times: gone.
    Ldconfig,
    /// /etc/machine-id: empty, so that each machine makes its own; D-Bus' copy: gone.
    MachineId,
    /// Compiled Python files: the source's time is the one that the source has in the layer.
    Pyc,
    /// Compiled Python files: gone.
    PycRemove,
    /// Compiled Python files: valid whatever the source's time (PEP 552, unchecked hash).
    PycUnchecked,
}

impl Normalizer {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Apt,
        Self::Ar,
        Self::Gzip,
        Self::Java,
        Self::Ldconfig,
        Self::MachineId,
        Self::Pyc,
        Self::PycRemove,
        Self::PycUnchecked,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Ar => "ar",
            Self::Gzip => "gzip",
            Self::Java => "java",
            Self::Ldconfig => "ldconfig",
            Self::MachineId => "machine-id",
            Self::Pyc => "pyc",
            Self::PycRemove => "pyc-remove",
            Self::PycUnchecked => "pyc-unchecked",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether it says what becomes of compiled Python files.
    fn is_pyc(self) -> bool {
        matches!(self, Self::Pyc | Self::PycRemove | Self::PycUnchecked)
    }
}

impl fmt::Display for Normalizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands behind the mark of a comment with options.
pub(crate) fn marked(line: &str) -> Option<&str> {
    let comment = line.trim_start().strip_prefix('#')?;
    comment.trim_start().strip_prefix(MARK)
}

/// Options that wait for their step.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    normalize: Vec<Normalizer>,
    /// Where they stand.
    span: Option<Span>,
}

impl Pending {
    /// Reads a comment; one without options is nothing.
    pub fn comment(&mut self, line: Physical<'_>, errors: &mut Vec<Diagnostic>) {
        let Some(options) = marked(line.body) else {
            return;
        };
        let at = |word: &str| {
            let start = line.start + (word.as_ptr() as usize - line.body.as_ptr() as usize);
            Span::new(start, start + word.len())
        };
        let end = line.start + line.body.trim_end().len();
        let here = Span::new(line.start, end);
        self.span = Some(self.span.map_or(here, |span| span.to(here)));
        for option in options.split_whitespace() {
            let end = &option[option.len()..];
            let (name, value) = option.split_once('=').unwrap_or((option, end));
            if name != "normalize" {
                let message = format!("there is no option {name} of a step");
                errors.push(
                    Diagnostic::error(CODE, at(name), message)
                        .did_you_mean(suggest(name, ["normalize"])),
                );
                continue;
            }
            for word in value.split(',') {
                self.add(word, at(word), errors);
            }
        }
        if options.trim().is_empty() {
            let message = "no option follows";
            errors.push(Diagnostic::error(CODE, here, message).with_hint("normalize=NAME,NAME"));
        }
    }

    fn add(&mut self, word: &str, span: Span, errors: &mut Vec<Diagnostic>) {
        let names = || Normalizer::ALL.into_iter().map(Normalizer::name);
        let Some(one) = Normalizer::parse(word) else {
            let message = format!("there is no normalizer {word:?}");
            let error = Diagnostic::error(CODE, span, message);
            errors.push(match suggest(word, names()) {
                Some(near) => error.did_you_mean(Some(near)),
                None => error.with_hint(names().collect::<Vec<_>>().join(", ")),
            });
            return;
        };
        let other = self.normalize.iter().find(|other| other.is_pyc());
        if let Some(other) = other.filter(|other| one.is_pyc() && **other != one) {
            let message = format!("{other} and {one} ask for different things");
            errors.push(Diagnostic::error(CODE, span, message));
            return;
        }
        if !self.normalize.contains(&one) {
            self.normalize.push(one);
            self.normalize.sort_unstable();
        }
    }

    /// The options of the instruction that follows, sorted.
    pub fn take(&mut self, is_run: bool, errors: &mut Vec<Diagnostic>) -> Vec<Normalizer> {
        if is_run {
            self.span = None;
            return std::mem::take(&mut self.normalize);
        }
        self.end(errors);
        Vec::new()
    }

    /// No instruction follows right away.
    pub fn end(&mut self, errors: &mut Vec<Diagnostic>) {
        let Self { span, .. } = std::mem::take(self);
        if let Some(span) = span {
            errors.push(misplaced(span));
        }
    }
}

/// The error about options that no step has.
pub(crate) fn misplaced(span: Span) -> Diagnostic {
    let message = "options of a step that stand above no RUN";
    Diagnostic::error(CODE, span, message).with_hint("put them on the line right above a RUN")
}
