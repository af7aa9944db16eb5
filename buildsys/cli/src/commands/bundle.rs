//! `tbuild bundle`: what targets need, in one file, for machines without a network.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use tbuild_bundle::{BundleError, Content};
use tbuild_config::{Kind, NodeRef};
use tbuild_digest::{ActionKey, HashingReader, HashingWriter, Sha256};
use tbuild_kinds::{BUILD_ONLY, ELSEWHERE, LEFT_OUT, LeftOut, Nodes};

use crate::args::{Global, Progress};
use crate::engine::{Engine, open_store};
use crate::error::{CliError, chain};
use crate::project::{Project, lockfiles};
use crate::report::{bytes, eprint};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Build targets, push and deploy nothing, and write all that they need into one file; prints its digest
    Create {
        /// Where to; - is standard output
        #[arg(short = 'o', long, value_name = "FILE")]
        output: PathBuf,
        /// What it is good for
        #[arg(long, value_name = "WHAT", value_enum, default_value_t = Closure::Build)]
        closure: Closure,
        /// The targets [default: the project's, and the images of its node]
        targets: Vec<String>,
    },
    /// Read such a file into the store: records of builds are taken as its maker wrote them
    Load {
        /// The file; - is standard input
        file: PathBuf,
        /// Refuse a file of another digest, before any of it is read into the store
        #[arg(long, value_name = "sha256:HEX")]
        digest: Option<String>,
    },
}

/// What a bundle is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Closure {
    /// Building again what has changed: all stages, and the locked bytes that they are made from.
    Build,
    /// Running what is built: without packages, requests and layers that only building needs.
    Run,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    match &arguments.action {
        Action::Create {
            output,
            closure,
            targets,
        } => create(global, output, *closure, targets).await,
        Action::Load { file, digest } => load(global, file, digest.as_deref()),
    }
}

fn failure(error: &BundleError) -> CliError {
    CliError::failed(chain(error))
}

/// Says how far it is, at every tenth of the whole.
fn meter(global: &Global, what: &'static str) -> impl FnMut(u64, u64) + use<> {
    const PARTS: u64 = 10;
    let silent = global.json || matches!(global.progress, Progress::Quiet | Progress::Json);
    let mut said = 0;
    move |done, all| {
        let part = done.saturating_mul(PARTS).checked_div(all).unwrap_or(PARTS);
        if part > said && !silent {
            eprint(&format!("{what} {} of {}\n", bytes(done), bytes(all)));
            said = part;
        }
    }
}

/// The project's own targets, and what its node is made of.
fn everything(project: &Project) -> Vec<NodeRef> {
    let config = &project.config;
    let default = config.project.default.iter();
    let mut wanted: Vec<NodeRef> = default.map(|name| name.value.clone()).collect();
    if let Some(node) = &config.node {
        let images = std::iter::once(&node.image).chain(node.images.values());
        wanted.extend(images.map(|image| NodeRef::new(Kind::Image, &image.value)));
    }
    wanted
}

async fn create(
    global: &Global,
    output: &Path,
    closure: Closure,
    names: &[String],
) -> Result<u8, CliError> {
    let is_stdout = output.as_os_str() == "-";
    if is_stdout && global.json {
        return Err(CliError::usage(
            "-o - and --json: both take standard output",
        ));
    }
    let project = Project::load(global)?;
    let wanted = if names.is_empty() {
        everything(&project)
    } else {
        super::target::find(&project, names)?
    };
    if wanted.is_empty() {
        return Err(CliError::usage(
            "no target is named, and project.default has none",
        ));
    }
    let engine = Engine::new(global, project)?;
    let mut graph = Nodes::new();
    let mut targets = Vec::new();
    {
        let mut pipeline = engine.pipeline();
        for name in &wanted {
            targets.push(pipeline.node(&mut graph, name)?);
        }
        engine.warn(&pipeline.warnings);
        pipeline.can_run()?;
    }
    let nodes = graph
        .closure(&targets)
        .map_err(|error| CliError::usage(error.to_string()))?;
    // What has an effect is for where the bundle is loaded.
    let realised: Vec<_> = nodes
        .into_iter()
        .filter(|node| {
            let kind = graph.get(*node).kind;
            !kind.is_effect() && kind != tbuild_graph::NodeKind::Target
        })
        .collect();
    let graph = Arc::new(graph);
    let outcome = engine.realise(Arc::clone(&graph), &realised).await?;
    if global.dry_run {
        return Ok(0);
    }
    let actions: BTreeSet<ActionKey> = outcome
        .manifests
        .values()
        .map(tbuild_graph::KeyManifest::key)
        .collect();
    let mut known = BTreeSet::new();
    for key in actions {
        // What is worked out anew each time has no record: folders of this machine, an image put together.
        if tbuild_store::Store::action(engine.world.store.as_ref(), &key)?.is_some() {
            known.insert(key);
        }
    }
    let mut content = Content {
        targets: wanted.iter().map(ToString::to_string).collect(),
        actions: known,
        texts: lockfiles(&engine.project.folder),
        spaces: ELSEWHERE.to_vec(),
        ..Content::default()
    };
    if closure == Closure::Run {
        let left = LeftOut::of(&engine.world, &graph, &outcome)?;
        content.left_out = left.layers;
        content.references = left.references;
        content.without = BUILD_ONLY.to_vec();
        // Tools are taken as they are locked.
        let is_of_tool = |text: &String| text.contains("\nkind = \"tool\"\n");
        content.texts.retain(is_of_tool);
    }
    let store = Arc::clone(&engine.world.store);
    let mut progress = meter(global, "packed");
    let (manifest, digest, size) = write_file(output, |out| {
        tbuild_bundle::write(store.as_ref(), &content, out, &mut progress)
    })?;
    engine.say(&format!(
        "{}: {} records and {} blobs ({}) in {}",
        output.display(),
        manifest.actions,
        manifest.blobs,
        bytes(manifest.bytes),
        bytes(size)
    ));
    let digest = format!("sha256:{}", digest.hex());
    if global.json {
        crate::output::line(serde_json::json!({"event": "bundle", "digest": digest, "size": size}));
    } else if !is_stdout {
        crate::output::line(digest);
    }
    Ok(0)
}

