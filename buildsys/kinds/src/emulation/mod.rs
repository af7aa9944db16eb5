//! Programs of other platforms: whether and how this machine runs them.
//!
//! The kernel runs what it knows, and by binfmt_misc what somebody has registered an interpreter for (Linux:
//! Documentation/admin-guide/binfmt-misc.rst). Whether it does is found out by having it run something: what is
//! registered outside of a container cannot be read inside, and works there.

mod handler;
mod own;
mod probe;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_dockerfile::Platform;
use tbuild_exec::{Action, Cancel, ExecError, Executor, Exit, Mount, MountSource, OutputSink};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use crate::World;
pub(crate) use own::Registration;

/// The executor whose programs can enter a user namespace.
const OWN: &str = "sandbox";

/// How programs of a platform are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// As all others. Where an interpreter is found by its path, a step has to see it.
    Kernel { interpreter: Option<PathBuf> },
    /// By an emulator that is there for those who are in this user namespace.
    Inside { user_namespace: PathBuf },
    /// Not at all. An emulator may be there that nothing starts.
    Never { emulator: Option<PathBuf> },
}

/// What a platform's emulator is called after, and what a program for it is.
fn names(platform: &Platform) -> Option<&'static str> {
    Some(match platform.architecture.as_str() {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        "arm" => "arm",
        "riscv64" => "riscv64",
        "ppc64le" => "ppc64le",
        "s390x" => "s390x",
        _ => return None,
    })
}

/// The program that emulates the user side of a platform, if one is installed that needs no libraries.
fn emulator(platform: &Platform) -> Option<PathBuf> {
    let name = format!("qemu-{}-static", names(platform)?);
    let folders = ["/usr/bin", "/usr/local/bin"].map(Path::new);
    let mut paths = folders.iter().map(|folder| folder.join(&name));
    paths.find(|path| path.is_file())
}

impl World {
    /// This machine's platform.
    pub(crate) fn machine_platform(&self) -> Platform {
        Platform::parse(&self.machine.platform).unwrap_or_default()
    }

    /// How programs of `platform` are run here.
    pub(crate) fn how(&self, platform: &Platform) -> Result<How, OpError> {
        let machine = self.machine_platform();
        if (&platform.os, &platform.architecture) == (&machine.os, &machine.architecture) {
            return Ok(How::Kernel { interpreter: None });
        }
        let known = |world: &Self| world.emulation.lock().ok()?.get(platform).cloned();
        if let Some(how) = known(self) {
            return Ok(how);
        }
        let how = self.find_out(platform)?;
        if let Ok(mut known) = self.emulation.lock() {
            known.insert(platform.clone(), how.clone());
        }
        Ok(how)
    }

    fn find_out(&self, platform: &Platform) -> Result<How, OpError> {
        let never = How::Never {
            emulator: emulator(platform),
        };
        let Some(program) = probe::program(platform) else {
            return Ok(never);
        };
        let folder = self.store.scratch("emulation")?;
        let runs = |inside: Option<&Path>| {
            probe::runs(&folder, platform, &program, inside).map_err(|error| OpError::Internal {
                message: format!("cannot try a program in {}: {error}", folder.display()),
            })
        };
        if !runs(None)? {
            let Some(own) = self.register(&folder) else {
                return Ok(never);
            };
            let inside = own.user_namespace();
            if !runs(inside)? {
                return Ok(never);
            }
            if let Some(inside) = inside {
                return Ok(How::Inside {
                    user_namespace: inside.to_owned(),
                });
            }
        }
        let handlers = Path::new("/proc/sys/fs/binfmt_misc");
        let interpreter = handler::of(handlers, &program).and_then(handler::Handler::by_path);
        Ok(How::Kernel { interpreter })
    }

    /// Registers the emulators that are installed where nobody else is concerned, once.
    fn register(&self, folder: &Path) -> Option<&Registration> {
        let registered = self.emulators.get_or_init(|| {
            if !self.rootless && self.executor.name() != OWN {
                return None;
            }
            // It stays: a mount goes with the folder that it is on, in other namespaces, too.
            let folder = folder.join("binfmt_misc");
            std::fs::create_dir_all(&folder).ok()?;
            Registration::make(&folder, !self.rootless).ok()
        });
        registered.as_ref()
    }

    /// Refuses programs of a platform that this machine does not run. `place` is what would run them.
    pub(crate) fn can_run(&self, platform: &Platform, place: &str) -> Result<(), OpError> {
        let How::Never { emulator } = self.how(platform)? else {
            return Ok(());
        };
        Err(refusal(
            &self.machine_platform(),
            platform,
            place,
            emulator,
            self.rootless,
        ))
    }

    /// What runs programs of `platform`.
    pub(crate) fn executor_for(&self, platform: &Platform) -> Result<Arc<dyn Executor>, OpError> {
        let executor = Arc::clone(&self.executor);
        Ok(match self.how(platform)? {
            // What says to be for another platform may hold programs of this machine's.
            How::Kernel { interpreter: None } | How::Never { .. } => executor,
            how => Arc::new(Emulating { executor, how }),
        })
    }
}

/// Why programs of `platform` do not run, and what can be done about it.
fn refusal(
    machine: &Platform,
    platform: &Platform,
    place: &str,
    emulator: Option<PathBuf>,
    rootless: bool,
) -> OpError {
    let error = OpError::Unreachable {
        message: format!(
            "{place}: programs for {platform} do not run on this machine, which is {machine}"
        ),
        hints: Vec::new(),
    };
    let qemu = names(platform).map(|name| format!("qemu-{name}"));
    let error = match (emulator, qemu) {
        _ if platform.os != machine.os => error,
        (Some(path), Some(qemu)) => {
            let path = path.display();
            let own = if rootless {
                "tbuild does it for itself from Linux 6.7 on"
            } else {
                "tbuild does it for itself from Linux 6.7 on, for steps in its own sandbox"
            };
            error
                .hint(format!(
                    "{path} is installed, and not registered with the kernel (binfmt_misc)"
                ))
                .hint(format!(
                    "`systemctl restart systemd-binfmt` registers it, or `update-binfmts --enable {qemu}` \
                     (package binfmt-support); {own}"
                ))
        }
        (None, Some(_)) => error.hint(
            "an emulator is missing: `apt install qemu-user-static` installs one, and registers it with the kernel \
             where systemd or binfmt-support runs",
        ),
        (_, None) => error.hint(format!(
            "no emulator is known for {}",
            platform.architecture
        )),
    };
    error.hint(
        "stages that only copy need none, and FROM --platform=$BUILDPLATFORM starts one that runs as this machine does",
    )
}

/// An executor whose actions get what it takes to run programs of another platform.
#[derive(Debug)]
struct Emulating {
    executor: Arc<dyn Executor>,
    how: How,
}

impl Executor for Emulating {
    fn name(&self) -> &'static str {
        self.executor.name()
    }

    fn caveat(&self) -> Option<String> {
        self.executor.caveat()
    }

    fn run(
        &self,
        action: &Action,
        output: &mut OutputSink<'_>,
        cancel: &Cancel,
    ) -> Result<Exit, ExecError> {
        let mut action = action.clone();
        match &self.how {
            How::Kernel { interpreter } => {
                action.mounts.extend(interpreter.iter().map(|path| Mount {
                    target: path.display().to_string(),
                    source: MountSource::Bind(path.clone()),
                    read_only: true,
                }));
            }
            How::Inside { user_namespace } => {
                action.user_namespace = Some(user_namespace.clone());
            }
            How::Never { .. } => {}
        }
        self.executor.run(&action, output, cancel)
    }
}

#[cfg(test)]
mod tests;
