//! What every command that realises nodes shares: the store, the machine, the run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_config::Config;
use tbuild_docker::{DockerEngine, DockerError, DockerExecutor};
use tbuild_dockerfile::Diagnostic;
use tbuild_exec::{Cancel, Executor};
use tbuild_fetch::{HttpOptions, MachineConfig, Origins};
use tbuild_graph::NodeId;
use tbuild_kinds::{Machine, Nodes, Show, StepSettings, World, pipeline::Pipeline};
use tbuild_realise::{Options, Outcome, realise};
use tbuild_registry::{Credentials, Proxies, RegistryOptions};
use tbuild_sandbox::Sandbox;
use tbuild_store::{Store, StoreError};
use tbuild_store_local::{Hold, LocalStore};

use crate::args::{Global, Progress, Runner};
use crate::doctor::find_program;
use crate::error::{CliError, chain, show_failures};
use crate::project::Project;
use crate::report::{Report, colored, eprint};

/// Where the store is.
pub fn store_path(global: &Global) -> PathBuf {
    if let Some(path) = &global.store {
        return std::path::absolute(path).unwrap_or_else(|_| path.clone());
    }
    cache_folder().join("tbuild")
}

fn cache_folder() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
}

/// Where a node's data is: beside the store, so that a test's store has a node of its own.
pub fn node_data(global: &Global) -> PathBuf {
    let mut folder = store_path(global).into_os_string();
    folder.push("-node");
    PathBuf::from(folder)
}

/// The kubeconfigs to use: KUBECONFIG's, else the node's of this store, else the user's.
pub fn kubeconfigs(global: &Global) -> Vec<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        return std::env::split_paths(&list).collect();
    }
    let own = node_data(global).join("kubeconfig");
    if own.exists() {
        return vec![own];
    }
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    home.into_iter().filter(|file| file.exists()).collect()
}

/// Opens the store.
pub fn open_store(global: &Global) -> Result<LocalStore, CliError> {
    LocalStore::open(&store_path(global)).map_err(|error| match error {
        StoreError::Format { .. } => {
            CliError::usage(error.to_string()).hint("--store or TBUILD_STORE names another folder")
        }
        error => CliError::internal(&error),
    })
}

/// Gives a store whose file system can hold no unpacked layers a place in memory for them. To be called while the
/// process has one thread. Whether there was need of it.
pub fn unpack_in_memory(global: &Global) -> Result<bool, CliError> {
    let path = store_path(global);
    if !tbuild_store_local::needs_memory(&path) {
        return Ok(false);
    }
    open_store(global)?;
    let memory = path.join(tbuild_store_local::MEMORY);
    std::fs::create_dir_all(&memory)
        .and_then(|()| tbuild_sandbox::mount_memory(&memory))
        .map_err(|error| {
            let what = format!("cannot mount memory on {}: {error}", memory.display());
            CliError::unreachable(what).hint(ON_A_VOLUME)
        })?;
    Ok(true)
}

/// What to do where a store's file system can hold no unpacked layers.
pub const ON_A_VOLUME: &str = "overlayfs and NFS hold no unpacked layers: they lie in memory, and every run unpacks \
     them again; a store on a volume or a local disk is quicker (--store, TBUILD_STORE)";

/// The machine's trusted certificates as one PEM bundle.
fn ca_bundle(env: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let named = env.get("SSL_CERT_FILE").cloned();
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    named
        .into_iter()
        .chain(usual.map(str::to_owned))
        .find_map(|path| std::fs::read(path).ok())
}

/// What is known of this machine.
pub fn machine(global: &Global) -> Result<Machine, CliError> {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let config =
        MachineConfig::read(Path::new("/"), &env).map_err(|error| CliError::internal(&error))?;
    let origins = Origins::from_machine(&config).map_err(|error| CliError::usage(chain(&error)))?;
    let client_env =
        tbuild_fetch::client_env(&config).map_err(|error| CliError::usage(chain(&error)))?;
    let http = HttpOptions::from_machine(&config);
    let registry = RegistryOptions {
        credentials: match env
            .get("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| env.get("HOME").map(|home| Path::new(home).join(".docker")))
        {
            Some(folder) => Credentials::DockerConfig(folder.join("config.json")),
            None => Credentials::Anonymous,
        },
        ca_file: http.ca_file.clone(),
        ca_dir: http.ca_dir.clone(),
        proxies: Proxies {
            http: http.proxies.http.clone(),
            https: http.proxies.https.clone(),
            no_proxy: http.proxies.no_proxy.clone(),
        },
        ..RegistryOptions::default()
    };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Ok(Machine {
        ca_bundle: ca_bundle(&env),
        resolv_conf: std::fs::read("/etc/resolv.conf").unwrap_or_default(),
        origins,
        client_env,
        http,
        registry,
        git_env: env.clone(),
        kubeconfigs: kubeconfigs(global),
        helm_env: helm_env(global, &env),
        platform: format!("linux/{architecture}"),
    })
}

/// helm's environment: folders of its own, and what credential plugins need.
fn helm_env(global: &Global, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let folder = store_path(global).join("scratch/helm");
    let mut own = BTreeMap::new();
    for (name, sub) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
    ] {
        own.insert(name.to_owned(), folder.join(sub).display().to_string());
    }
    for name in [
        "PATH",
        "HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTPS_PROXY",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        if let Some(value) = env.get(name) {
            own.insert(name.to_owned(), value.clone());
        }
    }
    own
}

