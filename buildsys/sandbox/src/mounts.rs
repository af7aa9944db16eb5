//! The root file system that the program sees.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use crate::overlay;
use crate::protocol::{Failure, MountPoint, Reach, Source, Specification, Tried as _};
use crate::target::{Made, find_or_make};
use crate::userns::{self, Ids};

/// Where the init puts things together: hidden under a file system of its own.
pub(crate) const BASE: &str = "/tmp";
/// The folders in it: files to be mounted, layers seen through overlays, and nothing.
const CONTENTS: &str = "contents";
const OVERLAYS: &str = "overlays";
const EMPTY: &str = "empty";
const DEVICES: &str = "devices";

/// Bytes of /dev/shm unless the step says otherwise: what other builders give. The kernel would give half of the
/// memory.
const SHM: u64 = 64 << 20;

/// Mounts the /proc of the program's pid namespace.
pub(crate) type MountProc = fn(&Path, MountFlags) -> rustix::io::Result<()>;

/// The root, mounted but not entered yet.
pub(crate) struct Root {
    path: PathBuf,
    made: Made,
    /// Mount points, in order.
    mounted: Vec<PathBuf>,
}

/// Opens a path so that it stays reachable whatever is mounted over it.
pub(crate) fn hold(path: &Path) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .tried(|| format!("open {}", path.display()))
}

