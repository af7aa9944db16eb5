//! Tools: programs that tbuild runs on this machine.

use std::any::Any;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, Sha256};
use tbuild_fetch::{Download as Fetch, Http, extract_member};
use tbuild_graph::KeyManifest;
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_store::Store as _;
use tbuild_tree::{Node, TreePath};

use crate::content::{Contents, origin, read_in_layers};
use crate::kept::Question;
use crate::value::input;
use crate::world::blocking;
use crate::{FileValue, ImageValue, TreeValue, World};

/// Where a tool's file stands, executable, by its digest: made from the blob where it is missing.
fn install(
    world: &World,
    digest: &BlobDigest,
    read: impl FnOnce() -> Result<Vec<u8>, OpError>,
) -> Result<PathBuf, OpError> {
    let path = world.store.scratch("tools")?.join(digest.hex());
    if path.exists() {
        return Ok(path);
    }
    let bytes = read()?;
    let failed = |error: std::io::Error| OpError::internal(&error);
    if BlobDigest::of(&bytes) != *digest {
        return Err(OpError::Internal {
            message: format!("the file of tool {digest} has other bytes"),
        });
    }
    let folder = path.parent().unwrap_or(&path);
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::fs::write(file.path(), bytes).map_err(failed)?;
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o755))
        .map_err(failed)?;
    // By path, so that no descriptor that writes to it is left: the kernel would refuse to run it.
    let temporary = file.into_temp_path();
    temporary
        .persist(&path)
        .map_err(|error| failed(error.error))?;
    Ok(path)
}

/// The store's space for digests of files of images.
const FILES: &str = "image-files";

/// A file of an artifact.
pub(crate) struct Tool {
    pub world: Arc<World>,
    /// Its path in the artifact.
    pub path: String,
}

#[async_trait]
impl Op for Tool {
    fn title(&self) -> String {
        format!("take {}", self.path)
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        if let Some(image) = inputs.first().and_then(Output::get::<ImageValue>) {
            let (world, path) = (Arc::clone(&self.world), self.path.clone());
            let file = blocking(move || {
                let layers = &image.state.layers;
                let read = || {
                    let view = world.rootfs(layers)?;
                    let bytes = read_in_layers(&world, layers, &view, &path.as_str().into())?;
                    bytes.ok_or_else(|| {
                        OpError::failed_text(format!("the image has no file {path}"))
                    })
                };
                let question = Question::of_layers(FILES, layers).about(path.as_bytes());
                let digest = question.answer(&world, || Ok(BlobDigest::of(&read()?)))?;
                Ok(FileValue {
                    path: install(&world, &digest, read)?,
                    digest,
                })
            })
            .await?;
            return Ok(Prepared::Ready(Output::new(file)));
        }
        let artifact = input::<TreeValue>(inputs, 0)?;
        let path = TreePath::clean(self.path.as_bytes());
        let Some(Node::File { size, digest }) =
            artifact.tree.get(&path).map(|entry| entry.node.clone())
        else {
            return Err(OpError::failed_text(format!(
                "the artifact has no file {}",
                self.path
            )));
        };
        let digest = BlobDigest(digest);
        let world = Arc::clone(&self.world);
        let file = blocking(move || {
            install(&world, &digest, || {
                use std::io::Read as _;
                use tbuild_oci::FileContent as _;
                let from = origin(&world, &artifact.place, &path, size)?;
                let entry = tbuild_tree::Entry::new(
                    path.clone(),
                    0o755,
                    Node::File {
                        size,
                        digest: digest.0,
                    },
                );
                let mut contents = Contents::new(
                    &world,
                    std::collections::HashMap::from([(path.clone(), from)]),
                );
                let mut bytes = Vec::new();
                let read = contents
                    .open(&entry)
                    .and_then(|mut reader| reader.read_to_end(&mut bytes));
                read.map_err(|error| OpError::internal(&error))?;
                Ok(bytes)
            })
        })
        .await?;
        Ok(Prepared::Ready(Output::new(FileValue {
            path: file,
            digest,
        })))
    }
}

/// A file at a URL, pinned by its SHA-256.
pub(crate) struct Download {
    pub world: Arc<World>,
    pub url: String,
    pub sha256: String,
    /// The file in the archive; none: the file itself.
    pub member: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Got {
    file: BlobDigest,
}

#[async_trait]
impl Op for Download {
    fn title(&self) -> String {
        format!("download {}", self.url)
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        Sha256::from_hex(&self.sha256).map_err(|error| OpError::usage(error.to_string()))?;
        let manifest = KeyManifest::new("tool.url/1")
            .text("url", &self.url)
            .text("sha256", &self.sha256)
            .text("member", self.member.as_deref().unwrap_or(""));
        Ok(Prepared::Action(Work {
            manifest,
            impure: Vec::new(),
            force: false,
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let digest = BlobDigest(
            Sha256::from_hex(&self.sha256).map_err(|error| OpError::usage(error.to_string()))?,
        );
        if self.world.offline && self.world.store.blob_size(&digest)?.is_none() {
            let message = format!(
                "{} is not in the store, and --offline refuses to fetch it",
                self.url
            );
            return Err(OpError::Lock {
                message,
                hints: Vec::new(),
            });
        }
        let (world, cx, url) = (Arc::clone(&self.world), cx.clone(), self.url.clone());
        let member = self.member.clone();
        let handle = tokio::runtime::Handle::current();
        let file = blocking(move || {
            let http =
                Http::new(&world.machine.http).map_err(|error| OpError::unreachable(&error))?;
            let store = Arc::clone(&world.store) as Arc<dyn tbuild_store::Store>;
            let fetch = Fetch {
                name: url.clone(),
                urls: vec![url],
                sha256: Some(digest),
                size: None,
            };
            let progress =
                |_: &str, done: u64, total: Option<u64>| cx.progress("download", done, total, true);
            let got = handle.block_on(http.download(&fetch, &store, &progress));
            let got = got.map_err(|error| OpError::unreachable(&error))?;
            match member {
                Some(member) => extract_member(store.as_ref(), &got.digest, &member)
                    .map(|(digest, _)| digest)
                    .map_err(|error| OpError::failed(&error)),
                None => Ok(got.digest),
            }
        })
        .await?;
        serde_json::to_value(Got { file }).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(got) = Got::deserialize(result) else {
            return Ok(None);
        };
        let world = &self.world;
        if world.store.blob_size(&got.file)?.is_none() {
            return Ok(None);
        }
        let path = tokio::task::block_in_place(|| {
            install(world, &got.file, || {
                Ok(world.store.read_blob(&got.file)?.unwrap_or_default())
            })
        })?;
        Ok(Some(Output::new(FileValue {
            path,
            digest: got.file,
        })))
    }
}
