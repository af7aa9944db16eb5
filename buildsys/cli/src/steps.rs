//! The options that say what steps get besides what their Dockerfile says: docker build's, and limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tbuild_dockerfile::{parse_duration, parse_size};
use tbuild_exec::{Limits, Ulimit};
use tbuild_kinds::{Relock, Secret, StepNetwork, StepSettings};

use crate::error::CliError;

/// Options for steps.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options for steps")]
pub struct StepArguments {
    /// A secret for RUN --mount=type=secret
    #[arg(long, value_name = "id=ID[,src=FILE|,env=NAME]")]
    secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh
    #[arg(long, value_name = "default|ID[=SOCKET]")]
    ssh: Vec<String>,
    /// The network of RUN: default, host, none or record
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Run steps although they were run before
    #[arg(long)]
    no_cache: bool,
    /// Record again what steps ask of the network and is locked
    #[arg(long)]
    relock: bool,
    /// A line of /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Allow what Dockerfiles may not ask for by themselves: security.insecure
    #[arg(long, value_name = "WHAT")]
    allow: Vec<String>,
    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// A limit of each process: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// The most memory that a step may use
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// The most processors that a step may use: 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// The most processes that a step may have at once
    #[arg(long, value_name = "N")]
    pids_limit: Option<u64>,
    /// How long a step may run: 90s, 10m
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl StepArguments {
    /// What the options say. Paths count from `start`.
    pub fn settings(&self, start: &Path) -> Result<StepSettings, CliError> {
        let mut settings = StepSettings {
            hosts: self
                .add_host
                .iter()
                .map(|text| host(text))
                .collect::<Result<_, _>>()?,
            limits: self.limits()?,
            timeout: self.timeout.as_deref().map(timeout).transpose()?,
            network: self.network.as_deref().map(network).transpose()?.flatten(),
            relock: if self.relock {
                Relock::All
            } else {
                Relock::Nothing
            },
            no_cache: self.no_cache,
            ..StepSettings::default()
        };
        for text in &self.secret {
            let (id, secret) = secret(text, start)?;
            settings.secrets.insert(id, secret);
        }
        for text in &self.ssh {
            let (id, socket) = ssh(text, start)?;
            settings.ssh.insert(id, socket);
        }
        for allowed in &self.allow {
            match allowed.as_str() {
                "security.insecure" => settings.insecure = true,
                // Steps see the machine's network as it is.
                "network.host" => {}
                _ => {
                    return Err(CliError::usage(format!(
                        "--allow {allowed}: there are security.insecure and network.host"
                    )));
                }
            }
        }
        Ok(settings)
    }

    fn limits(&self) -> Result<Limits, CliError> {
        let size = |flag: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            match parse_size(text) {
                Some(size) if size > 0 => Ok(Some(size)),
                _ => Err(CliError::usage(format!(
                    "{flag} {text}: a size is expected, such as 512m or 2g"
                ))),
            }
        };
        let ulimits = self.ulimit.iter().map(|text| {
            text.parse::<Ulimit>()
                .map_err(|error| CliError::usage(format!("--ulimit {text}: {error}")))
        });
        Ok(Limits {
            memory: size("--memory", &self.memory)?,
            cpus: self.cpus.as_deref().map(cpus).transpose()?,
            pids: self.pids_limit.filter(|most| *most > 0),
            shm: size("--shm-size", &self.shm_size)?,
            ulimits: ulimits.collect::<Result<_, _>>()?,
        })
    }
}

fn network(text: &str) -> Result<Option<StepNetwork>, CliError> {
    match text {
        "default" => Ok(None),
        "host" => Ok(Some(StepNetwork::Host)),
        "none" => Ok(Some(StepNetwork::None)),
        "record" => Ok(Some(StepNetwork::Recorded)),
        _ => Err(CliError::usage(format!(
            "--network {text}: there are default, host, none and record"
        ))),
    }
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; an IPv6 address may stand in brackets.
fn host(text: &str) -> Result<(String, String), CliError> {
    let wrong = || CliError::usage(format!("--add-host {text}: NAME:ADDRESS is expected"));
    let (name, address) = text.split_once(['=', ':']).ok_or_else(wrong)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    let address: std::net::IpAddr = bare.parse().map_err(|_| wrong())?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((name.to_owned(), address.to_string()))
}

/// Thousandths of a processor.
fn cpus(text: &str) -> Result<u64, CliError> {
    let wrong = || {
        CliError::usage(format!(
            "--cpus {text}: a number above 0 is expected, such as 1.5"
        ))
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.is_empty() {
        return Err(wrong());
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| wrong())?
    };
    let thousandths: u64 = format!("{fraction:0<3}")[..3]
        .parse()
        .map_err(|_| wrong())?;
    let cpus = whole.saturating_mul(1000).saturating_add(thousandths);
    (cpus > 0).then_some(cpus).ok_or_else(wrong)
}

fn timeout(text: &str) -> Result<Duration, CliError> {
    let time = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse_duration(text).map(Duration::from_nanos),
    };
    time.filter(|time| !time.is_zero()).ok_or_else(|| {
        CliError::usage(format!(
            "--timeout {text}: a time is expected, such as 90s or 10m"
        ))
    })
}

