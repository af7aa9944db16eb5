//! The machine's root file system: its image's layers, what it writes, and the kernel's own file systems.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};

use crate::layout::{Layout, MACHINE_FOLDERS};
use crate::{NodeError, NodeSpec};

/// Makes the folders and the short names of the layers, before the machine is there.
pub(crate) fn prepare(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let names = layout.root("l");
    make_folder(&names)?;
    for part in ["upper", "work", "merged"] {
        make_folder(&layout.root(part))?;
    }
    for (name, _) in MACHINE_FOLDERS {
        make_folder(&layout.machine_folder(name))?;
    }
    for (number, layer) in spec.lower.iter().enumerate() {
        if !layer.is_dir() {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(NodeError::io("use layer", layer)(missing));
        }
        let name = names.join(number.to_string());
        crate::state::remove_file(&name)?;
        std::os::unix::fs::symlink(layer, &name).map_err(NodeError::io("link", &name))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), NodeError> {
    fs::create_dir_all(path).map_err(NodeError::io("make folder", path))
}

/// Enters the root file system. Called in a mount namespace of the machine's own, by its pid 1.
pub(crate) fn enter(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let all = MountPropagationFlags::REC;
    at("/", mount_change("/", MountPropagationFlags::PRIVATE | all))?;
    let root = layout.root("merged");
    mount_layers(layout, spec)?;
    mount_kernel(&root)?;
    for (name, target) in MACHINE_FOLDERS {
        let target = mount_point(&root, target)?;
        at(&target, mount_bind(layout.machine_folder(name), &target))?;
    }
    // The old root comes to lie over the new one, and goes with all that is mounted below.
    at(&root, rustix::process::chdir(&root))?;
    at(&root, rustix::process::pivot_root(".", "."))?;
    at("/", unmount(".", UnmountFlags::DETACH))?;
    at("/", rustix::process::chdir("/"))?;
    // kubelet hands mounts on to containers that ask for it.
    at("/", mount_change("/", MountPropagationFlags::SHARED | all))
}

fn mount_layers(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let folder = layout.root("");
    at(&folder, rustix::process::chdir(&folder))?;
    let layers: Vec<_> = (0..spec.lower.len()).map(|n| format!("l/{n}")).collect();
    let options = format!("lowerdir={},upperdir=upper,workdir=work", layers.join(":"));
    let options = CString::new(options).map_err(|_| NodeError::Spec("nul in a path".to_owned()))?;
    let none = MountFlags::empty();
    at(
        layout.root("merged"),
        mount(
            "overlay",
            "merged",
            "overlay",
            none,
            Some(options.as_c_str()),
        ),
    )
}

fn mount_kernel(root: &Path) -> Result<(), NodeError> {
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let new = |name: &str, kind: &str, flags: MountFlags, options: Option<&std::ffi::CStr>| {
        let target = mount_point(root, name)?;
        at(&target, mount(kind, &target, kind, flags, options))
    };
    new("proc", "proc", plain, None)?;
    // Its own, for it shows the links of the network namespace; the cgroups are the host's.
    new("sys", "sysfs", plain, None)?;
    let cgroups = root.join("sys/fs/cgroup");
    at(&cgroups, mount_bind_recursive("/sys/fs/cgroup", &cgroups))?;
    new(
        "run",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(c"mode=755"),
    )?;
    // The host's devices, so that a pod may be given one; terminals and queues of its own.
    let devices = mount_point(root, "dev")?;
    at(&devices, mount_bind("/dev", &devices))?;
    let silent = MountFlags::NOSUID | MountFlags::NOEXEC;
    let terminals = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    for (name, kind, options) in [
        ("dev/pts", "devpts", Some(terminals)),
        ("dev/shm", "tmpfs", Some(c"mode=1777")),
        ("dev/mqueue", "mqueue", None),
    ] {
        // Not made where missing: it would be made on the host.
        if root.join(name).is_dir() {
            new(name, kind, silent, options)?;
        }
    }
    Ok(())
}

/// The folder `name` under `root`, made where missing. A symbolic link on the way would lead out of the
/// image onto the host, and is an error.
fn mount_point(root: &Path, name: &str) -> Result<PathBuf, NodeError> {
    let mut path = root.to_owned();
    for part in name.split('/') {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                let not = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(NodeError::io("mount on", &path)(not));
            }
            Err(_) => fs::create_dir(&path).map_err(NodeError::io("make folder", &path))?,
        }
    }
    Ok(path)
}

fn at<T>(path: impl AsRef<Path>, done: rustix::io::Result<T>) -> Result<T, NodeError> {
    done.map_err(|errno| NodeError::io("mount", path.as_ref())(errno.into()))
}

/// Writes the machine's configuration. Called inside.
pub(crate) fn configure(files: &[(String, String)]) -> Result<(), NodeError> {
    for (path, text) in files {
        let path = Path::new(path);
        make_folder(path.parent().unwrap_or(Path::new("/")))?;
        // An image's own may be a symbolic link to something that a machine of another kind has.
        crate::state::remove_file(path)?;
        fs::write(path, text).map_err(NodeError::io("write", path))?;
    }
    Ok(())
}
