//! Git repositories: a revision's files, by way of the user's own git (and so with the user's credentials).

mod checkout;
mod command;
mod error;
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

/// No chain of submodules is longer.
const DEEPEST: usize = 16;

impl Git {
    /// The commit that `rev` names in the repository at `url` now: a branch, a tag, `HEAD`, a full commit id, or
    /// the start of one. A commit that was fetched before is found without a connection. Blocks.
    pub fn resolve(&self, url: &str, rev: &str, store: &dyn Store) -> Result<String, GitError> {
        let (_guard, repository) = self.repository(url, store)?;
        revision::fetch(&repository, url, rev)
    }

    /// The files of `rev`, with those of its submodules. `.gitattributes` of the repository is honoured; the
    /// user's filters (LFS among them), hooks and line-ending settings are not, so that the files depend on
    /// nothing but the commit. Blocks.
    pub fn fetch(&self, url: &str, rev: &str, store: &dyn Store) -> Result<GitCheckout, GitError> {
        let scratch = store.scratch("git")?;
        let folder =
            tempfile::tempdir_in(scratch).map_err(GitError::io("make a folder for a checkout"))?;
        let commit = self.place(url, rev, store, folder.path(), DEEPEST)?;
        checkout::normalise(folder.path())?;
        Ok(GitCheckout { commit, folder })
    }

    fn place(
        &self,
        url: &str,
        rev: &str,
        store: &dyn Store,
        folder: &Path,
        depth: usize,
    ) -> Result<String, GitError> {
        let (guard, repository) = self.repository(url, store)?;
        let commit = revision::fetch(&repository, url, rev)?;
        checkout::write(&repository, &commit, folder)?;
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
                depth - 1,
            )?;
        }
        Ok(commit)
    }
}

#[cfg(test)]
mod tests;