/// `id=ID,src=FILE` or `id=ID,env=NAME`; an id alone is a variable of this name, or else a file.
fn secret(text: &str, start: &Path) -> Result<(String, Secret), CliError> {
    let wrong = |why: &str| {
        CliError::usage(format!("--secret {text}: {why}")).hint("id=ID,src=FILE or id=ID,env=NAME")
    };
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| wrong(&format!("{field} has no value")))?;
        let key = match key {
            "src" | "source" => "src",
            "id" | "env" | "type" => key,
            _ => return Err(wrong(&format!("there is no field {key}"))),
        };
        fields.insert(key, value);
    }
    let get = |key: &str| fields.get(key).copied().filter(|value| !value.is_empty());
    let kind = get("type");
    if kind.is_some_and(|kind| kind != "file" && kind != "env") {
        return Err(wrong("type is file or env"));
    }
    let id = get("id").ok_or_else(|| wrong("it has no id"))?;
    let variable = |name: &str| {
        use std::os::unix::ffi::OsStringExt as _;
        std::env::var_os(name).map(|value| Secret::new(value.into_vec()))
    };
    let file = |name: &str| {
        std::fs::read(start.join(name))
            .map(Secret::new)
            .map_err(|error| wrong(&format!("cannot read {name}: {error}")))
    };
    let secret = match (get("src"), get("env")) {
        (Some(_), Some(_)) => return Err(wrong("src and env cannot both be given")),
        (Some(name), None) if kind == Some("env") => {
            variable(name).ok_or_else(|| wrong(&format!("the variable {name} is not set")))?
        }
        (Some(name), None) => file(name)?,
        (None, Some(name)) => {
            variable(name).ok_or_else(|| wrong(&format!("the variable {name} is not set")))?
        }
        (None, None) => match variable(id).filter(|_| kind != Some("file")) {
            Some(value) => value,
            None if kind == Some("env") => {
                return Err(wrong(&format!("the variable {id} is not set")));
            }
            None => file(id)?,
        },
    };
    Ok((id.to_owned(), secret))
}

/// `default`, `ID` or `ID=SOCKET`: without a socket, that of SSH_AUTH_SOCK.
fn ssh(text: &str, start: &Path) -> Result<(String, PathBuf), CliError> {
    use std::os::unix::fs::FileTypeExt as _;
    let wrong = |why: String| CliError::usage(format!("--ssh {text}: {why}"));
    let (id, socket) = match text.split_once('=') {
        Some((id, socket)) if !socket.is_empty() => (id, start.join(socket)),
        _ => {
            let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
            let socket = socket.ok_or_else(|| {
                wrong("SSH_AUTH_SOCK is not set".to_owned())
                    .hint("start an agent: eval $(ssh-agent) && ssh-add")
            })?;
            (text.trim_end_matches('='), PathBuf::from(socket))
        }
    };
    let is_socket = std::fs::metadata(&socket)
        .map_err(|error| wrong(format!("cannot use {}: {error}", socket.display())))?
        .file_type()
        .is_socket();
    if !is_socket {
        return Err(wrong(format!("{} is no socket", socket.display()))
            .hint("keys go into an agent with ssh-add; only agents are passed on"));
    }
    Ok((id.to_owned(), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(arguments: &StepArguments) -> Result<StepSettings, String> {
        arguments
            .settings(Path::new("/"))
            .map_err(|error| error.message)
    }

    #[test]
    fn limits_are_read() {
        let arguments = StepArguments {
            memory: Some("1.5g".to_owned()),
            cpus: Some("1.25".to_owned()),
            pids_limit: Some(9),
            shm_size: Some("64m".to_owned()),
            ulimit: vec!["nofile=1:2".to_owned()],
            timeout: Some("1m30s".to_owned()),
            network: Some("none".to_owned()),
            add_host: vec!["a.test:10.0.0.1".to_owned(), "b.test=[::1]".to_owned()],
            allow: vec!["security.insecure".to_owned()],
            ..StepArguments::default()
        };
        let read = settings(&arguments).expect("read");
        assert_eq!(read.limits.memory, Some(3 << 29));
        assert_eq!(read.limits.cpus, Some(1250));
        assert_eq!(read.limits.pids, Some(9));
        assert_eq!(read.limits.shm, Some(64 << 20));
        assert_eq!(read.limits.ulimits[0].to_string(), "nofile=1:2");
        assert_eq!(read.timeout, Some(Duration::from_secs(90)));
        assert_eq!(read.network, Some(StepNetwork::None));
        assert!(read.insecure);
        let hosts = [("a.test", "10.0.0.1"), ("b.test", "::1")];
        assert_eq!(
            read.hosts,
            hosts.map(|(name, address)| (name.to_owned(), address.to_owned()))
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in ["0", "-1", "x", ".", "1.", ""] {
            assert!(cpus(text).is_err(), "{text}");
        }
        for text in ["0", "-1s", "x", ""] {
            assert!(timeout(text).is_err(), "{text}");
        }
        for text in ["a.test", "a.test:x", ":10.0.0.1", "a b:10.0.0.1"] {
            assert!(host(text).is_err(), "{text}");
        }
        for text in [
            "",
            "id",
            "id=a,src=/no/such/file",
            "src=/dev/null",
            "id=a,src=x,env=Y",
            "id=a,tpye=x",
        ] {
            assert!(secret(text, Path::new("/")).is_err(), "{text}");
        }
        assert!(ssh("a=/dev/null", Path::new("/")).is_err());
        assert!(secret("id=a,src=/dev/null", Path::new("/")).is_ok());
    }
}
