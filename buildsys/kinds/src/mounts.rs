//! RUN --mount: what is mounted, what of it a key holds, and the mounts themselves while the step runs.

use std::collections::BTreeMap;

use tbuild_digest::{ContentHash as _, Encoder};
use tbuild_dockerfile::{
    BindMount, CacheMount, ConcreteMount, CopySource, MountOwner, SecretMount, SshMount,
};
use tbuild_exec::{Cancel, Mount, MountSource, Writes};
use tbuild_graph::KeyManifest;
use tbuild_realise::OpError;
use tbuild_store::{Staging, Store as _};

use crate::World;
use crate::cache_mount::{self, PURPOSE};
use crate::parts::{self, Part, Whole};
use crate::settings::Secret;
use crate::ssh::Forward;

/// Where sockets of agents are that say no target; a number follows.
const AGENTS: &str = "/run/buildkit/ssh_agent.";

/// Gives what files are a part of, and what that is to the user.
type Find<'a> = dyn Fn(&CopySource) -> Result<(Whole, String), OpError> + 'a;

struct Planned {
    mount: ConcreteMount,
    files: Option<Part>,
}

/// The mounts of a RUN with everything known.
#[derive(Default)]
pub(crate) struct RunMounts(Vec<Planned>);

impl RunMounts {
    /// Looks at what is mounted. `whole` gives what a mount, by its number as written, takes its files from, and
    /// what that is to the user.
    pub(crate) fn plan(
        world: &World,
        mounts: &[ConcreteMount],
        whole: &Find<'_>,
    ) -> Result<Self, OpError> {
        let mut planned = Vec::new();
        for mount in mounts {
            let source = match mount {
                ConcreteMount::Bind(BindMount { from, source, .. })
                | ConcreteMount::Cache(CacheMount { from, source, .. }) => {
                    from.as_ref().map(|from| (from, source))
                }
                _ => None,
            };
            let files = match source {
                Some((from, source)) => {
                    let (whole, what) = whole(from)?;
                    Some(parts::find(world, whole, source, &what)?)
                }
                None => None,
            };
            if files.is_none()
                && let ConcreteMount::Bind(BindMount { source, .. })
                | ConcreteMount::Cache(CacheMount { source, .. }) = mount
                && source != "/"
            {
                return Err(OpError::failed_text(format!(
                    "{source}: not found in an empty folder"
                )));
            }
            planned.push(Planned {
                mount: mount.clone(),
                files,
            });
        }
        Ok(Self(planned))
    }

    /// Adds what decides the outcome: which mounts there are, and the content of those that have one. What a
    /// cache holds, what a secret says and who answers at a socket is none of it, nor is a cache's name.
    pub(crate) fn describe(&self, mut manifest: KeyManifest) -> KeyManifest {
        if self.0.is_empty() {
            return manifest;
        }
        manifest = manifest.list("mounts", self.0.iter().map(|planned| line(&planned.mount)));
        for planned in &self.0 {
            if let Some(files) = &planned.files {
                let target = planned.mount.target().unwrap_or_default();
                manifest = manifest.files(format!("mounted on {target}"), files.digest);
            }
        }
        manifest
    }