pub(crate) fn held(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl Root {
    /// Mounts all of it. Runs in mount, pid and ipc namespaces of its own.
    pub(crate) fn mount(specification: &Specification) -> Result<Self, Failure> {
        Self::mount_with(specification, |target, flags| {
            mount("proc", target, "proc", flags, None)
        })
    }

    /// The same where /proc is mounted by other means.
    pub(crate) fn mount_with(
        specification: &Specification,
        mount_proc: MountProc,
    ) -> Result<Self, Failure> {
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .tried(|| "make mounts private".to_owned())?;
        let lower: Vec<OwnedFd> = specification
            .lower
            .iter()
            .map(|path| hold(path))
            .collect::<Result<_, _>>()?;
        let (upper, work) = (hold(&specification.upper)?, hold(&specification.work)?);
        let sources: Vec<Held> = specification
            .mounts
            .iter()
            .map(|point| Held::open(&point.source))
            .collect::<Result<_, _>>()?;
        mount(
            "tmpfs",
            BASE,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(c"mode=0700"),
        )
        .tried(|| format!("mount a file system on {BASE}"))?;
        let path = PathBuf::from(BASE).join("root");
        std::fs::create_dir(&path).tried(|| "make the root".to_owned())?;
        overlay::writable(&lower, &upper, &work, &path)?;
        if !specification.privileged {
            without_devices(&path)?;
        }
        let mut root = Self {
            path,
            made: Made::default(),
            mounted: Vec::new(),
        };
        root.devices(specification.limits.shm, specification.privileged)?;
        root.kernel(&specification.network, specification.privileged, mount_proc)?;
        for name in [CONTENTS, OVERLAYS, EMPTY] {
            let folder = Path::new(BASE).join(name);
            std::fs::create_dir(&folder).tried(|| "make a folder for mounts".to_owned())?;
        }
        for (at, (point, held)) in specification.mounts.iter().zip(&sources).enumerate() {
            root.place(at, point, held)?;
        }
        Ok(root)
    }

    /// Makes one mount, the one of number `at`.
    fn place(&mut self, at: usize, point: &MountPoint, held: &Held) -> Result<(), Failure> {
        let tried = || format!("mount {}", point.target);
        match (&point.source, held) {
            (
                Source::Content {
                    bytes,
                    mode,
                    uid,
                    gid,
                },
                _,
            ) => {
                let file = Path::new(BASE).join(CONTENTS).join(at.to_string());
                write(&file, bytes, *mode)
                    .and_then(|()| std::os::unix::fs::chown(&file, Some(*uid), Some(*gid)))
                    .tried(|| format!("write the file for {}", point.target))?;
                let target = self.target(&point.target, false)?;
                mount_bind(&file, &target).tried(tried)?;
                seal(&point.target, &target, point.read_only)
            }
            (Source::Tmpfs { size }, _) => {
                let target = self.target(&point.target, true)?;
                let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
                flags.set(MountFlags::RDONLY, point.read_only);
                memory(&target, flags, *size).tried(tried)
            }
            (Source::Layers { path, .. }, Held::Layers { lower, writes }) => {
                let view = Path::new(BASE).join(OVERLAYS).join(at.to_string());
                std::fs::create_dir(&view).tried(tried)?;
                match writes {
                    Some((upper, work)) => overlay::writable(lower, upper, work, &view)?,
                    None => overlay::read_only(lower, &Path::new(BASE).join(EMPTY), &view)?,
                }
                let source = inside(&view, path)
                    .tried(|| format!("find {path} to mount it on {}", point.target))?;
                let target = self.target(&point.target, is_folder(&source))?;
                mount_bind(self::held(&source).as_str(), &target).tried(tried)?;
                seal(&point.target, &target, point.read_only)
            }
            (_, Held::Path(source)) => {
                let target = self.target(&point.target, is_folder(source))?;
                mount_bind_recursive(self::held(source).as_str(), &target).tried(tried)?;
                seal(&point.target, &target, point.read_only)
            }
            (_, Held::Nothing | Held::Layers { .. }) => Ok(()),
        }
    }

    fn target(&mut self, target: &str, folder: bool) -> Result<PathBuf, Failure> {
        let path = find_or_make(&self.path, target, folder, &mut self.made)?;
        self.mounted.push(path.clone());
        Ok(path)
    }

    /// /dev: the few devices that programs expect. Each is a mount of its own, and no other opens.
    fn devices(&mut self, shm: Option<u64>, privileged: bool) -> Result<(), Failure> {
        let dev = self.target("/dev", true)?;
        let mut flags = MountFlags::NOSUID;
        flags.set(MountFlags::NODEV, !privileged);
        mount(
            "tmpfs",
            &dev,
            "tmpfs",
            flags,
            Some(c"mode=0755,size=65536k"),
        )
        .tried(|| "mount /dev".to_owned())?;
        // Devices of the step's own lie elsewhere, where they open: what it does to them, the machine's do not see.
        let own = Path::new(BASE).join(DEVICES);
        std::fs::create_dir(&own).tried(|| "make a folder for devices".to_owned())?;
        mount(
            "tmpfs",
            &own,
            "tmpfs",
            MountFlags::NOSUID,
            Some(c"mode=0700,size=64k"),
        )
        .tried(|| "mount devices".to_owned())?;
        // Numbers: the kernel's admin-guide/devices.txt.
        for (name, major, minor) in [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ] {
            let (own, to) = (own.join(name), dev.join(name));
            let (mode, device) = (Mode::from_raw_mode(0o666), makedev(major, minor));
            write(&to, b"", 0o666).tried(|| format!("make /dev/{name}"))?;
            let mounted = match mknodat(CWD, &own, FileType::CharacterDevice, mode, device) {
                Ok(()) => mount_bind(&own, &to).map_err(Into::into),
                // Who may make no devices is lent the machine's, whose owner and mode stay as they are.
                Err(_) => lend(&Path::new("/dev").join(name), &to),
            };
            mounted.tried(|| format!("mount /dev/{name}"))?;
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            std::os::unix::fs::symlink(target, dev.join(name))
                .tried(|| format!("make /dev/{name}"))?;
        }
        for name in ["pts", "shm", "mqueue"] {
            std::fs::create_dir(dev.join(name)).tried(|| format!("make /dev/{name}"))?;
        }
        let plain = MountFlags::NOSUID | MountFlags::NOEXEC;
        // 5 is the group tty, where there are groups to choose from.
        let terminals = if userns::ids() == Ids::One {
            c"newinstance,ptmxmode=0666,mode=0620"
        } else {
            c"newinstance,ptmxmode=0666,mode=0620,gid=5"
        };
        mount("devpts", dev.join("pts"), "devpts", plain, Some(terminals))
            .tried(|| "mount /dev/pts".to_owned())?;
        let shm = Some(shm.unwrap_or(SHM));
        memory(&dev.join("shm"), plain | MountFlags::NODEV, shm)
            .tried(|| "mount /dev/shm".to_owned())?;
        mount(
            "mqueue",
            dev.join("mqueue"),
            "mqueue",
            plain | MountFlags::NODEV,
            None,
        )
        .tried(|| "mount /dev/mqueue".to_owned())
    }

    /// /proc and /sys: this pid namespace's, with what tells of or changes the machine covered.
    fn kernel(
        &mut self,
        network: &Reach,
        privileged: bool,
        mount_proc: MountProc,
    ) -> Result<(), Failure> {
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let proc = self.target("/proc", true)?;
        mount_proc(&proc, plain).tried(|| "mount /proc".to_owned())?;
        let sys = self.target("/sys", true)?;
        if *network == Reach::Host && userns::is_inside() {
            // sysfs shows a network, and this one belongs to another user namespace: only what is mounted
            // already can be shown, and only with all that is mounted on it.
            mount_bind_recursive("/sys", &sys).tried(|| "mount /sys".to_owned())?;
            crate::fork::protect_recursively(&sys).tried(|| "protect /sys".to_owned())?;
            cover(&sys.join("fs/cgroup"))?;
        } else {
            let mut flags = plain;
            flags.set(MountFlags::RDONLY, !privileged);
            mount("sysfs", &sys, "sysfs", flags, None).tried(|| "mount /sys".to_owned())?;
        }
        if privileged {
            return Ok(());
        }
        for name in [
            "kcore",
            "keys",
            "latency_stats",
            "timer_list",
            "sched_debug",
        ] {
            let path = proc.join(name);
            if path.exists() {
                lend(Path::new("/dev/null"), &path).tried(|| format!("cover /proc/{name}"))?;
            }
        }
        for name in ["acpi", "scsi", "asound"] {
            cover(&proc.join(name))?;
        }
        for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
            let path = proc.join(name);
            if path.exists() {
                mount_bind(&path, &path).tried(|| format!("bind /proc/{name}"))?;
                mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY | plain, c"")
                    .tried(|| format!("protect /proc/{name}"))?;
            }
        }
        cover(&sys.join("firmware"))?;
        cover(&sys.join("devices/virtual/powercap"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the root of this process and of those it forks.
    pub(crate) fn enter(&mut self) -> Result<(), Failure> {
        std::env::set_current_dir(&self.path).tried(|| "enter the root".to_owned())?;
        rustix::process::pivot_root(".", ".").tried(|| "change the root".to_owned())?;
        unmount(".", UnmountFlags::DETACH).tried(|| "leave the old root".to_owned())?;
        std::env::set_current_dir("/").tried(|| "enter the root".to_owned())?;
        let inside =
            |path: &PathBuf| Path::new("/").join(path.strip_prefix(&self.path).unwrap_or(path));
        self.mounted = self.mounted.iter().map(inside).collect();
        self.made = self.made.inside(&self.path);
        self.path = PathBuf::from("/");
        Ok(())
    }

    /// Unmounts all, and takes away the mount points that were made: none of it enters the layer.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        for path in self.mounted.iter().rev() {
            unmount(path, UnmountFlags::DETACH).tried(|| format!("unmount {}", path.display()))?;
        }
        self.made.remove();
        Ok(())
    }
}

