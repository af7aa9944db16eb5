//! The canonical state: what differs from build to build, or names the machine that built, goes.

use std::io;

use rustix::fs::FileType;
use tbuild_tree::SOURCE_DATE_EPOCH;

use crate::root::{Root, strip_xattrs};

/// Copies that the tools keep of their own files, caches, seeds and names of one machine.
const REMOVED: &[&str] = &[
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
    "root/.rnd",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/auxfiles",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/urandom/random-seed",
];
/// Folders that nothing outlives a boot in.
const EMPTIED: &[&str] = &["tmp", "var/tmp"];
/// Folders that apt fills; the folders themselves are its package's.
const CACHES: &[&str] = &["var/cache/apt", "var/lib/apt/lists"];
/// Folders with copies named `*-old`.
const OLD: &[&str] = &["var/lib/dpkg", "var/cache/debconf"];

/// Brings the configured system in `root` to its canonical state.
pub(super) fn canonicalise(root: &Root) -> io::Result<()> {
    for path in REMOVED {
        root.remove(path)?;
    }
    for folder in EMPTIED {
        for name in root.names(folder)? {
            root.remove(&format!("{folder}/{name}"))?;
        }
    }
    for folder in CACHES {
        remove_files(root, folder)?;
    }
    // /run/lock is base-files'; everything else in /run belongs to a running system.
    for name in root.names("run")?.iter().filter(|name| *name != "lock") {
        root.remove(&format!("run/{name}"))?;
    }
    for folder in OLD {
        for name in root
            .names(folder)?
            .iter()
            .filter(|name| name.ends_with("-old"))
        {
            root.remove(&format!("{folder}/{name}"))?;
        }
    }
    // Empty is what systemd and dbus read as "not set yet" (machine-id(5)).
    root.rewrite("etc/machine-id", b"")?;
    root.rewrite("etc/apt/sources.list", b"")?;
    logs(root, "var/log")?;
    if let Some(text) = root.read("etc/shadow")? {
        root.rewrite("etc/shadow", &last_change(&text))?;
    }
    bytecode(root)?;
    // A base has nothing below it that a folder could hide.
    strip_xattrs(root, b"trusted.overlay.")?;
    strip_xattrs(root, b"user.overlay.")
}

/// Removes the files below a folder, keeping the folders.
fn remove_files(root: &Root, folder: &str) -> io::Result<()> {
    for name in root.names(folder)? {
        let path = format!("{folder}/{name}");
        if root.kind(&path)? == Some(FileType::Directory) {
            remove_files(root, &path)?;
        } else {
            root.remove(&path)?;
        }
    }
    Ok(())
}

/// Logs go; records that programs expect to find (wtmp, btmp, lastlog) are emptied.
fn logs(root: &Root, folder: &str) -> io::Result<()> {
    for name in root.names(folder)? {
        let path = format!("{folder}/{name}");
        match root.kind(&path)? {
            Some(FileType::Directory) => logs(root, &path)?,
            Some(FileType::RegularFile) if name.contains(".log") || folder.ends_with("/apt") => {
                root.remove(&path)?;
            }
            Some(FileType::RegularFile) => root.rewrite(&path, b"")?,
            _ => {}
        }
    }
    Ok(())
}

/// Sets the day of the last password change (shadow(5), third field, days since the epoch) where there is one.
fn last_change(text: &[u8]) -> Vec<u8> {
    const DAY: i64 = SOURCE_DATE_EPOCH / 86_400;
    let line = |line: &[u8]| {
        let mut fields: Vec<Vec<u8>> = line
            .split(|&byte| byte == b':')
            .map(<[u8]>::to_vec)
            .collect();
        if let Some(day) = fields.get_mut(2)
            && !day.is_empty()
        {
            *day = DAY.to_string().into_bytes();
        }
        fields.join(&b':')
    };
    text.split(|&byte| byte == b'\n')
        .map(line)
        .collect::<Vec<_>>()
        .join(&b'\n')
}

/// Python's compiled files, which packages make when they are configured and which hold the time and the order
/// of interning: Python makes them again, or does without.
fn bytecode(root: &Root) -> io::Result<()> {
    let mut found = Vec::new();
    root.walk(&mut |path, kind, _| {
        let cache = kind == FileType::Directory && path.ends_with(b"/__pycache__");
        let compiled = kind == FileType::RegularFile && path.ends_with(b".pyc");
        if cache || compiled {
            found.extend(std::str::from_utf8(path).ok().map(str::to_owned));
        }
        Ok(())
    })?;
    for path in found {
        root.remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_change_in_shadow() {
        let text = b"root:*:19000:0:99999:7:::\ndaemon:*::0::::\nodd\n";
        assert_eq!(
            last_change(text),
            b"root:*:3652:0:99999:7:::\ndaemon:*::0::::\nodd\n"
        );
    }
}
