//! COPY and ADD with their variables filled in.

use crate::ast::{Add, Copy, Heredoc, Word};
use crate::remote::Remote;
use crate::values::clean_path;
use crate::{
    Chmod, ChmodText, Concrete, ConcreteCopy, CopySource, Diagnostic, InlineFile, PathSource,
    Scope, Source, Unpack, has_wildcards,
};

/// What COPY and ADD have in common.
pub(crate) struct Copied<'a> {
    add: Option<&'a Add>,
    sources: &'a [Word],
    heredocs: &'a [Heredoc],
    dest: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    exclude: &'a [Word],
    link: bool,
    parents: bool,
}

/// Whether a switch is on.
fn is_on(switch: Option<&Word>) -> bool {
    switch.is_some_and(|word| word.text == "true")
}

impl<'a> Copied<'a> {
    /// COPY.
    pub(crate) fn of_copy(copy: &'a Copy) -> Self {
        Self {
            add: None,
            sources: &copy.sources,
            heredocs: &copy.heredocs,
            dest: &copy.dest,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            exclude: &copy.exclude,
            link: is_on(copy.link.as_ref()),
            parents: is_on(copy.parents.as_ref()),
        }
    }

    /// ADD.
    pub(crate) fn of_add(add: &'a Add) -> Self {
        Self {
            add: Some(add),
            sources: &add.sources,
            heredocs: &add.heredocs,
            dest: &add.dest,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            exclude: &add.exclude,
            link: is_on(add.link.as_ref()),
            parents: false,
        }
    }

    /// The instruction with its variables filled in by `scope`.
    pub(crate) fn resolve(
        &self,
        from: CopySource,
        scope: &mut Scope,
    ) -> Result<Concrete, Diagnostic> {
        let sources = self
            .sources
            .iter()
            .map(|word| self.source(word, scope))
            .collect::<Result<Vec<_>, _>>()?;
        let checksum = self.checksum(&sources, scope)?;
        let heredocs = self
            .heredocs
            .iter()
            .map(|heredoc| inline(heredoc, scope))
            .collect::<Result<Vec<_>, _>>()?;
        let dest = scope.word(self.dest)?;
        let folder = dest.is_empty() || dest.ends_with('/') || dest == "." || dest.ends_with("/.");
        let mut dest = clean_path(&clean_path("/", scope.workdir()), &dest);
        if folder && !dest.ends_with('/') {
            dest.push('/');
        }
        let chown = self
            .chown
            .map(|word| scope.word(word))
            .transpose()?
            .filter(|chown| !chown.is_empty());
        let chmod = self.chmod(scope)?;
        let unpack = self.add.and_then(|add| add.unpack.as_ref());
        Ok(Concrete::Copy(ConcreteCopy {
            add: self.add.is_some(),
            unpack: Unpack {
                paths: self.add.is_some() && unpack.is_none_or(|word| word.text == "true"),
                urls: is_on(unpack),
            },
            from,
            sources,
            heredocs,
            dest,
            chown,
            // BuildKit copies in the ordinary way where both are given.
            link: self.link && chmod.is_none(),
            chmod,
            exclude: self.exclude.iter().map(|word| word.text.clone()).collect(),
            checksum,
        }))
    }

    fn source(&self, word: &Word, scope: &mut Scope) -> Result<Source, Diagnostic> {
        let text = scope.word(word)?;
        let remote = Remote::parse(&text)
            .map_err(|error| Diagnostic::error("InvalidSource", word.span, error.to_string()))?;
        match remote {
            Some(_) if self.add.is_none() => Err(not_for_copy(word, &text)),
            Some(mut remote) => {
                if let Remote::Git(git) = &mut remote {
                    self.settle(git, word)?;
                }
                Ok(Source::Remote(remote))
            }
            None if self.parents => parents(&text, word).map(Source::Path),
            None => Ok(Source::Path(PathSource {
                path: clean_path("/", &text),
                below: None,
            })),
        }
    }

