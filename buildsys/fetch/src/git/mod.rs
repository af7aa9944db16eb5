//! Git repositories: a revision's files, by way of the user's own git (and so with the user's credentials).

mod checkout;
mod command;
mod error;
mod keep;
mod revision;
mod submodule;

use std::path::Path;

use tbuild_store::Store;

pub use command::Git;
pub use error::GitError;

/// A revision's files.
#[derive(Debug)]
pub struct GitCheckout {
    /// The commit, in full hex.
    pub commit: String,
    folder: tempfile::TempDir,
}

impl GitCheckout {
    /// The folder with the files: no `.git`, permissions 755 or 644 whatever the umask. It goes when this value
    /// is dropped. Owners and mtimes say nothing.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// What of a revision is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkout {
    /// Whether the files of submodules come along.
    pub submodules: bool,
    /// Whether the repository does: `.git` with the one commit, without its history.
    pub repository: bool,
}

impl Default for Checkout {
    /// Files, those of submodules included.
    fn default() -> Self {
        Self {
            submodules: true,
            repository: false,
        }
    }
}

/// No chain of submodules is longer.
const DEEPEST: usize = 16;

impl Git {
    /// The commit that `rev` names in the repository at `url` now: a branch, a tag, `HEAD`, a full commit id, or
    /// the start of one. A commit that was fetched before is found without a connection. Blocks.
    pub fn resolve(&self, url: &str, rev: &str, store: &dyn Store) -> Result<String, GitError> {
        let (_guard, repository) = self.repository(url, store)?;
        revision::fetch(&repository, url, rev)
    }

    /// The commit that `rev` names in the repository at `url` now, by what its server says of names: nothing is fetched.
    /// None where that is not told: of a commit's id, or the start of one. Blocks.
    pub fn named(
        &self,
        url: &str,
        rev: &str,
        store: &dyn Store,
    ) -> Result<Option<String>, GitError> {
        let (_guard, repository) = self.repository(url, store)?;
        revision::named(&repository, url, rev)
    }

    /// The files of `rev`, with those of its submodules. `.gitattributes` of the repository is honoured; the
    /// user's filters (LFS among them), hooks and line-ending settings are not, so that the files depend on
    /// nothing but the commit. Blocks.
    pub fn fetch(&self, url: &str, rev: &str, store: &dyn Store) -> Result<GitCheckout, GitError> {
        self.checkout_at(url, rev, rev, Checkout::default(), store)
    }

    /// The same with less or more than the files: those of `commit`, which `rev` stood for. Blocks.
    pub fn checkout_at(
        &self,
        url: &str,
        commit: &str,
        rev: &str,
        what: Checkout,
        store: &dyn Store,
    ) -> Result<GitCheckout, GitError> {
        let scratch = store.scratch("git")?;
        let folder =
            tempfile::tempdir_in(scratch).map_err(GitError::io("make a folder for a checkout"))?;
        let depth = what.submodules.then_some(DEEPEST);
        let commit = self.place(url, commit, store, folder.path(), depth)?;
        if what.repository {
            let (_guard, repository) = self.repository(url, store)?;
            keep::write(&repository, url, rev, &commit, folder.path())?;
        }
        checkout::normalise(folder.path())?;
        Ok(GitCheckout { commit, folder })
    }

    fn place(
        &self,
        url: &str,
        rev: &str,
        store: &dyn Store,
        folder: &Path,
        depth: Option<usize>,
    ) -> Result<String, GitError> {
        let (guard, repository) = self.repository(url, store)?;
        let commit = revision::fetch(&repository, url, rev)?;
        checkout::write(&repository, &commit, folder)?;
        let Some(depth) = depth else {
            return Ok(commit);
        };
        let submodules = submodule::list(&repository, url, &commit)?;
        // A submodule may be another revision of the same repository.
        drop(guard);
        for module in submodules {
            if depth == 0 {
                return Err(GitError::TooDeep {
                    url: url.to_owned(),
                });
            }
            let git = self.for_submodule(url, &module.url);
            git.place(
                &module.url,
                &module.commit,
                store,
                &folder.join(&module.path),
                Some(depth - 1),
            )?;
        }
        Ok(commit)
    }
}

#[cfg(test)]
mod tests;
