//! RUN --mount: what its options say.
//!
//! Source: Dockerfile reference, "RUN --mount"; where it leaves something open, what BuildKit does. Options count
//! from left to right: `size` or `required` before the `type` that they belong to are errors there, too.

use crate::ast::Word;
use crate::size::parse_size;
use crate::suggest::suggest;
use crate::values::clean_path;
use crate::{CopySource, Diagnostic};

/// Where secrets are that say no target.
const SECRETS: &str = "/run/secrets";

/// One mount of a RUN with nothing left to expand. Targets are absolute and clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConcreteMount {
    /// Files of the build context, a stage or an image.
    Bind(BindMount),
    /// A folder that outlives the build.
    Cache(CacheMount),
    /// An empty folder in memory.
    Tmpfs {
        /// Where.
        target: String,
        /// The most that it holds, in bytes; none is the kernel's default.
        size: Option<u64>,
        /// Whether RUN may not write to it.
        read_only: bool,
    },
    /// A file, or a variable, that only RUN sees.
    Secret(SecretMount),
    /// A socket of an SSH agent.
    Ssh(SshMount),
}

/// `type=bind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Where.
    pub target: String,
    /// What it shows a part of; none is an empty folder (`from=scratch`).
    pub from: Option<CopySource>,
    /// The part: absolute and clean, `/` for all of it.
    pub source: String,
    /// Whether RUN may not write to it. What it writes is gone afterwards.
    pub read_only: bool,
}

/// `type=cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Where.
    pub target: String,
    /// Which one: the target as written, if nothing else is said.
    pub id: String,
    /// What others may do with it meanwhile.
    pub sharing: Sharing,
    /// Whether RUN may not write to it.
    pub read_only: bool,
    /// What it holds at first; none is nothing.
    pub from: Option<CopySource>,
    /// Which part of that: absolute and clean, `/` for all of it.
    pub source: String,
    /// Of the folder, when it is made.
    pub owner: MountOwner,
}

/// What others may do with a cache while a RUN has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Use it, too.
    #[default]
    Shared,
    /// Use another one of the same name.
    Private,
    /// Wait.
    Locked,
}

/// `type=secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Which one.
    pub id: String,
    /// The file that holds it; none where it is a variable only.
    pub target: Option<String>,
    /// The variable that holds it.
    pub env: Option<String>,
    /// Whether RUN fails where it is not given.
    pub required: bool,
    /// Of the file: mode 0400, root's, if nothing else is said.
    pub owner: MountOwner,
}

/// `type=ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshMount {
    /// Which agent: `default`, if nothing else is said.
    pub id: String,
    /// The socket; none is one of the builder's choice.
    pub target: Option<String>,
    /// Whether RUN fails where it is not given.
    pub required: bool,
    /// Of the socket: mode 0600, root's, if nothing else is said.
    pub owner: MountOwner,
}

/// Owner and mode that a mount asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOwner {
    /// Permission bits.
    pub mode: Option<u32>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
}

impl MountOwner {
    /// Whether nothing is said.
    pub fn is_default(self) -> bool {
        self == Self::default()
    }
}

/// What is known of a mount before variables are: where its files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From nowhere.
    Nothing,
    /// From the build context.
    Context,
    /// From a stage, an image or a named context.
    Named(Word),
}

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARING: [&str; 3] = ["shared", "private", "locked"];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

fn invalid(word: &Word, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("InvalidMount", word.span, message)
}