    /// What the steps sees that its key does not hold.
    pub(crate) fn impure(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|planned| match &planned.mount {
            ConcreteMount::Cache(cache) => Some(format!("cache {}", cache.id)),
            ConcreteMount::Secret(secret) => Some(format!("secret {}", secret.id)),
            ConcreteMount::Ssh(ssh) => Some(format!("ssh {}", ssh.id)),
            ConcreteMount::Bind(_) | ConcreteMount::Tmpfs { .. } => None,
        })
    }

    /// Makes all that the mounts need.
    pub(crate) fn hold(&self, world: &World, cancel: &Cancel) -> Result<Held, OpError> {
        let mut held = Held::default();
        self.take_caches(world, cancel, &mut held)?;
        let mut agents = 0;
        for planned in &self.0 {
            match &planned.mount {
                ConcreteMount::Bind(bind) => held.bind(world, bind, planned.files.as_ref())?,
                ConcreteMount::Cache(cache) => {
                    let name = cache_name(cache, planned.files.as_ref());
                    if let Some(taken) = held.caches.get(&name) {
                        let at = planned.files.as_ref().filter(|_| has_seed(cache));
                        let source = match at {
                            Some(files) => crate::content::in_folder(&taken.files, &files.path),
                            None => taken.files.clone(),
                        };
                        held.mounts.push(Mount {
                            target: cache.target.clone(),
                            source: MountSource::Bind(source),
                            read_only: cache.read_only,
                        });
                    }
                }
                ConcreteMount::Tmpfs {
                    target,
                    size,
                    read_only,
                } => held.mounts.push(Mount {
                    target: target.clone(),
                    source: MountSource::Tmpfs { size: *size },
                    read_only: *read_only,
                }),
                ConcreteMount::Secret(secret) => held.secret(world, secret)?,
                ConcreteMount::Ssh(ssh) => {
                    held.ssh(world, ssh, agents)?;
                    agents += 1;
                }
            }
        }
        Ok(held)
    }

    /// Takes the caches in the order of their names, so that two steps never wait for each other.
    fn take_caches(&self, world: &World, cancel: &Cancel, held: &mut Held) -> Result<(), OpError> {
        let mut wanted: BTreeMap<String, (&CacheMount, Option<&Part>)> = BTreeMap::new();
        for planned in &self.0 {
            if let ConcreteMount::Cache(cache) = &planned.mount {
                let files = planned.files.as_ref();
                wanted
                    .entry(cache_name(cache, files))
                    .or_insert((cache, files));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let folder = world.store.scratch(PURPOSE)?;
        for (name, (cache, files)) in wanted {
            let fill = |made: &std::path::Path| match files.filter(|_| has_seed(cache)) {
                Some(files) => files.unpack(world, made),
                None => cache_mount::own(made, cache.owner),
            };
            let taken = cache_mount::take(&folder, &name, cache.sharing, cancel, fill)?;
            held.caches.insert(name, taken);
        }
        Ok(())
    }
}

/// One mount as a key has it.
fn line(mount: &ConcreteMount) -> String {
    let access = |read_only| if read_only { "read-only" } else { "read-write" };
    let owner = |owner: MountOwner, mode: u32| {
        let (mode, uid, gid) = (owner.mode.unwrap_or(mode), owner.uid, owner.gid);
        format!("{mode:o} {}:{}", uid.unwrap_or(0), gid.unwrap_or(0))
    };
    match mount {
        ConcreteMount::Bind(bind) => format!("bind {} {}", bind.target, access(bind.read_only)),
        ConcreteMount::Cache(cache) => {
            format!("cache {} {}", cache.target, access(cache.read_only))
        }
        ConcreteMount::Tmpfs {
            target,
            size,
            read_only,
        } => {
            let size = size.map_or("any size".to_owned(), |size| format!("{size} bytes"));
            format!("tmpfs {target} {} {size}", access(*read_only))
        }
        ConcreteMount::Secret(secret) => format!(
            "secret {} file {} {} variable {}",
            secret.id,
            secret.target.as_deref().unwrap_or("-"),
            owner(secret.owner, 0o400),
            secret.env.as_deref().unwrap_or("-")
        ),
        ConcreteMount::Ssh(ssh) => format!(
            "ssh {} {} {}",
            ssh.id,
            ssh.target.as_deref().unwrap_or("-"),
            owner(ssh.owner, 0o600)
        ),
    }
}

/// Whether a cache starts with files. One whose owner is said and whose source is not starts empty.
fn has_seed(cache: &CacheMount) -> bool {
    cache.from.is_some() && (cache.source != "/" || cache.owner.is_default())
}

/// The folder of a cache: its id, and what it held at first.
fn cache_name(cache: &CacheMount, files: Option<&Part>) -> String {
    let mut encoder = Encoder::new();
    encoder.bytes(cache.id.as_bytes());
    if let Some(files) = files.filter(|_| has_seed(cache)) {
        encoder.tag(1);
        encoder.bytes(files.path.as_bytes());
        files.digest.hash_content(&mut encoder);
    } else {
        let MountOwner { mode, uid, gid } = cache.owner;
        encoder.tag(0);
        for value in [mode.unwrap_or(0o755), uid.unwrap_or(0), gid.unwrap_or(0)] {
            encoder.number(u64::from(value));
        }
    }
    encoder.finish().hex()
}

/// The mounts of a step that runs, and what has to stay until it has ended.
#[derive(Default)]
pub(crate) struct Held {
    pub mounts: Vec<Mount>,
    /// Variables that no key holds.
    pub env: BTreeMap<String, String>,
    /// What must not be seen in a log.
    pub secrets: Vec<Secret>,
    caches: BTreeMap<String, cache_mount::Held>,
    agents: Vec<Forward>,
    written: Vec<Box<dyn Staging>>,
}

impl Held {
    fn bind(
        &mut self,
        world: &World,
        bind: &BindMount,
        files: Option<&Part>,
    ) -> Result<(), OpError> {
        let path = files.map(|files| files.path.as_bytes()).unwrap_or_default();
        let path = std::str::from_utf8(path)
            .map_err(|_| OpError::usage(format!("{} is no UTF-8", bind.source)))?;
        let lower = files.map(|files| files.layers(world)).transpose()?;
        let writes = if bind.read_only {
            None
        } else {
            let staging = world.store.stage()?;
            let writes = Writes {
                upper: staging.upper().to_owned(),
                work: staging.work().to_owned(),
            };
            self.written.push(staging);
            Some(writes)
        };
        self.mounts.push(Mount {
            target: bind.target.clone(),
            source: MountSource::Layers {
                lower: lower.unwrap_or_default(),
                path: format!("/{path}"),
                writes,
            },
            read_only: bind.read_only,
        });
        Ok(())
    }

    fn secret(&mut self, world: &World, secret: &SecretMount) -> Result<(), OpError> {
        let given = world.steps.secrets.get(&secret.id);
        if given.is_none() && secret.required {
            return Err(
                OpError::usage(format!("the secret {} is not given", secret.id))
                    .hint(format!("--secret id={},src=FILE", secret.id)),
            );
        }
        self.secrets.extend(given.cloned());
        if let Some(name) = &secret.env {
            // Without a value it is set, and empty, as BuildKit has it.
            let value = given.map(Secret::bytes).unwrap_or_default();
            let value = String::from_utf8(value.to_vec()).map_err(|_| {
                OpError::usage(format!(
                    "the secret {} is no text: no variable can hold it",
                    secret.id
                ))
            })?;
            self.env.insert(name.clone(), value);
        }
        if let (Some(target), Some(given)) = (&secret.target, given) {
            self.mounts.push(Mount {
                target: target.clone(),
                source: MountSource::Content {
                    bytes: given.bytes().to_vec(),
                    mode: secret.owner.mode.unwrap_or(0o400),
                    uid: secret.owner.uid.unwrap_or(0),
                    gid: secret.owner.gid.unwrap_or(0),
                },
                read_only: true,
            });
        }
        Ok(())
    }

    fn ssh(&mut self, world: &World, ssh: &SshMount, number: usize) -> Result<(), OpError> {
        let target = ssh
            .target
            .clone()
            .unwrap_or_else(|| format!("{AGENTS}{number}"));
        self.env
            .entry("SSH_AUTH_SOCK".to_owned())
            .or_insert_with(|| target.clone());
        let Some(socket) = world.steps.ssh.get(&ssh.id) else {
            if ssh.required {
                return Err(
                    OpError::usage(format!("the SSH agent {} is not given", ssh.id))
                        .hint(format!("--ssh {}=SOCKET, or --ssh default", ssh.id)),
                );
            }
            return Ok(());
        };
        let owner = ssh.owner;
        let forward = Forward::start(
            socket,
            owner.mode.unwrap_or(0o600),
            owner.uid.unwrap_or(0),
            owner.gid.unwrap_or(0),
        )
        .map_err(|error| OpError::Unreachable {
            message: format!("the SSH agent at {}: {error}", socket.display()),
            hints: Vec::new(),
        })?;
        self.mounts.push(Mount {
            target,
            source: MountSource::Bind(forward.path()),
            read_only: false,
        });
        self.agents.push(forward);
        Ok(())
    }
}