/// What runs steps.
pub fn executor(global: &Global) -> Result<Arc<dyn Executor>, CliError> {
    let sandbox = || Sandbox::new(myself());
    Ok(match global.executor {
        Runner::Sandbox => Arc::new(sandbox()),
        Runner::Crun => Arc::new(sandbox().through_crun(crun()?)),
        Runner::Docker => Arc::new(docker()?),
    })
}

/// The executor on the Docker Engine that DOCKER_HOST names, or that is at its usual place.
fn docker() -> Result<DockerExecutor, CliError> {
    const INSTEAD: &str =
        "leave --executor out: steps run in namespaces of tbuild's own, to the same images";
    if tbuild_sandbox::userns::is_inside() {
        let what = "--executor docker: tbuild has to be root, and in no user namespace";
        return Err(CliError::unreachable(what).hint(format!("run it as root, or {INSTEAD}")));
    }
    let host = std::env::var("DOCKER_HOST").ok();
    let host = host.filter(|host| !host.is_empty());
    let executor = DockerEngine::connect(host.as_deref())
        .and_then(|engine| DockerExecutor::new(engine, myself(), std::env::temp_dir()));
    executor.map_err(|error| {
        let what = format!("--executor docker: {}", chain(&error));
        let failed = match error {
            // An address is the user's word.
            DockerError::Host { .. } => {
                CliError::usage(what).hint("DOCKER_HOST=unix:///path/to/docker.sock names one")
            }
            error => error
                .hints()
                .into_iter()
                .fold(CliError::unreachable(what), CliError::hint),
        };
        failed.hint(INSTEAD)
    })
}

/// Where crun is. It is called from elsewhere, so its path is absolute.
fn crun() -> Result<PathBuf, CliError> {
    find_program("crun")
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| {
            CliError::unreachable("--executor crun: there is no crun in PATH")
                .hint("install crun (the package has that name), or leave --executor out")
        })
}

/// The program itself, whatever has become of its file.
pub fn myself() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Set for commands of tbuild.toml when tbuild entered a user namespace before it started them.
pub const ROOTLESS: &str = "TBUILD_ROOTLESS";

/// What a program of the user's is started under: nothing, unless tbuild is in a user namespace of its own.
pub fn as_user(global: &Global) -> Vec<String> {
    if global.rootless {
        vec![
            myself().display().to_string(),
            tbuild_sandbox::userns::AS_USER_ARG.to_owned(),
        ]
    } else {
        Vec::new()
    }
}

/// Ctrl-C and SIGTERM cancel; what runs ends within moments, and nothing half-made is left.
pub fn listen(cancel: &Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let cancel = cancel.clone();
        if let Ok(mut stream) = signal(kind) {
            #[expect(
                clippy::let_underscore_future,
                clippy::exit,
                reason = "it lives as long as the program, and may end it"
            )]
            let _ = tokio::spawn(async move {
                let mut count = 0;
                while stream.recv().await.is_some() {
                    cancel.cancel();
                    count += 1;
                    if count > 2 {
                        // Asked three times: leave at once. Sandboxes die with us.
                        std::process::exit(130);
                    }
                }
            });
        }
    }
}

/// A command's surroundings.
pub struct Engine {
    /// The options.
    pub global: Global,
    /// The project.
    pub project: Project,
    /// What ops share.
    pub world: Arc<World>,
    /// The view.
    pub report: Report,
    /// Set by Ctrl-C.
    pub cancel: Cancel,
    /// Keeps what it makes from being collected.
    hold: Option<Hold>,
}