/// Splits at commas; a field may stand in double quotes, a doubled one in them is itself (RFC 4180).
fn fields(word: &Word) -> Result<Vec<String>, Diagnostic> {
    let mut fields = Vec::new();
    let mut rest = word.text.as_str();
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let Some((text, after)) = quoted.split_once('"') else {
                    return Err(invalid(word, "--mount: a quote is not closed"));
                };
                field.push_str(text);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                field.push('"');
                quoted = more;
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err(invalid(
                    word,
                    format!("--mount: {rest:?} follows a closing quote"),
                ));
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// Where the files of a mount come from, which may hold no variables.
pub(crate) fn origin(word: &Word) -> Result<Origin, Diagnostic> {
    let (mut from, mut kind) = (None, "bind".to_owned());
    for field in fields(word)? {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        match key.to_ascii_lowercase().as_str() {
            "from" => from = Some(value.to_owned()).filter(|from| !from.is_empty()),
            "type" => kind = value.to_ascii_lowercase(),
            _ => {}
        }
    }
    let may_be = |wanted: &str| kind == wanted || kind.contains('$');
    match from {
        Some(from) if from.contains('$') => Err(invalid(word, "--mount: from takes no variables")
            .with_hint(
                "name a stage for it: FROM $IMAGE AS name, with an ARG before the first FROM",
            )),
        Some(from) if from == "scratch" => Ok(Origin::Nothing),
        Some(from) if may_be("bind") || may_be("cache") => Ok(Origin::Named(Word {
            text: from,
            span: word.span,
        })),
        None if may_be("bind") => Ok(Origin::Context),
        _ => Ok(Origin::Nothing),
    }
}

/// Go's booleans.
fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The options as they add up.
#[derive(Default)]
struct Options {
    kind: &'static str,
    from: bool,
    source: String,
    target: String,
    read_only: Option<bool>,
    size: Option<u64>,
    id: String,
    sharing: Option<Sharing>,
    required: bool,
    env: Option<String>,
    owner: MountOwner,
}

/// Reads the options of one mount. `expand` fills in the variables of a value; `from` is where its files come
/// from, and relative targets count from `workdir`.
pub(crate) fn read(
    word: &Word,
    from: Option<CopySource>,
    workdir: &str,
    expand: &mut dyn FnMut(&str) -> Result<String, Diagnostic>,
) -> Result<ConcreteMount, Diagnostic> {
    let mut options = Options {
        kind: "bind",
        ..Options::default()
    };
    for field in fields(word)? {
        let Some((key, value)) = field.split_once('=') else {
            options.flag(word, &field)?;
            continue;
        };
        let value = expand(value)?;
        options.set(word, &key.to_ascii_lowercase(), value)?;
    }
    options.finish(word, from, workdir)
}

impl Options {
    /// An option without a value.
    fn flag(&mut self, word: &Word, field: &str) -> Result<(), Diagnostic> {
        match field.to_ascii_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => self.require(word, true)?,
            key => {
                let message = format!("--mount: {field:?} needs a value: {key}=VALUE");
                let near = (!KEYS.contains(&key)).then(|| suggest(key, KEYS)).flatten();
                return Err(invalid(word, message).did_you_mean(near));
            }
        }
        Ok(())
    }

    fn require(&mut self, word: &Word, required: bool) -> Result<(), Diagnostic> {
        if !matches!(self.kind, "secret" | "ssh") {
            return Err(self.misplaced(word, "required"));
        }
        self.required = required;
        Ok(())
    }

    fn misplaced(&self, word: &Word, key: &str) -> Diagnostic {
        invalid(
            word,
            format!("--mount: {key} is no option of type={}", self.kind),
        )
    }

    fn set(&mut self, word: &Word, key: &str, value: String) -> Result<(), Diagnostic> {
        let wrong = |what: &str| invalid(word, format!("--mount: {key}={value} is not {what}"));
        let on = || switch(&value).ok_or_else(|| wrong("true or false"));
        let number = || value.parse().map_err(|_| wrong("a number"));
        match key {
            "type" => {
                let lower = value.to_ascii_lowercase();
                let known = TYPES.into_iter().find(|kind| *kind == lower);
                self.kind = known.ok_or_else(|| {
                    invalid(word, format!("--mount: there is no type {value:?}"))
                        .did_you_mean(suggest(&value, TYPES))
                })?;
            }
            "from" => self.from = !value.is_empty(),
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => self.read_only = Some(on()?),
            "readwrite" | "rw" => self.read_only = Some(!on()?),
            "required" => self.require(word, on()?)?,
            "size" if self.kind != "tmpfs" => return Err(self.misplaced(word, "size")),
            "size" => {
                let size = parse_size(&value).ok_or_else(|| wrong("a size such as 64m"))?;
                self.size = Some(size).filter(|size| *size > 0);
            }
            "id" => self.id = value,
            "sharing" => {
                let lower = value.to_ascii_lowercase();
                self.sharing = Some(match lower.as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => {
                        return Err(wrong("shared, private or locked")
                            .did_you_mean(suggest(&value, SHARING)));
                    }
                });
            }
            "mode" => {
                let mode = u32::from_str_radix(&value, 8).ok();
                let mode = mode.filter(|mode| *mode <= 0o7777);
                self.owner.mode = Some(mode.ok_or_else(|| wrong("an octal mode"))?);
            }
            "uid" => self.owner.uid = Some(number()?),
            "gid" => self.owner.gid = Some(number()?),
            "env" => self.env = Some(value),
            _ => {
                return Err(
                    invalid(word, format!("--mount: there is no option {key:?}"))
                        .did_you_mean(suggest(key, KEYS)),
                );
            }
        }
        Ok(())
    }

    /// What does not fit together.
    fn check(&self, word: &Word) -> Result<(), Diagnostic> {
        let wrong = |message: &str| Err(invalid(word, message));
        let has_owner = matches!(self.kind, "secret" | "ssh" | "cache");
        for (key, given) in [
            ("mode", self.owner.mode.is_some()),
            ("uid", self.owner.uid.is_some()),
            ("gid", self.owner.gid.is_some()),
        ] {
            if given && !has_owner {
                return Err(self.misplaced(word, key));
            }
        }
        if self.sharing.is_some() && self.kind != "cache" {
            return Err(self.misplaced(word, "sharing"));
        }
        match self.kind {
            "secret" if self.from => Err(self.misplaced(word, "from")),
            "secret" if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() => {
                wrong("--mount: a secret needs an id, or a target to be named after")
            }
            "secret" if !self.source.is_empty() && !self.id.is_empty() => {
                wrong("--mount: source is another word for a secret's id; only one may be given")
            }
            "ssh" if !self.source.is_empty() => Err(self.misplaced(word, "source")),
            _ => Ok(()),
        }
    }

    fn finish(
        self,
        word: &Word,
        from: Option<CopySource>,
        workdir: &str,
    ) -> Result<ConcreteMount, Diagnostic> {
        self.check(word)?;
        let target = clean_path(workdir, &self.target);
        let needs_target = matches!(self.kind, "bind" | "cache" | "tmpfs");
        if target == "/" && (needs_target || !self.target.is_empty()) {
            let message = if self.target.is_empty() {
                "--mount: it has no target, and there is no WORKDIR that could be it"
            } else {
                "--mount: / cannot be a target"
            };
            return Err(invalid(word, message).with_hint("write target=/PATH"));
        }
        let source = clean_path("/", &self.source);
        let given = (!self.target.is_empty()).then(|| target.clone());
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(match self.kind {
            "tmpfs" => ConcreteMount::Tmpfs {
                target,
                size: self.size,
                read_only: self.read_only.unwrap_or(false),
            },
            "cache" => ConcreteMount::Cache(CacheMount {
                id: if self.id.is_empty() {
                    clean_name(&self.target)
                } else {
                    self.id
                },
                target,
                sharing: self.sharing.unwrap_or_default(),
                read_only: self.read_only.unwrap_or(false),
                from: from.filter(|_| self.from),
                source,
                owner: self.owner,
            }),
            "secret" => {
                let id = [self.id, self.source]
                    .into_iter()
                    .find(|id| !id.is_empty())
                    .unwrap_or_else(|| base(&target));
                let file = given.or_else(|| {
                    let usual = || format!("{SECRETS}/{}", base(&id));
                    self.env.is_none().then(usual)
                });
                ConcreteMount::Secret(SecretMount {
                    id,
                    target: file,
                    env: self.env,
                    required: self.required,
                    owner: self.owner,
                })
            }
            "ssh" => ConcreteMount::Ssh(SshMount {
                id: if self.id.is_empty() {
                    "default".to_owned()
                } else {
                    self.id
                },
                target: given,
                required: self.required,
                owner: self.owner,
            }),
            _ => ConcreteMount::Bind(BindMount {
                target,
                from,
                source,
                read_only: self.read_only.unwrap_or(true),
            }),
        })
    }
}

/// A path as written without `.`, `..` and doubled slashes: what a cache is called that has no id.
fn clean_name(path: &str) -> String {
    let clean = clean_path("/", path);
    if path.starts_with('/') {
        clean
    } else {
        let relative = clean.trim_start_matches('/');
        if relative.is_empty() { "." } else { relative }.to_owned()
    }
}

impl ConcreteMount {
    /// Where it is; none where it is a variable only, or at a place of the builder's choice.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Bind(bind) => Some(&bind.target),
            Self::Cache(cache) => Some(&cache.target),
            Self::Tmpfs { target, .. } => Some(target),
            Self::Secret(secret) => secret.target.as_deref(),
            Self::Ssh(ssh) => ssh.target.as_deref(),
        }
    }
}
