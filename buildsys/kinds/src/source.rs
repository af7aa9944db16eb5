//! Sources: trees that come from outside the graph.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tbuild_digest::{ContentHash as _, Encoder};
use tbuild_dockerfile::IgnoreRules;
use tbuild_realise::{Context, Op, OpError, Output, Prepared};
use tbuild_store_local::{Modes, Verdict, scan};
use tbuild_tree::TreePath;

use crate::filter::{Filter, rules};
use crate::small::{IGNORE, read_inside};
use crate::world::blocking;
use crate::{Place, TreeValue, World};

/// A folder of this machine, looked at each time: unchanged files cost one lstat each.
pub(crate) struct Folder {
    pub world: Arc<World>,
    /// The folder.
    pub path: PathBuf,
    /// Patterns of .dockerignore; the file itself is read when the node is looked at.
    pub ignore: Vec<PathBuf>,
    /// `include` and `exclude` of tbuild.toml.
    pub filter: Filter,
    /// Whose permissions its files have.
    pub modes: Modes,
    /// What it is to the user: `source tator`, `the build context`.
    pub what: String,
}

impl Folder {
    pub(crate) fn look(
        world: &World,
        path: &Path,
        ignore: &[PathBuf],
        filter: &Filter,
        modes: Modes,
        what: &str,
    ) -> Result<Output, OpError> {
        let path = path.canonicalize().map_err(|error| {
            OpError::usage(format!(
                "{what}: cannot open the folder {}: {error}",
                path.display()
            ))
        })?;
        let mut text = String::new();
        for file in ignore {
            match read_inside(file, IGNORE) {
                Ok(found) => {
                    text = found;
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = file.display();
                    return Err(OpError::usage(format!(
                        "{what}: cannot read {file}: {error}"
                    )));
                }
            }
        }
        let ignored = IgnoreRules::parse(&text).map_err(|findings| {
            let first = findings
                .first()
                .map(|finding| finding.message.clone())
                .unwrap_or_default();
            OpError::usage(format!("{what}: .dockerignore: {first}"))
        })?;
        let exclude = rules(&filter.exclude)?;
        let mut encoder = Encoder::new();
        text.hash_content(&mut encoder);
        filter.exclude.hash_content(&mut encoder);
        let verdict = |at: &TreePath, folder: bool| {
            let at = at.as_bytes();
            let out = ignored.matches(at);
            let gone = exclude.matches(at);
            if !out && !gone {
                Verdict::Keep
            } else if folder && !gone && ignored.may_contain_exceptions_below(at) {
                Verdict::Descend
            } else {
                Verdict::Skip
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let scan = scan(
            &world.store,
            &path,
            &encoder.finish(),
            &verdict,
            modes,
            threads,
        )
        .map_err(|error| OpError::failed(&error))?;
        let place = Place::Folder(path);
        if filter.include.is_empty() {
            let (tree, digest) = (Arc::clone(&scan.tree), scan.digest);
            return Ok(Output::new(TreeValue {
                tree,
                digest,
                place,
                scan: Some(Arc::new(scan)),
            }));
        }
        let part = Filter {
            include: filter.include.clone(),
            exclude: Vec::new(),
        }
        .apply(&scan.tree)?;
        let digest = part.digest();
        Ok(Output::new(TreeValue {
            tree: Arc::new(part),
            digest,
            place,
            scan: None,
        }))
    }
}

#[async_trait]
impl Op for Folder {
    fn title(&self) -> String {
        format!("look at {}", self.path.display())
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let (world, path) = (Arc::clone(&self.world), self.path.clone());
        let (ignore, filter, what) = (self.ignore.clone(), self.filter.clone(), self.what.clone());
        let modes = self.modes;
        blocking(move || Self::look(&world, &path, &ignore, &filter, modes, &what))
            .await
            .map(Prepared::Ready)
    }
}

/// A part of another tree: `{ from = "source:X", include = [...], exclude = [...] }`.
pub(crate) struct Part {
    pub filter: Filter,
}

#[async_trait]
impl Op for Part {
    fn title(&self) -> String {
        "take a part".to_owned()
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let whole = crate::value::input::<TreeValue>(inputs, 0)?;
        let tree = Arc::new(self.filter.apply(&whole.tree)?);
        let digest = tree.digest();
        Ok(Prepared::Ready(Output::new(TreeValue {
            tree,
            digest,
            place: whole.place.clone(),
            scan: None,
        })))
    }
}