    /// Puts `--keep-git-dir` and the URL's own word for it together.
    fn settle(&self, git: &mut crate::GitRemote, word: &Word) -> Result<(), Diagnostic> {
        let flag = self.add.and_then(|add| add.keep_git_dir.as_ref());
        let flag = flag.map(|word| word.text == "true");
        if let (Some(flag), Some(url)) = (flag, git.keep_git_dir)
            && flag != url
        {
            let message = format!("--keep-git-dir={flag}, and the URL says {url}");
            return Err(Diagnostic::error("InvalidFlag", word.span, message));
        }
        git.keep_git_dir = git.keep_git_dir.or(flag);
        Ok(())
    }

    fn checksum(
        &self,
        sources: &[Source],
        scope: &mut Scope,
    ) -> Result<Option<String>, Diagnostic> {
        let Some(word) = self.add.and_then(|add| add.checksum.as_ref()) else {
            return Ok(None);
        };
        let checksum = scope.word(word)?;
        if checksum.is_empty() {
            return Ok(None);
        }
        let wrong = |message: String| Err(Diagnostic::error("InvalidFlag", word.span, message));
        match sources {
            [Source::Remote(Remote::Http { .. })] => match checksum.strip_prefix("sha256:") {
                Some(hex)
                    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {}
                _ => {
                    return wrong(format!(
                        "--checksum={checksum} is not sha256: and 64 digits"
                    ));
                }
            },
            [Source::Remote(Remote::Git(git))] => {
                if let Some(url) = git.checksum.as_ref().filter(|url| **url != checksum) {
                    return wrong(format!("--checksum={checksum}, and the URL says {url}"));
                }
            }
            [_] => return wrong("--checksum is for URLs and git repositories".to_owned()),
            _ => return wrong("--checksum takes one source".to_owned()),
        }
        Ok(Some(checksum))
    }

    fn chmod(&self, scope: &mut Scope) -> Result<Option<ChmodText>, Diagnostic> {
        let Some(word) = self.chmod else {
            return Ok(None);
        };
        let text = scope.word(word)?;
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(chmod) = Chmod::parse(&text) {
            return Ok(Some(ChmodText { text, chmod }));
        }
        let message = format!("--chmod={text} is neither octal up to 7777 nor symbolic");
        Err(Diagnostic::error("InvalidFlag", word.span, message))
    }
}

/// The error for a source of COPY that is remote; `text` is the source as far as it is known.
pub(crate) fn remote(word: &Word, text: &str) -> Option<Diagnostic> {
    let remote = Remote::parse(text).is_ok_and(|remote| remote.is_some());
    remote.then(|| not_for_copy(word, text))
}

fn not_for_copy(word: &Word, text: &str) -> Diagnostic {
    let message = format!("COPY takes files, not the remote {text}");
    Diagnostic::error("RemoteCopy", word.span, message).with_hint("ADD takes it")
}

/// A source of `--parents`: what stands before `/./` is the folder that the path below is kept of.
fn parents(text: &str, word: &Word) -> Result<PathSource, Diagnostic> {
    let (folder, below) = text.split_once("/./").unwrap_or(("/", text));
    let below = clean_path("/", below)[1..].to_owned();
    if below.is_empty() {
        let message = format!("--parents: {text} names nothing below a folder");
        return Err(Diagnostic::error("InvalidSource", word.span, message)
            .with_hint("without --parents it is copied as it is"));
    }
    Ok(PathSource {
        path: clean_path("/", folder),
        below: Some(below),
    })
}

fn inline(heredoc: &Heredoc, scope: &mut Scope) -> Result<InlineFile, Diagnostic> {
    let text = heredoc.text();
    let text = if heredoc.expand {
        scope.heredoc(&text, heredoc.span)?
    } else {
        text
    };
    Ok(InlineFile {
        name: heredoc.name.clone(),
        bytes: text.into_bytes(),
    })
}

impl PathSource {
    /// Whether something has to be there: not where wildcards say what.
    pub fn is_required(&self) -> bool {
        !has_wildcards(&self.path) && !self.below.as_deref().is_some_and(has_wildcards)
    }
}
