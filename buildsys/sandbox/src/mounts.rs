//! The root file system that the program sees.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use tbuild_exec::Network;

use crate::protocol::{Failure, Source, Specification, Tried as _};
use crate::target::{Made, find_or_make};
use crate::userns::{self, Ids};

/// Where the init puts things together: hidden under a file system of its own.
const BASE: &str = "/tmp";

/// The root, mounted but not entered yet.
pub(crate) struct Root {
    path: PathBuf,
    made: Made,
    /// Mount points, in order.
    mounted: Vec<PathBuf>,
}

/// Opens a path so that it stays reachable whatever is mounted over it.
fn hold(path: &Path) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .tried(|| format!("open {}", path.display()))
}

fn held(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

impl Root {
    /// Mounts all of it. Runs in mount, pid and ipc namespaces of its own.
    pub(crate) fn mount(specification: &Specification) -> Result<Self, Failure> {
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
        let binds: Vec<Option<OwnedFd>> = specification
            .mounts
            .iter()
            .map(|point| {
                if let Source::Bind(path) = &point.source {
                    hold(path).map(Some)
                } else {
                    Ok(None)
                }
            })
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
        overlay(&lower, &upper, &work, &path)?;
        let mut root = Self {
            path,
            made: Made::default(),
            mounted: Vec::new(),
        };
        root.devices()?;
        root.kernel(specification.network)?;
        let contents = PathBuf::from(BASE).join("contents");
        std::fs::create_dir(&contents).tried(|| "make a folder for files".to_owned())?;
        for (at, (point, bind)) in specification.mounts.iter().zip(&binds).enumerate() {
            match (&point.source, bind) {
                (Source::Bind(path), Some(fd)) => {
                    let target = root.target(&point.target, path.is_dir() || is_folder(fd))?;
                    mount_bind_recursive(held(fd).as_str(), &target)
                        .tried(|| format!("mount {}", point.target))?;
                    seal(&point.target, &target, point.read_only)?;
                }
                (Source::Content { bytes, mode }, _) => {
                    let file = contents.join(at.to_string());
                    write(&file, bytes, *mode)
                        .tried(|| format!("write the file for {}", point.target))?;
                    let target = root.target(&point.target, false)?;
                    mount_bind(&file, &target).tried(|| format!("mount {}", point.target))?;
                    seal(&point.target, &target, point.read_only)?;
                }
                _ => {
                    let target = root.target(&point.target, true)?;
                    mount(
                        "tmpfs",
                        &target,
                        "tmpfs",
                        MountFlags::NOSUID | MountFlags::NODEV,
                        Some(c"mode=1777"),
                    )
                    .tried(|| format!("mount {}", point.target))?;
                }
            }
        }
        Ok(root)
    }

    fn target(&mut self, target: &str, folder: bool) -> Result<PathBuf, Failure> {
        let path = find_or_make(&self.path, target, folder, &mut self.made)?;
        self.mounted.push(path.clone());
        Ok(path)
    }

    /// /dev: the few devices that programs expect.
    fn devices(&mut self) -> Result<(), Failure> {
        let dev = self.target("/dev", true)?;
        mount(
            "tmpfs",
            &dev,
            "tmpfs",
            MountFlags::NOSUID,
            Some(c"mode=0755,size=65536k"),
        )
        .tried(|| "mount /dev".to_owned())?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let (from, to) = (Path::new("/dev").join(name), dev.join(name));
            write(&to, b"", 0o666).tried(|| format!("make /dev/{name}"))?;
            mount_bind(&from, &to).tried(|| format!("mount /dev/{name}"))?;
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
        mount(
            "devpts",
            dev.join("pts"),
            "devpts",
            plain,
            Some(terminals),
        )
        .tried(|| "mount /dev/pts".to_owned())?;
        mount(
            "shm",
            dev.join("shm"),
            "tmpfs",
            plain | MountFlags::NODEV,
            Some(c"mode=1777"),
        )
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
    fn kernel(&mut self, network: Network) -> Result<(), Failure> {
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let proc = self.target("/proc", true)?;
        mount("proc", &proc, "proc", plain, None).tried(|| "mount /proc".to_owned())?;
        for name in [
            "kcore",
            "keys",
            "latency_stats",
            "timer_list",
            "sched_debug",
        ] {
            let path = proc.join(name);
            if path.exists() {
                mount_bind("/dev/null", &path).tried(|| format!("cover /proc/{name}"))?;
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
        let sys = self.target("/sys", true)?;
        if network == Network::Host && userns::is_inside() {
            // sysfs shows a network, and this one belongs to another user namespace: only what is mounted
            // already can be shown, and only with all that is mounted on it.
            mount_bind_recursive("/sys", &sys).tried(|| "mount /sys".to_owned())?;
            crate::fork::protect_recursively(&sys).tried(|| "protect /sys".to_owned())?;
            cover(&sys.join("fs/cgroup"))?;
        } else {
            mount("sysfs", &sys, "sysfs", plain | MountFlags::RDONLY, None)
                .tried(|| "mount /sys".to_owned())?;
        }
        cover(&sys.join("firmware"))?;
        cover(&sys.join("devices/virtual/powercap"))
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

fn is_folder(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

/// Hides a folder, if it is there.
fn cover(path: &Path) -> Result<(), Failure> {
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

/// The layers below, the upper folder on top.
fn overlay(
    lower: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    target: &Path,
) -> Result<(), Failure> {
    if lower.is_empty() {
        return mount_bind(held(upper).as_str(), target)
            .tried(|| "mount the upper folder".to_owned());
    }
    let lower: Vec<String> = lower.iter().map(held).collect();
    // By descriptor a layer costs some 18 bytes of the page that options may take: 200 layers fit. In a user
    // namespace overlayfs keeps its marks where a user may write, and follows no redirects.
    let rest = if userns::is_inside() {
        "redirect_dir=nofollow,userxattr"
    } else {
        "redirect_dir=off"
    };
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,xino=off,{rest}",
        lower.join(":"),
        held(upper),
        held(work)
    );
    let options = std::ffi::CString::new(options)
        .map_err(std::io::Error::other)
        .tried(|| "name layers".to_owned())?;
    mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .tried(|| format!("mount an overlay of {} layers", lower.len()))
}

/// A mount for the program: no devices, no set-id programs, and read-only if asked.
fn seal(name: &str, target: &Path, read_only: bool) -> Result<(), Failure> {
    let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, read_only);
    if userns::is_inside() {
        // What a mount of another namespace forbids stays forbidden, and has to be said again.
        let stat = rustix::fs::statvfs(target).tried(|| format!("look at {name}"))?;
        for (held, flag) in [
            (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ] {
            if stat.f_flag.contains(held) {
                flags |= flag;
            }
        }
    }
    mount_remount(target, flags, c"").tried(|| format!("protect {name}"))
}
