//! Parts of trees: `include` and `exclude` of a source or a context.

use std::collections::BTreeSet;

use tbuild_dockerfile::IgnoreRules;
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Tree, TreePath};

/// Which part of a tree is wanted: patterns as in .dockerignore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what matches, and the folders that lead there. Empty: everything.
    pub include: Vec<String>,
    /// Not what matches.
    pub exclude: Vec<String>,
}

impl Filter {
    /// Whether everything is wanted.
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The wanted part of `tree`.
    pub fn apply(&self, tree: &Tree) -> Result<Tree, OpError> {
        let (exclude, include) = (rules(&self.exclude)?, rules(&self.include)?);
        let mut kept: Vec<Entry> = Vec::new();
        let mut folders: BTreeSet<TreePath> = BTreeSet::new();
        for entry in tree.entries() {
            let path = entry.path.as_bytes();
            let wanted =
                (self.include.is_empty() || include.matches(path)) && !exclude.matches(path);
            if wanted {
                let mut folder = entry.path.parent();
                while let Some(path) = folder.filter(|path| !path.is_root()) {
                    folder = path.parent();
                    if !folders.insert(path) {
                        break;
                    }
                }
                kept.push(entry.clone());
            }
        }
        let have: BTreeSet<TreePath> = kept.iter().map(|entry| entry.path.clone()).collect();
        kept.extend(
            folders
                .difference(&have)
                .filter_map(|path| tree.get(path).cloned()),
        );
        Tree::new(kept).map_err(|error| OpError::internal(&error))
    }
}

/// Patterns as rules.
pub(crate) fn rules(patterns: &[String]) -> Result<IgnoreRules, OpError> {
    IgnoreRules::from_patterns(patterns).map_err(|error| OpError::usage(error.to_string()))
}
