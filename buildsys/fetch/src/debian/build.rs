//! From a base's packages to its file system.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use tbuild_digest::HashingReader;
use tbuild_exec::{Action, Cancel, Executor, Mount, MountSource, OutputSink};
use tbuild_lock::{BaseLock, PackageLock};
use tbuild_store::{Staging, Store, StoreError};
use tbuild_tree::SOURCE_DATE_EPOCH;

use super::BuildBaseError;
use super::clean::canonicalise;
use super::deb::data_tar;
use super::merged::merge_usr;
use crate::archive::{Owners, unpack_tar};
use crate::root::{Attributes, Root};

/// Where the package files are seen while they are configured.
const PACKAGES: &str = "/run/tbuild-packages";
/// Says to maintainer scripts that no service may be started (Debian's invoke-rc.d, "policy-rc.d").
const POLICY: &[u8] = b"#!/bin/sh\nexit 101\n";

/// Builds the base that `lock` describes into `staging.upper()`: unpacks the packages (already in the store:
/// [`crate::Fetcher::fetch_base`]), configures them in the sandbox with no network, and brings the result to
/// its canonical state. The caller captures the folder as a layer without lower ones. Two builds of one lock give
/// the same tree; mtimes are the caller's to set. Blocks. Programs' output goes to `output`.
pub fn build_base(
    lock: &BaseLock,
    store: &dyn Store,
    executor: &dyn Executor,
    staging: &dyn Staging,
    output: &mut OutputSink<'_>,
    cancel: &Cancel,
) -> Result<(), BuildBaseError> {
    let scratch = tempfile::tempdir_in(store.scratch("base")?)
        .map_err(BuildBaseError::io("make a folder for the packages"))?;
    for package in &lock.packages {
        copy_package(store, package, scratch.path())?;
    }
    let root = Root::open(staging.upper()).map_err(BuildBaseError::io("open the root"))?;
    extract(lock, &root, scratch.path())?;

    let (bootstrap, include): (Vec<_>, Vec<_>) =
        lock.packages.iter().partition(|package| package.bootstrap);
    let mut run =
        |argv: Vec<String>| configure(executor, staging, scratch.path(), argv, output, cancel);
    run(dpkg(&bootstrap))?;
    if !include.is_empty() {
        run(apt_get(&include))?;
    }
    // dpkg was told to put up with missing dependencies: in the end none may be missing.
    run(vec![
        "apt-get".to_owned(),
        "--quiet".to_owned(),
        "check".to_owned(),
    ])?;
    canonicalise(&root).map_err(BuildBaseError::io("clean the files"))
}

/// The file name of a package below [`PACKAGES`].
fn file_name(package: &PackageLock) -> String {
    // A colon (of an epoch) would end a path in apt's eyes.
    let version = package.version.replace(':', "%3a");
    format!("{}_{version}_{}.deb", package.name, package.architecture)
}

/// Copies a package out of the store, checking its bytes once more.
fn copy_package(
    store: &dyn Store,
    package: &PackageLock,
    folder: &Path,
) -> Result<(), BuildBaseError> {
    let name = file_name(package);
    let blob = store.open_blob(&package.sha256)?;
    let blob = blob.ok_or_else(|| BuildBaseError::Missing {
        package: name.clone(),
        digest: package.sha256,
    })?;
    let mut reader = HashingReader::new(blob);
    let copied =
        File::create(folder.join(&name)).and_then(|mut file| io::copy(&mut reader, &mut file));
    copied.map_err(BuildBaseError::io(format!("copy package {name}")))?;
    if reader.finish().0 != package.sha256.0 {
        return Err(StoreError::Corrupt(package.sha256).into());
    }
    Ok(())
}

