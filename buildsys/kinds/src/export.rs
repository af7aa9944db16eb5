//! Images written out: archives, OCI layouts, plain folders; or handed to a Docker Engine.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use tbuild_docker::DockerEngine;
use tbuild_oci::{
    ArchiveFile, Descriptor, Opener, PlainLayer, PlatformImage, docker_archive, media_type,
    oci_index_layout, oci_layout, write_archive, write_layer,
};
use tbuild_realise::OpError;
use tbuild_store::Store as _;
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::content::{Contents, Origin, origin_in_layers};
use crate::gzip::compressed;
use crate::index::{Built, described_as};
use crate::{ImageValue, World};

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What `docker load` takes: a tar.
    DockerArchive,
    /// An OCI image layout in a tar.
    OciArchive,
    /// An OCI image layout in a folder.
    OciFolder,
    /// The files of the image in a folder.
    Folder,
    /// The files of the image in a tar.
    Tar,
}

fn failed(what: &str, path: &Path) -> impl Fn(io::Error) -> OpError {
    let text = format!("cannot {what} {}", path.display());
    move |error| OpError::failed_text(format!("{text}: {error}"))
}

fn blob(world: &World, digest: tbuild_digest::BlobDigest) -> Opener<'_> {
    Box::new(move || {
        let reader = world.store.open_blob(&digest).map_err(io::Error::other)?;
        let reader =
            reader.ok_or_else(|| io::Error::other(format!("blob {digest} is not in the store")))?;
        Ok(Box::new(reader) as Box<dyn Read>)
    })
}

/// The files of a docker-archive.
fn docker_files<'a>(
    world: &'a World,
    image: &ImageValue,
    names: &[String],
) -> Vec<ArchiveFile<'a>> {
    let layers = image.state.layers.iter().map(|layer| PlainLayer {
        diff_id: layer.diff_id,
        size: layer.size,
        open: blob(world, layer.diff_id.as_uncompressed_blob()),
    });
    let tagged = |name: &String| {
        if name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'))
        {
            name.clone()
        } else {
            format!("{name}:latest")
        }
    };
    docker_archive(
        &image.config,
        layers.collect(),
        &names.iter().map(tagged).collect::<Vec<_>>(),
    )
}

/// The layers of an image, compressed, with where to read them.
fn packed_layers<'a>(
    world: &'a World,
    image: &ImageValue,
) -> Result<Vec<(Descriptor, Opener<'a>)>, OpError> {
    let mut layers = Vec::new();
    for layer in &image.state.layers {
        let packed = compressed(world, layer)?;
        let descriptor = Descriptor::new(media_type::LAYER_GZIP, packed.digest, packed.size);
        layers.push((descriptor, blob(world, packed.digest)));
    }
    Ok(layers)
}

fn oci_files<'a>(
    world: &'a World,
    built: &Built,
    names: &[String],
) -> Result<Vec<ArchiveFile<'a>>, OpError> {
    let index = match built {
        Built::Image(image) => {
            return Ok(oci_layout(&image.config, packed_layers(world, image)?, names).0);
        }
        Built::Index(index) => index,
    };
    let mut images = Vec::new();
    for (platform, image) in &index.images {
        images.push(PlatformImage {
            platform: described_as(platform),
            config: image.config.to_vec(),
            layers: packed_layers(world, image)?,
        });
    }
    Ok(oci_index_layout(images, names).0)
}

/// Writes an image, or several as one, to `dest`: whole, or not at all. The files of several are in a folder a
/// platform, `linux_amd64` and so on, as with BuildKit.
pub fn write(
    world: &World,
    built: &Built,
    names: &[String],
    format: Format,
    dest: &Path,
) -> Result<(), OpError> {
    match format {
        Format::DockerArchive => match built {
            Built::Image(image) => archive(&docker_files(world, image, names), dest),
            Built::Index(_) => Err(one_alone("a Docker archive")),
        },
        Format::OciArchive => archive(&oci_files(world, built, names)?, dest),
        Format::OciFolder => folder(&oci_files(world, built, names)?, dest),
        Format::Folder => match built {
            Built::Image(image) => files(world, image, dest),
            Built::Index(index) => index.images.iter().try_for_each(|(platform, image)| {
                files(world, image, &dest.join(platform.joined("_")))
            }),
        },
        Format::Tar => to_file(dest, |out| flat(world, built, false, out)),
    }
}

/// Why several platforms cannot be handed on.
fn one_alone(what: &str) -> OpError {
    OpError::usage(format!("{what} holds the image of one platform")).hint(
        "--push and type=oci take the images of several as one index; --platform leaves one alone",
    )
}

fn to_file(
    dest: &Path,
    fill: impl FnOnce(&mut dyn io::Write) -> Result<(), OpError>,
) -> Result<(), OpError> {
    if dest == Path::new("-") {
        let mut out = io::BufWriter::with_capacity(1 << 20, io::stdout().lock());
        fill(&mut out)?;
        return out.flush().map_err(failed("write", dest));
    }
    let parent = dest
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(parent).map_err(failed("write", dest))?;
    let mut out = io::BufWriter::with_capacity(1 << 20, file);
    fill(&mut out)?;
    let file = out
        .into_inner()
        .map_err(|error| failed("write", dest)(error.into_error()))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))
        .map_err(|error| failed("write", dest)(error.into()))?;
    file.persist(dest)
        .map_err(|error| failed("write", dest)(error.error))?;
    Ok(())
}