/// What a mount shows, opened before anything is mounted over it.
enum Held {
    Nothing,
    Path(OwnedFd),
    Layers {
        lower: Vec<OwnedFd>,
        writes: Option<(OwnedFd, OwnedFd)>,
    },
}

impl Held {
    fn open(source: &Source) -> Result<Self, Failure> {
        Ok(match source {
            Source::Content { .. } | Source::Tmpfs { .. } => Self::Nothing,
            Source::Bind(path) => Self::Path(hold(path)?),
            Source::Layers { lower, writes, .. } => Self::Layers {
                lower: lower
                    .iter()
                    .map(|path| hold(path))
                    .collect::<Result<_, _>>()?,
                writes: match writes {
                    Some((upper, work)) => Some((hold(upper)?, hold(work)?)),
                    None => None,
                },
            },
        })
    }
}

/// Opens an absolute path in a root of its own: what lies outside cannot be reached, whatever links say.
pub(crate) fn inside(root: &Path, path: &str) -> std::io::Result<OwnedFd> {
    let root = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// A file system in memory, of at most `size` bytes.
fn memory(target: &Path, flags: MountFlags, size: Option<u64>) -> std::io::Result<()> {
    let options = match size {
        Some(size) => format!("mode=1777,size={size}"),
        None => "mode=1777".to_owned(),
    };
    let options = std::ffi::CString::new(options)?;
    Ok(mount(
        "tmpfs",
        target,
        "tmpfs",
        flags,
        Some(options.as_c_str()),
    )?)
}

fn is_folder(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Hides a folder, if it is there.
pub(crate) fn cover(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    mount(
        "tmpfs",
        path,
        "tmpfs",
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"size=0k"),
    )
    .tried(|| format!("cover {}", path.display()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(
        CWD,
        path,
        flags,
        Mode::from_raw_mode(mode),
    )?);
    file.write_all(bytes)
}

/// A mount for the program: no devices, no set-id programs, and read-only if asked.
fn seal(name: &str, target: &Path, read_only: bool) -> Result<(), Failure> {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, read_only);
    remount(target, flags).tried(|| format!("protect {name}"))
}

/// Shows a device of the machine's: it can be written to, but for its owner, its mode and its times.
fn lend(device: &Path, target: &Path) -> std::io::Result<()> {
    mount_bind(device, target)?;
    remount(target, MountFlags::BIND | MountFlags::RDONLY)
}

/// Changes a mount's flags.
fn remount(target: &Path, mut flags: MountFlags) -> std::io::Result<()> {
    if userns::is_inside() {
        // What a mount of another namespace forbids stays forbidden, and has to be said again.
        flags |= forbidden(target)?;
    }
    Ok(mount_remount(target, flags, c"")?)
}

/// No device of the root opens, whether the image has it or the program made it: root in the sandbox is root, and
/// the disk of this machine is a number. In a user namespace there are none.
pub(crate) fn without_devices(root: &Path) -> Result<(), Failure> {
    if userns::is_inside() {
        return Ok(());
    }
    let tried = || "shut out devices".to_owned();
    let flags = forbidden(root).tried(tried)? | MountFlags::BIND | MountFlags::NODEV;
    mount_remount(root, flags, c"").tried(tried)
}

/// What a mount forbids.
fn forbidden(target: &Path) -> std::io::Result<MountFlags> {
    let held = rustix::fs::statvfs(target)?.f_flag;
    let flags = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let flags = flags.into_iter().filter(|(one, _)| held.contains(*one));
    Ok(flags.fold(MountFlags::empty(), |all, (_, flag)| all | flag))
}
