//! Layers put together by the kernel's overlayfs.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind};

use crate::mounts::{held, hold};
use crate::protocol::{Failure, Tried as _};
use crate::userns;

/// The layers below, the topmost first, the upper folder on top.
pub(crate) fn writable(
    lower: &[OwnedFd],
    upper: &OwnedFd,
    work: &OwnedFd,
    target: &Path,
) -> Result<(), Failure> {
    if lower.is_empty() {
        return mount_bind(held(upper).as_str(), target)
            .tried(|| "mount the upper folder".to_owned());
    }
    let layers: Vec<String> = lower.iter().map(held).collect();
    let writes = format!(",upperdir={},workdir={}", held(upper), held(work));
    mounted(&layers, &writes, MountFlags::empty(), target)
}

/// The layers alone; `empty` is an empty folder.
pub(crate) fn read_only(lower: &[OwnedFd], empty: &Path, target: &Path) -> Result<(), Failure> {
    // Without an upper folder the kernel wants two layers at least: an empty one goes below all of them.
    let empty = hold(empty)?;
    if lower.is_empty() {
        return mount_bind(held(&empty).as_str(), target).tried(|| "mount nothing".to_owned());
    }
    let mut layers: Vec<String> = lower.iter().map(held).collect();
    layers.push(held(&empty));
    mounted(&layers, "", MountFlags::RDONLY, target)
}

fn mounted(
    layers: &[String],
    writes: &str,
    flags: MountFlags,
    target: &Path,
) -> Result<(), Failure> {
    // By descriptor a layer costs some 18 bytes of the page that options may take: 200 layers fit. In a user
    // namespace overlayfs keeps its marks where a user may write, and follows no redirects.
    let rest = if userns::is_inside() {
        "redirect_dir=nofollow,userxattr"
    } else {
        "redirect_dir=off"
    };
    let options = format!(
        "lowerdir={}{writes},index=off,metacopy=off,xino=off,{rest}",
        layers.join(":")
    );
    let options = std::ffi::CString::new(options)
        .map_err(std::io::Error::other)
        .tried(|| "name layers".to_owned())?;
    mount(
        "overlay",
        target,
        "overlay",
        flags,
        Some(options.as_c_str()),
    )
    .tried(|| format!("mount an overlay of {} layers", layers.len()))
}
