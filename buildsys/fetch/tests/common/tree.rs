//! Trees of files, compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tbuild_digest::BlobDigest;

/// Every name below `root` with all that a layer records, but mtimes.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_symlink() {
                String::from_utf8_lossy(fs::read_link(&path).unwrap().as_os_str().as_bytes())
                    .into_owned()
            } else if meta.is_file() {
                BlobDigest::of(&fs::read(&path).unwrap()).to_string()
            } else {
                String::new()
            };
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.insert(
                name,
                format!(
                    "{:o} {}:{} {} {content}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.rdev()
                ),
            );
            if meta.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

/// Names that are in one listing only, or differ.
pub fn difference(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differs = |name: &&&String| one.get(**name) != other.get(**name);
    names
        .iter()
        .filter(differs)
        .map(|name| format!("{name}: {:?} / {:?}", one.get(*name), other.get(*name)))
        .collect()
}
