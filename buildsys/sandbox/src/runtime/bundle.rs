//! The bundle of an action: the `config.json` of the OCI runtime specification, version 1.0.2.
//!
//! It says who the program is and what it may do. What it sees of files is mounted already, by the code that mounts
//! for our own sandbox: the specification has no mount point that goes away again, no file with an owner, and no
//! overlay of more layers than fit on a page.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Capabilities, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp,
    LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall, Mount, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process, Root, Spec, User,
};
use tbuild_exec::{Limits, Ulimit};

use crate::privileges::{capabilities, namespace_flags, refused_names};
use crate::protocol::{Failure, Specification, Tried as _};

/// The version whose terms are used.
const VERSION: &str = "1.0.2";

/// What is to be run over the root at `root`, by the process that will be the second one in the pid namespace
/// at `pids`.
pub(super) fn bundle(
    specification: &Specification,
    root: &Path,
    pids: PathBuf,
) -> Result<Spec, Failure> {
    let mut of_root = Root::default();
    of_root
        .set_path(root.to_owned())
        .set_readonly(Some(false));
    // A /dev that is there is left as it is: without this, runtimes make one of their own in its place.
    let mut dev = Mount::default();
    dev.set_destination(PathBuf::from("/dev"))
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(root.join("dev")))
        .set_options(Some(vec!["rbind".to_owned()]));
    let filter = if specification.privileged {
        None
    } else {
        Some(seccomp()?)
    };
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(pids)))
        // The cgroup is ours, and the helper is in it.
        .set_resources(None)
        .set_seccomp(filter)
        // Covered already.
        .set_masked_paths(None)
        .set_readonly_paths(None);
    let mut spec = Spec::default();
    spec.set_version(VERSION.to_owned())
        .set_root(Some(of_root))
        .set_hostname(Some(specification.hostname.clone()))
        .set_mounts(Some(vec![dev]))
        .set_annotations(None)
        .set_process(Some(process(specification)?))
        .set_linux(Some(linux));
    Ok(spec)
}

/// The network, the ipc and the pid namespace are those whose /sys, /dev/mqueue and /proc are mounted.
fn namespaces(pids: PathBuf) -> Vec<LinuxNamespace> {
    let namespace = |kind, path| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path);
        namespace
    };
    vec![
        namespace(LinuxNamespaceType::Pid, Some(pids)),
        namespace(LinuxNamespaceType::Mount, None),
        namespace(LinuxNamespaceType::Uts, None),
        namespace(LinuxNamespaceType::Cgroup, None),
    ]
}

fn process(specification: &Specification) -> Result<Process, Failure> {
    let account = &specification.user;
    let mut user = User::default();
    user.set_uid(account.uid)
        .set_gid(account.gid)
        .set_umask(Some(specification.umask))
        .set_additional_gids((!account.groups.is_empty()).then(|| account.groups.clone()));
    let env = specification.env.iter();
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_user(user)
        .set_args(Some(specification.argv.clone()))
        .set_env(Some(env.map(|(name, value)| format!("{name}={value}")).collect()))
        .set_cwd(PathBuf::from(&specification.cwd))
        .set_capabilities(Some(allowed(specification)?))
        .set_rlimits(Some(rlimits(&specification.limits)?))
        .set_no_new_privileges(Some(!specification.privileged))
        .set_oom_score_adj(specification.limits.memory.map(|_| 0));
    Ok(process)
}

/// Who is not root has none in effect, as setuid(2) leaves them; a set-user-id program may get the bounding ones.
fn allowed(specification: &Specification) -> Result<LinuxCapabilities, Failure> {
    let mut bounding = Capabilities::new();
    for (name, _) in capabilities(specification.privileged).iter_names() {
        let capability = name.parse().map_err(std::io::Error::other);
        bounding.insert(capability.tried(|| format!("name the capability {name}"))?);
    }
    let mut effective = bounding.clone();
    if specification.user.uid != 0 {
        effective.clear();
    }
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(bounding))
        .set_effective(Some(effective.clone()))
        .set_permitted(Some(effective))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    Ok(sets)
}

/// The limits of each process, no core files being the one that all have.
fn rlimits(limits: &Limits) -> Result<Vec<PosixRlimit>, Failure> {
    let core = Ulimit {
        name: "core".to_owned(),
        soft: Some(0),
        hard: Some(0),
    };
    // A name may stand in a bundle once: the last one counts.
    let mut all = vec![core];
    for limit in &limits.ulimits {
        all.retain(|other| other.name != limit.name);
        all.push(limit.clone());
    }
    let rlimit = |limit: Ulimit| {
        let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
        let tried = || format!("set the limit {limit}");
        let kind: PosixRlimitType = name.parse().map_err(std::io::Error::other).tried(tried)?;
        PosixRlimitBuilder::default()
            .typ(kind)
            .soft(limit.soft.unwrap_or(u64::MAX))
            .hard(limit.hard.unwrap_or(u64::MAX))
            .build()
            .map_err(std::io::Error::other)
            .tried(tried)
    };
    all.into_iter().map(rlimit).collect()
}

/// The filter of our own sandbox in the specification's words.
fn seccomp() -> Result<LinuxSeccomp, Failure> {
    let refused = |names: Vec<String>, errno: i32, args| {
        let mut call = LinuxSyscall::default();
        call.set_names(names)
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(errno as u32))
            .set_args(args);
        call
    };
    let names = refused_names().map(str::to_owned).collect();
    let mut calls = vec![
        refused(names, libc::EPERM, None),
        refused(vec!["clone3".to_owned()], libc::ENOSYS, None),
    ];
    // Arguments of one rule count together; that any of the flags is one too many takes a rule each.
    for bit in namespace_flags() {
        let flag = LinuxSeccompArgBuilder::default()
            .index(0_usize)
            .value(bit)
            .value_two(bit)
            .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
            .build()
            .map_err(std::io::Error::other)
            .tried(|| "name a flag of clone".to_owned())?;
        let clone = vec!["clone".to_owned()];
        calls.push(refused(clone, libc::EPERM, Some(vec![flag])));
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(LinuxSeccompAction::ScmpActAllow)
        .set_syscalls(Some(calls));
    Ok(seccomp)
}
