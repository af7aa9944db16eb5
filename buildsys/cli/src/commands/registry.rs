//! `tbuild registry serve`: a registry that answers from the store.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use tbuild_registry::{ServerOptions, serve};

use crate::args::Global;
use crate::engine::{myself, open_store, store_path};
use crate::error::CliError;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Serve the store's images over HTTP
    Serve {
        /// Where to listen
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000")]
        listen: String,
        /// Go on in the background, until killed
        #[arg(long)]
        detach: bool,
    },
    /// Print a systemd unit that serves this store
    Unit {
        /// Where to listen
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000")]
        listen: String,
    },
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    match &arguments.action {
        Action::Serve {
            listen,
            detach: true,
        } => detach(global, listen).map(|()| 0),
        Action::Serve {
            listen,
            detach: false,
        } => foreground(global, listen).await,
        Action::Unit { listen } => {
            let program = std::env::current_exe().map_err(|error| CliError::internal(&error))?;
            crate::output::line(format!(
                "[Unit]\nDescription=tbuild registry\nAfter=network.target\n\n[Service]\nExecStart={} --store {} registry serve --listen {listen}\nRestart=on-failure\n\n[Install]\nWantedBy=multi-user.target",
                program.display(),
                store_path(global).display(),
            ));
            Ok(0)
        }
    }
}

async fn foreground(global: &Global, listen: &str) -> Result<u8, CliError> {
    let address: SocketAddr = listen
        .parse()
        .map_err(|_| CliError::usage(format!("--listen {listen}: ADDRESS:PORT is expected")))?;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| CliError::unreachable(format!("cannot listen on {address}: {error}")))?;
    let bound = listener
        .local_addr()
        .map_err(|error| CliError::internal(&error))?;
    crate::report::eprint(&format!(
        "serving {} on http://{bound}\n",
        store_path(global).display()
    ));
    let stop = async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    serve(
        Arc::new(open_store(global)?),
        listener,
        ServerOptions::default(),
        stop,
    )
    .await
    .map_err(|error| CliError::internal(&error))?;
    Ok(0)
}

/// Starts the server as a process of its own, and waits until it answers.
pub fn detach(global: &Global, listen: &str) -> Result<(), CliError> {
    let address: SocketAddr = listen
        .parse()
        .map_err(|_| CliError::usage(format!("--listen {listen}: ADDRESS:PORT is expected")))?;
    let store = store_path(global);
    open_store(global)?;
    let log = store.join("registry.log");
    let file = std::fs::File::create(&log).map_err(|error| CliError::internal(&error))?;
    let mut process = Process::new(myself());
    process
        .arg("--store")
        .arg(&store)
        .args(["registry", "serve", "--listen", listen])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        // Its own group: Ctrl-C at this terminal is not meant for it.
        .process_group(0);
    let mut child = process
        .spawn()
        .map_err(|error| CliError::internal(&error))?;
    for _ in 0..100 {
        if std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            crate::report::eprint(&format!(
                "registry: serving on {address} (process {})\n",
                child.id()
            ));
            return Ok(());
        }
        if child.try_wait().ok().flatten().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    Err(CliError::unreachable(format!(
        "the registry on {address} did not start: {}",
        said.trim()
    )))
}