impl Engine {
    /// Opens the store and looks at the machine.
    pub fn new(global: &Global, project: Project) -> Result<Self, CliError> {
        Self::with_steps(global, project, StepSettings::default())
    }

    /// The same with what steps get besides.
    pub fn with_steps(
        global: &Global,
        project: Project,
        steps: StepSettings,
    ) -> Result<Self, CliError> {
        let store = Arc::new(open_store(global)?);
        let hold = Some(store.hold()?);
        let executor = executor(global)?;
        let mut world = World::new(store, executor, machine(global)?, project.folder.clone());
        world.offline = global.offline;
        world.frozen = global.frozen;
        world.steps = steps;
        // helm dies with the thread that started it, and so with tbuild, even on kill -9.
        let dies_too = ["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned);
        world.rootless = global.rootless;
        world.as_user = as_user(global);
        world.launcher = [world.as_user.as_slice(), dies_too.as_slice()].concat();
        let engine = Self {
            global: global.clone(),
            project,
            world: Arc::new(world),
            report: Report::new(global),
            cancel: Cancel::new(),
            hold,
        };
        if global.in_memory && global.progress != Progress::Quiet {
            eprint(&format!("warning: {ON_A_VOLUME}\n"));
        }
        listen(&engine.cancel);
        Ok(engine)
    }

    /// The same with a view of its own, for what begins anew.
    pub fn again(&self) -> Result<Self, CliError> {
        Ok(Self {
            global: self.global.clone(),
            project: self.project.clone(),
            world: Arc::clone(&self.world),
            report: Report::new(&self.global),
            cancel: self.cancel.clone(),
            hold: Some(self.world.store.hold()?),
        })
    }

    /// Lets garbage be collected while this waits for what may never come.
    pub fn rest(&mut self) {
        self.hold = None;
    }

    /// Says something to the user, unless they want events or silence.
    pub fn say(&self, text: &str) {
        let silent =
            self.global.json || matches!(self.global.progress, Progress::Quiet | Progress::Json);
        if !silent {
            eprint(&format!("{text}\n"));
        }
    }

    /// Shows findings that keep nothing from being built.
    pub fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            self.say(warning);
        }
    }

    /// How findings about Dockerfiles are shown.
    pub fn show(&self) -> Show {
        let color = colored(self.global.color, std::env::var_os("NO_COLOR").is_some());
        Arc::new(move |file: &str, text: &str, finding: &Diagnostic| {
            tbuild_config::render(finding, text, file, color)
        })
    }

    /// A pipeline over the project's configuration.
    pub fn pipeline(&self) -> Pipeline<'_> {
        self.pipeline_of(&self.project.config)
    }

    /// A pipeline over another configuration of the same project.
    pub fn pipeline_of<'a>(&'a self, config: &'a Config) -> Pipeline<'a> {
        Pipeline::new(&self.world, config, self.show())
    }

    /// How the options say that nodes are realised.
    pub fn options(&self) -> Options {
        Options {
            jobs: self
                .global
                .jobs
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            keep_going: self.global.keep_going,
            plan_only: self.global.dry_run,
        }
    }

    /// Realises targets. Failures have been shown when this returns; the exit code is in the error.
    pub async fn realise(
        &self,
        graph: Arc<Nodes>,
        targets: &[NodeId],
    ) -> Result<Outcome, CliError> {
        self.realise_with(graph, targets, self.options()).await
    }

    /// The same with other options.
    pub async fn realise_with(
        &self,
        graph: Arc<Nodes>,
        targets: &[NodeId],
        options: Options,
    ) -> Result<Outcome, CliError> {
        let store = Arc::clone(&self.world.store) as Arc<dyn Store>;
        let run = realise(
            Arc::clone(&graph),
            targets,
            store,
            self.report.sink(),
            self.cancel.clone(),
            options,
        );
        let outcome = run
            .await
            .map_err(|error| CliError::usage(error.to_string()))?;
        self.report.finish();
        if self.global.dry_run || self.global.why {
            crate::commands::plan::print(self, &graph, &outcome);
        }
        if !outcome.failures.is_empty() {
            let code = show_failures(&outcome.failures);
            return Err(CliError {
                message: String::new(),
                hints: Vec::new(),
                code,
                rendered: true,
            });
        }
        if self.cancel.is_cancelled() {
            return Err(CliError {
                message: "cancelled".to_owned(),
                hints: Vec::new(),
                code: 130,
                rendered: false,
            });
        }
        Ok(outcome)
    }
}