fn archive(files: &[ArchiveFile<'_>], dest: &Path) -> Result<(), OpError> {
    to_file(dest, |out| {
        write_archive(files, out).map_err(failed("write", dest))
    })
}

fn folder(files: &[ArchiveFile<'_>], dest: &Path) -> Result<(), OpError> {
    for file in files {
        let path = dest.join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap_or(dest)).map_err(failed("make", dest))?;
        to_file(&path, |out| {
            let mut reader = (file.open)().map_err(failed("read", &path))?;
            io::copy(&mut reader, out)
                .map(drop)
                .map_err(failed("write", &path))
        })?;
    }
    Ok(())
}

/// The merged files as one tar; `mine`: all of them owned by 0.
fn flat(world: &World, built: &Built, mine: bool, out: &mut dyn io::Write) -> Result<(), OpError> {
    let (mut entries, mut origins) = (Vec::new(), HashMap::new());
    match built {
        Built::Image(image) => merged(world, image, &TreePath::root(), &mut entries, &mut origins)?,
        Built::Index(index) => {
            for (platform, image) in &index.images {
                let folder = TreePath::clean(platform.joined("_").as_bytes());
                entries.push(Entry::new(folder.clone(), 0o755, Node::Directory));
                merged(world, image, &folder, &mut entries, &mut origins)?;
            }
        }
    }
    if mine {
        for entry in &mut entries {
            (entry.uid, entry.gid) = (0, 0);
        }
    }
    let tree = Tree::new(entries).map_err(|error| OpError::internal(&error))?;
    write_layer(&tree, &mut Contents::new(world, origins), out)
        .map_err(|error| OpError::failed(&error))?;
    Ok(())
}

/// Adds an image's merged files below `folder`.
fn merged(
    world: &World,
    image: &ImageValue,
    folder: &TreePath,
    entries: &mut Vec<Entry>,
    origins: &mut HashMap<TreePath, Origin>,
) -> Result<(), OpError> {
    let layers = &image.state.layers;
    let view = world.rootfs(layers)?;
    let tree = view.flatten().map_err(|error| OpError::internal(&error))?;
    for mut entry in tree.into_entries() {
        let path = folder.join_path(&entry.path);
        match &mut entry.node {
            Node::File { size, .. } => {
                let origin = origin_in_layers(world, layers, &view, &entry.path, *size)?;
                origins.insert(path.clone(), origin);
            }
            Node::Hardlink { target } => *target = folder.join_path(target),
            // The root of an image is its platform's folder.
            Node::Directory if entry.path.is_root() && !folder.is_root() => continue,
            _ => {}
        }
        entry.path = path;
        entries.push(entry);
    }
    Ok(())
}

/// The image's merged files in a folder: with their owners by root, else all owned by the user, who could not
/// so much as remove them otherwise.
fn files(world: &World, image: &ImageValue, dest: &Path) -> Result<(), OpError> {
    std::fs::create_dir_all(dest).map_err(failed("make", dest))?;
    let mut tar = tempfile::tempfile().map_err(failed("write", dest))?;
    let built = Built::Image(Arc::new(image.clone()));
    flat(world, &built, world.rootless, &mut tar)?;
    io::Seek::rewind(&mut tar).map_err(failed("read", dest))?;
    tbuild_store_local::unpack_layer(io::BufReader::with_capacity(1 << 20, tar), dest)
        .map_err(|error| OpError::failed(&error))
}

/// Hands an image to the Docker Engine at `host`, or at its usual place.
pub async fn load(
    world: Arc<World>,
    built: Built,
    names: Vec<String>,
    host: Option<String>,
) -> Result<(), OpError> {
    let Built::Image(image) = built else {
        return Err(one_alone("the Docker Engine"));
    };
    let unreachable = |error: tbuild_docker::DockerError| {
        let failed = if error.is_unreachable() {
            OpError::unreachable(&error)
        } else {
            OpError::failed(&error)
        };
        error.hints().into_iter().fold(failed, OpError::hint)
    };
    let engine = DockerEngine::connect(host.as_deref()).map_err(unreachable)?;
    // Through a file: the engine reads at its own pace, and what it reads has to be there in full.
    let written = tokio::task::spawn_blocking(move || -> Result<std::fs::File, OpError> {
        let mut file = tempfile::tempfile().map_err(|error| OpError::internal(&error))?;
        let files = docker_files(&world, &image, &names);
        {
            let mut out = io::BufWriter::with_capacity(1 << 20, &mut file);
            write_archive(&files, &mut out)
                .and_then(|()| out.flush())
                .map_err(|error| OpError::internal(&error))?;
        }
        io::Seek::rewind(&mut file).map_err(|error| OpError::internal(&error))?;
        Ok(file)
    });
    let file = written.await.map_err(|error| OpError::internal(&error))??;
    engine.load(file).await.map_err(unreachable)?;
    Ok(())
}

/// Writes a tree's files into a folder.
pub fn tree(world: &World, tree: &crate::TreeValue, dest: &Path) -> Result<(), OpError> {
    std::fs::create_dir_all(dest).map_err(failed("make", dest))?;
    let layer = crate::artifact::layer_of(world, tree)?.diff_id;
    let blob = world
        .store
        .open_blob(&layer.as_uncompressed_blob())?
        .ok_or_else(|| OpError::Internal {
            message: format!("layer {layer} is not in the store"),
        })?;
    tbuild_store_local::unpack_layer(io::BufReader::with_capacity(1 << 20, blob), dest)
        .map_err(|error| OpError::failed(&error))
}
