//! `tbuild build CONTEXT`: any Dockerfile, with docker build's flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_digest::BlobDigest;
use tbuild_dockerfile::Platform;
use tbuild_kinds::adhoc::{self, Build};
use tbuild_kinds::export::{self, Format};
use tbuild_kinds::{Built, Nodes, PushValue, platforms};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;
use crate::steps::StepArguments;

/// Where an image goes besides the store.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArguments {
    /// Push it to the registry of its name
    #[arg(long)]
    pub push: bool,
    /// Hand it to the Docker Engine
    #[arg(long)]
    pub load: bool,
    /// Write it: type=oci|docker|local|tar,dest=PATH[,tar=false]; may be repeated
    #[arg(short = 'o', long, value_name = "SPEC")]
    pub output: Vec<String>,
}

/// One place to write an image to.
pub struct OutputSpec {
    format: Format,
    dest: PathBuf,
}

impl OutputArguments {
    /// Refuses what takes one image alone, where there are several.
    pub fn refuse_several(
        &self,
        outputs: &[OutputSpec],
        platforms: &[Platform],
    ) -> Result<(), CliError> {
        let docker = |output: &OutputSpec| output.format == Format::DockerArchive;
        let what = if self.load {
            "--load"
        } else if outputs.iter().any(docker) {
            "--output type=docker"
        } else {
            return Ok(());
        };
        let all: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        Err(CliError::usage(format!(
            "{what} takes the image of one platform, and this builds for {}: what the Docker Engine loads has \
             no index",
            all.join(", ")
        ))
        .hint("--push and --output type=oci take all of them as one index")
        .hint(format!("--platform={} leaves one alone", all[0])))
    }

    /// Reads the specifications.
    pub fn parse(&self) -> Result<Vec<OutputSpec>, CliError> {
        self.output.iter().map(|text| parse(text)).collect()
    }
}

fn parse(text: &str) -> Result<OutputSpec, CliError> {
    let wrong = |why: &str| {
        CliError::usage(format!("--output {text}: {why}"))
            .hint("type=oci|docker|local|tar,dest=PATH[,tar=false]")
    };
    let mut fields = BTreeMap::new();
    if text.contains('=') {
        for field in text.split(',') {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| wrong(&format!("{field} has no value")))?;
            fields.insert(name, value);
        }
    } else {
        // As with docker build, a bare path is a folder.
        fields.insert("type", "local");
        fields.insert("dest", text);
    }
    let as_tar = match fields.get("tar").copied() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(wrong("tar is true or false")),
    };
    let format = match fields.get("type").copied() {
        Some("oci") if as_tar => Format::OciArchive,
        Some("oci") => Format::OciFolder,
        Some("docker") => Format::DockerArchive,
        Some("local") => Format::Folder,
        Some("tar") => Format::Tar,
        Some(other) => return Err(wrong(&format!("there is no type {other}"))),
        None => return Err(wrong("it has no type")),
    };
    if let Some(unknown) = fields
        .keys()
        .find(|name| !["type", "dest", "tar"].contains(*name))
    {
        return Err(wrong(&format!("there is no field {unknown}")));
    }
    let dest = fields.get("dest").ok_or_else(|| wrong("it has no dest"))?;
    Ok(OutputSpec {
        format,
        dest: PathBuf::from(dest),
    })
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The build context: a folder
    #[arg(value_name = "CONTEXT")]
    context: PathBuf,
    /// The Dockerfile [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Its name; may be repeated
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A value for an ARG; without a value, that of the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// A named context
    #[arg(long, value_name = "NAME=PATH")]
    build_context: Vec<String>,
    /// A label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// What it is for: os/architecture[/variant]; several make one index of images [default: this machine]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<String>,
    /// Check the Dockerfile, and build nothing
    #[arg(long)]
    check: bool,
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    steps: StepArguments,
}

fn pair(flag: &str, text: &str) -> Result<(String, String), CliError> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| CliError::usage(format!("{flag} {text}: NAME=VALUE is expected")))
}