/// Unpacks what must be there before dpkg can run inside.
fn extract(lock: &BaseLock, root: &Root, folder: &Path) -> Result<(), BuildBaseError> {
    let unpack = |package: &PackageLock, work: &dyn Fn(Box<dyn Read>) -> io::Result<()>| {
        let open = || -> io::Result<()> {
            work(data_tar(BufReader::new(File::open(
                folder.join(file_name(package)),
            )?))?)
        };
        open().map_err(|source| BuildBaseError::Unpack {
            package: file_name(package),
            source,
        })
    };
    let missing = |package| BuildBaseError::Incomplete {
        suite: lock.suite.clone(),
        package,
    };
    let find = |name| {
        lock.packages
            .iter()
            .find(|package| package.name == name && package.bootstrap)
            .ok_or_else(|| missing(name))
    };
    let base_files = find("base-files")?;
    find("dpkg")?;
    root.directory(
        b"",
        Attributes {
            mode: 0o755,
            uid: 0,
            gid: 0,
        },
    )
    .map_err(BuildBaseError::io("set up the root"))?;
    unpack(base_files, &|files| {
        merge_usr(root, &lock.architecture, files)
    })?;
    for package in lock.packages.iter().filter(|package| package.bootstrap) {
        unpack(package, &|files| unpack_tar(root, files, Owners::Recorded))?;
    }
    let plain = Attributes {
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    for path in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
        root.file(path.as_bytes(), plain, &mut io::empty())
            .map_err(BuildBaseError::io("start dpkg's database"))?;
    }
    Ok(())
}

/// Installs the packages that are needed before apt works. dpkg takes no heed of Pre-Depends in the order of its
/// arguments; what they ask for has been unpacked, so they may be overridden. base-passwd is first because
/// its script makes the accounts that files of the others belong to.
fn dpkg(packages: &[&PackageLock]) -> Vec<String> {
    let first = |name: &str| {
        ["base-passwd", "base-files"]
            .iter()
            .position(|first| *first == name)
            .unwrap_or(2)
    };
    let mut packages = packages.to_vec();
    packages.sort_by_key(|package| (first(&package.name), &package.name));
    let options = ["dpkg", "--force-unsafe-io", "--force-depends", "--install"].map(str::to_owned);
    options
        .into_iter()
        .chain(packages.iter().map(|package| path(package)))
        .collect()
}

/// Installs the rest by apt, which knows the order; all of it is at hand, so it looks nowhere else.
fn apt_get(packages: &[&PackageLock]) -> Vec<String> {
    let options = [
        "apt-get",
        "--yes",
        "--no-install-recommends",
        "--option=Dpkg::Options::=--force-unsafe-io",
        "--option=APT::Sandbox::User=root",
        "--option=Dpkg::Use-Pty=0",
        "install",
    ];
    options
        .map(str::to_owned)
        .into_iter()
        .chain(packages.iter().map(|package| path(package)))
        .collect()
}

fn path(package: &PackageLock) -> String {
    format!("{PACKAGES}/{}", file_name(package))
}

/// Runs a program of the base as root, without network.
fn configure(
    executor: &dyn Executor,
    staging: &dyn Staging,
    packages: &Path,
    argv: Vec<String>,
    output: &mut OutputSink<'_>,
    cancel: &Cancel,
) -> Result<(), BuildBaseError> {
    empty(staging.work()).map_err(BuildBaseError::io("empty the work folder"))?;
    let mount = |target: &str, source| Mount {
        target: target.to_owned(),
        source,
        read_only: true,
    };
    let program = argv.first().cloned().unwrap_or_default();
    let (upper, work) = (staging.upper().to_owned(), staging.work().to_owned());
    let action = Action {
        env: environment(),
        mounts: vec![
            mount(PACKAGES, MountSource::Bind(packages.to_owned())),
            mount("/usr/sbin/policy-rc.d", MountSource::content(POLICY, 0o755)),
        ],
        ..Action::new(Vec::new(), upper, work, argv)
    };
    let exit = executor.run(&action, output, cancel)?;
    if exit.success() {
        Ok(())
    } else {
        Err(BuildBaseError::Configure { program, exit })
    }
}

fn environment() -> BTreeMap<String, String> {
    let variables = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("TERM", "dumb"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("DEBCONF_NOWARNINGS", "yes"),
    ];
    let mut env: BTreeMap<String, String> = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    env.insert(
        "SOURCE_DATE_EPOCH".to_owned(),
        SOURCE_DATE_EPOCH.to_string(),
    );
    env
}

/// Removes what an earlier overlay mount left in its work folder.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
