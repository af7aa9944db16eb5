//! Merged /usr (Debian's DEP 17 and systemd's "The Case for the /usr Merge").

use std::io::{self, Read};

use crate::root::{Attributes, Root};

/// Makes the links that a merged /usr has, before anything is unpacked. Where `base_files` (the files of the
/// package base-files) ships them itself, as since Debian 13, they come from there.
pub(super) fn merge_usr(root: &Root, architecture: &str, base_files: impl Read) -> io::Result<()> {
    if ships_links(base_files)? {
        return Ok(());
    }
    let libraries: &[&str] = match architecture {
        "amd64" => &["lib32", "lib64", "libx32"],
        "i386" => &["lib64", "libx32"],
        "ppc64el" => &["lib64"],
        "s390x" => &["lib32"],
        _ => &[],
    };
    for name in ["bin", "sbin", "lib"].iter().chain(libraries) {
        let target = format!("usr/{name}");
        root.directory(
            target.as_bytes(),
            Attributes {
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
        )?;
        root.symlink(
            name.as_bytes(),
            target.as_bytes(),
            Attributes {
                mode: 0o777,
                uid: 0,
                gid: 0,
            },
        )?;
    }
    Ok(())
}

fn ships_links(base_files: impl Read) -> io::Result<bool> {
    for entry in tar::Archive::new(base_files).entries()? {
        let entry = entry?;
        if entry.path_bytes().as_ref() == b"./bin" {
            return Ok(entry.header().entry_type().is_symlink());
        }
    }
    Ok(false)
}
