//! Charts, packaged; and their values, checked.

use std::any::Any;
use std::io::Read as _;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;
use tbuild_graph::KeyManifest;
use tbuild_helm::package;
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_store::Store as _;
use tbuild_tree::Node;

use crate::content::{Contents, origin};
use crate::value::input;
use crate::world::blocking;
use crate::{ChartValue, TreeValue, World, listing};

/// A chart. Its input: the folder.
pub(crate) struct Chart {
    pub world: Arc<World>,
    pub name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    name: String,
    version: String,
    blob: BlobDigest,
    size: u64,
}

fn pack(world: &World, folder: &TreeValue) -> Result<Packed, OpError> {
    let mut content = |entry: &tbuild_tree::Entry| -> std::io::Result<Vec<u8>> {
        use tbuild_oci::FileContent as _;
        let size = if let Node::File { size, .. } = entry.node {
            size
        } else {
            0
        };
        let from =
            origin(world, &folder.place, &entry.path, size).map_err(std::io::Error::other)?;
        let mut contents = Contents::new(
            world,
            std::collections::HashMap::from([(entry.path.clone(), from)]),
        );
        let mut bytes = Vec::new();
        contents.open(entry)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let package = package(&folder.tree, &mut content).map_err(|error| OpError::failed(&error))?;
    let blob = world.store.put_blob(&package.archive)?;
    Ok(Packed {
        size: package.archive.len() as u64,
        blob,
        name: package.name,
        version: package.version,
    })
}

#[async_trait]
impl Op for Chart {
    fn title(&self) -> String {
        format!("package chart {}", self.name)
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let folder = input::<TreeValue>(inputs, 0)?;
        listing::keep(self.world.store.as_ref(), &folder.digest, &folder.tree)?;
        let manifest = KeyManifest::new("chart/1").files("the chart's folder", folder.digest);
        Ok(Prepared::Action(Work {
            manifest,
            impure: Vec::new(),
            force: false,
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        _: &Context,
        inputs: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let (world, folder) = (Arc::clone(&self.world), input::<TreeValue>(inputs, 0)?);
        let packed = blocking(move || pack(&world, &folder)).await?;
        serde_json::to_value(packed).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(packed) = Packed::deserialize(result) else {
            return Ok(None);
        };
        let Packed {
            name,
            version,
            blob,
            size,
        } = packed;
        let there = self.world.store.blob_size(&blob)? == Some(size);
        Ok(there.then(|| {
            Output::new(ChartValue {
                name,
                version,
                blob,
                size,
            })
        }))
    }
}