/// Writes a file whole or not at all; what `write` returns, the file's digest and its size.
fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, BundleError>,
) -> Result<(T, Sha256, u64), CliError> {
    let failed = |path: &Path, error: std::io::Error| {
        CliError::failed(format!("cannot write {}: {error}", path.display()))
    };
    if path.as_os_str() == "-" {
        let mut out = HashingWriter::new(BufWriter::new(std::io::stdout().lock()));
        let written = write(&mut out).map_err(|error| failure(&error))?;
        out.flush().map_err(|error| failed(path, error))?;
        let (_, digest, size) = out.finish();
        return Ok((written, digest, size));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let file = File::create(&part).map_err(|error| failed(&part, error))?;
    let mut out = HashingWriter::new(BufWriter::with_capacity(1 << 20, file));
    let result = write(&mut out).map_err(|error| failure(&error));
    let done = result.and_then(|written| {
        let (out, digest, size) = out.finish();
        out.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, path))
            .map_err(|error| failed(path, error))?;
        Ok((written, digest, size))
    });
    if done.is_err() {
        // It may have been renamed already.
        let _gone = std::fs::remove_file(&part);
    }
    done
}

fn load(global: &Global, path: &Path, digest: Option<&str>) -> Result<u8, CliError> {
    let is_stdin = path.as_os_str() == "-";
    let input: Box<dyn Read> = match digest {
        Some(_) if is_stdin => {
            return Err(CliError::usage(
                "--digest: standard input can be read but once",
            ));
        }
        None if is_stdin => Box::new(std::io::stdin().lock()),
        Some(wanted) => Box::new(checked(path, wanted)?),
        None => Box::new(open(path)?),
    };
    let store = open_store(global)?;
    let _hold = store.hold()?;
    let mut progress = meter(global, "read");
    let input = BufReader::with_capacity(1 << 20, input);
    let spaces = [&ELSEWHERE[..], &[LEFT_OUT]].concat();
    let loaded = tbuild_bundle::load(&store, input, &spaces, &mut progress);
    let loaded = loaded.map_err(|error| {
        let failure = CliError::failed(format!("{}: {}", path.display(), chain(&error)));
        if error.is_malformed() {
            failure.hint("copy the file again; its maker was told its digest: --digest checks it")
        } else {
            failure
        }
    })?;
    if global.progress != Progress::Quiet && !global.json {
        eprint(&format!(
            "{} of {} records and {} of {} blobs ({}) are new; for {}\n",
            loaded.new_actions,
            loaded.manifest.actions,
            loaded.new_blobs,
            loaded.manifest.blobs,
            bytes(loaded.new_bytes),
            loaded.manifest.targets.join(" ")
        ));
    }
    Ok(0)
}

fn open(path: &Path) -> Result<File, CliError> {
    File::open(path)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))
}

/// A file that has been read once, and refused if its digest is another.
fn checked(path: &Path, wanted: &str) -> Result<File, CliError> {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let wanted = Sha256::from_hex(hex)
        .map_err(|error| CliError::usage(format!("--digest {wanted}: {error}")))?;
    let unreadable = |error| CliError::failed(format!("cannot read {}: {error}", path.display()));
    let mut file = open(path)?;
    let mut reader = HashingReader::new(&file);
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(unreadable)?;
    let (found, _) = reader.finish();
    if found != wanted {
        return Err(CliError {
            code: 4,
            ..CliError::failed(format!(
                "{} is sha256:{}, not sha256:{}",
                path.display(),
                found.hex(),
                wanted.hex()
            ))
        });
    }
    file.rewind().map_err(unreadable)?;
    Ok(file)
}