impl Arguments {
    /// What the lock of the steps' network is called after: the first name without its registry and tag, or the
    /// context's folder.
    fn lock_name(&self, context: &Path) -> String {
        if let Some(tag) = self.tag.first() {
            let last = tag.rsplit('/').next().unwrap_or(tag);
            return last.split([':', '@']).next().unwrap_or(last).to_owned();
        }
        let folder = context.canonicalize().ok();
        let name = folder.as_deref().and_then(Path::file_name);
        name.map_or_else(
            || "build".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    fn build(&self, start: &Path) -> Result<Build, CliError> {
        let context = start.join(&self.context);
        if !context.is_dir() {
            return Err(CliError::usage(format!(
                "the build context {} is no folder",
                self.context.display()
            )));
        }
        let file = self
            .file
            .as_ref()
            .map_or_else(|| context.join("Dockerfile"), |file| start.join(file));
        let text = tbuild_kinds::dockerfile(&file, self.file.is_some())
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
        let platforms = self.platform.iter().map(|text| {
            Platform::parse(text).ok_or_else(|| {
                CliError::usage(format!("--platform {text}: os/architecture is expected"))
            })
        });
        let platforms = platforms::sorted(&platforms.collect::<Result<Vec<_>, _>>()?);
        let args = self
            .build_arg
            .iter()
            .filter_map(|text| match text.split_once('=') {
                Some((name, value)) => Some((name.to_owned(), value.to_owned())),
                None => std::env::var(text).ok().map(|value| (text.clone(), value)),
            });
        let contexts = self.build_context.iter().map(|text| {
            let (name, path) = pair("--build-context", text)?;
            Ok((name, start.join(path)))
        });
        Ok(Build {
            lock: self.lock_name(&context),
            context,
            file,
            text,
            target: self.target.clone(),
            args: args.collect(),
            contexts: contexts.collect::<Result<_, CliError>>()?,
            labels: self
                .label
                .iter()
                .map(|text| pair("--label", text))
                .collect::<Result<_, _>>()?,
            platforms,
        })
    }
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load_or_empty(global)?;
    let outputs = arguments.output.parse()?;
    let start = global
        .directory
        .clone()
        .unwrap_or_else(|| PathBuf::from("."));
    let start = std::path::absolute(start).map_err(|error| CliError::internal(&error))?;
    let build = arguments.build(&start)?;
    if build.platforms.len() > 1 {
        arguments
            .output
            .refuse_several(&outputs, &build.platforms)?;
    }
    let steps = arguments.steps.settings(&start)?;
    let engine = Engine::with_steps(global, project, steps)?;
    if arguments.check {
        return check(&engine, &build);
    }
    let mut graph = Nodes::new();
    let mut pipeline = engine.pipeline();
    let show = engine.show();
    let image = adhoc::add(&engine.world, &mut graph, &build, &mut pipeline, &show)?;
    let mut targets = vec![image];
    if arguments.output.push {
        if arguments.tag.is_empty() {
            return Err(CliError::usage(
                "--push needs a name: -t REGISTRY/REPOSITORY:TAG",
            ));
        }
        for (number, tag) in arguments.tag.iter().enumerate() {
            targets.push(pipeline.push_as(&mut graph, image, &format!("build {number}"), tag)?);
        }
    }
    engine.warn(&pipeline.warnings);
    if !global.dry_run {
        pipeline.can_run()?;
    }
    drop(pipeline);
    let outcome = engine.realise(Arc::new(graph), &targets).await?;
    if global.dry_run {
        return Ok(0);
    }
    let value = outcome.outputs.get(&image).and_then(Built::of);
    let value = value.ok_or_else(|| CliError::failed("the image was not built"))?;
    let id = deliver(
        &engine,
        &value,
        &arguments.tag,
        &outputs,
        arguments.output.load,
    )
    .await?;
    if let Some(file) = &arguments.iidfile {
        std::fs::write(start.join(file), id.to_string()).map_err(|error| {
            CliError::failed(format!("cannot write {}: {error}", file.display()))
        })?;
    }
    if !global.json {
        crate::output::line(id);
        for pushed in targets[1..]
            .iter()
            .filter_map(|node| outcome.outputs.get(node)?.get::<PushValue>())
        {
            crate::output::line(&pushed.reference);
        }
    }
    Ok(0)
}

/// `--check`: as with `docker build --check`, any finding is exit code 1.
fn check(engine: &Engine, build: &Build) -> Result<u8, CliError> {
    let findings = adhoc::check(&engine.world, build, &mut engine.pipeline())?;
    if engine.global.json {
        crate::output::json(&findings);
        return Ok(u8::from(!findings.is_empty()));
    }
    let show = engine.show();
    let file = build.file.display().to_string();
    for finding in &findings {
        crate::output::line(show(&file, &build.text, finding));
    }
    crate::output::line(match findings.len() {
        0 => "check complete: no findings".to_owned(),
        1 => "check complete: 1 finding".to_owned(),
        count => format!("check complete: {count} findings"),
    });
    Ok(u8::from(!findings.is_empty()))
}

/// Writes an image, or several as one, where it is wanted, and hands it to the Docker Engine if asked. Returns
/// what it is known by.
pub async fn deliver(
    engine: &Engine,
    built: &Built,
    names: &[String],
    outputs: &[OutputSpec],
    load: bool,
) -> Result<BlobDigest, CliError> {
    for output in outputs {
        let (world, built, names) = (Arc::clone(&engine.world), built.clone(), names.to_vec());
        let (format, dest) = (output.format, output.dest.clone());
        let written = tokio::task::spawn_blocking(move || {
            export::write(&world, &built, &names, format, &dest)
        });
        written
            .await
            .map_err(|error| CliError::internal(&error))??;
    }
    if load {
        let (world, built, names) = (Arc::clone(&engine.world), built.clone(), names.to_vec());
        export::load(world, built, names, std::env::var("DOCKER_HOST").ok()).await?;
    }
    let (world, built) = (Arc::clone(&engine.world), built.clone());
    let id = tokio::task::spawn_blocking(move || built.id(&world));
    Ok(id.await.map_err(|error| CliError::internal(&error))??)
}
