//! The bundle of an action: the `config.json` of the OCI runtime specification, version 1.0.2.
//!
//! It says who the program is and what it may do. What it sees of files is mounted already, by the code that mounts
//! for our own sandbox: the specification has no mount point that goes away again, no file with an owner, and no
//! overlay of more layers than fit on a page.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Capabilities, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp,
    LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall, Mount,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec, User,
};
use tbuild_exec::{Limits, Ulimit};

use crate::privileges::{capabilities, namespace_flags, refused_names, unsynced_names};
use crate::protocol::{Failure, Specification, Tried as _};
use crate::userns::{self, Ids};

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
    of_root.set_path(root.to_owned()).set_readonly(Some(false));
    // A /dev that is there is left as it is: without this, runtimes make one of their own in its place.
    let mut dev = Mount::default();
    dev.set_destination(PathBuf::from("/dev"))
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(root.join("dev")))
        .set_options(Some(vec!["rbind".to_owned(), "nosuid".to_owned()]));
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
    let mut groups = account.groups.clone();
    if userns::ids() == Ids::One {
        // The kernel sets no groups then; the user's own is there anyway.
        groups.retain(|group| *group != account.gid);
    }
    let mut user = User::default();
    user.set_uid(account.uid)
        .set_gid(account.gid)
        .set_umask(Some(specification.umask))
        .set_additional_gids((!groups.is_empty()).then_some(groups));
    let env = specification.env.iter();
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_user(user)
        .set_args(Some(specification.argv.clone()))
        .set_env(Some(
            env.map(|(name, value)| format!("{name}={value}")).collect(),
        ))
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
pub(crate) fn seccomp() -> Result<LinuxSeccomp, Failure> {
    let refused = |names: Vec<String>, errno: i32, args| {
        let mut call = LinuxSyscall::default();
        call.set_names(names)
            .set_action(LinuxSeccompAction::ScmpActErrno)
            .set_errno_ret(Some(errno as u32))
            .set_args(args);
        call
    };
    let mut calls = vec![
        refused(refused_names(), libc::EPERM, None),
        refused(vec!["clone3".to_owned()], libc::ENOSYS, None),
        refused(unsynced_names(), 0, None),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use tbuild_exec::{Limits, User};

    use super::bundle;
    use crate::protocol::{Reach, Specification};

    fn specification(uid: u32, privileged: bool) -> Specification {
        Specification {
            lower: Vec::new(),
            upper: "/upper".into(),
            work: "/work".into(),
            argv: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
            cwd: "/folder".to_owned(),
            user: User {
                uid,
                gid: 7,
                groups: vec![8],
            },
            mounts: Vec::new(),
            network: Reach::Loopback(Vec::new()),
            hostname: "name".to_owned(),
            umask: 0o027,
            limits: Limits {
                ulimits: vec![
                    "nofile=10:-1".parse().expect("a limit"),
                    "core=5".parse().expect("a limit"),
                ],
                ..Limits::default()
            },
            privileged,
            user_namespace: None,
            runtime: None,
            container: None,
        }
    }

    fn written(specification: &Specification) -> Value {
        let spec = bundle(specification, "/root".as_ref(), "/proc/5/ns/pid".into());
        serde_json::to_value(spec.unwrap_or_else(|failure| panic!("{failure:?}"))).expect("JSON")
    }

    #[test]
    fn the_program_is_told_in_the_specifications_words() {
        let spec = written(&specification(4711, false));
        let process = &spec["process"];
        let user = json!({"uid": 4711, "gid": 7, "umask": 0o027, "additionalGids": [8]});
        assert_eq!(process["user"], user);
        assert_eq!(process["args"], json!(["sh", "-c", "true"]));
        assert_eq!(process["env"], json!(["A=b=c"]));
        assert_eq!(process["cwd"], "/folder");
        assert_eq!(process["noNewPrivileges"], true);
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 10, "hard": u64::MAX},
            {"type": "RLIMIT_CORE", "soft": 5, "hard": 5},
        ]);
        assert_eq!(process["rlimits"], limits, "each name once");
        assert_eq!(
            (&spec["hostname"], &spec["root"]["path"]),
            (&json!("name"), &json!("/root"))
        );
        let namespaces = json!([
            {"type": "pid", "path": "/proc/5/ns/pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "cgroup"}
        ]);
        assert_eq!(spec["linux"]["namespaces"], namespaces);
        for absent in ["maskedPaths", "readonlyPaths", "resources"] {
            assert_eq!(spec["linux"][absent], Value::Null, "{absent}");
        }
    }

    #[test]
    fn privileges_are_those_of_our_own_sandbox() {
        let of = |uid, privileged| {
            let spec = written(&specification(uid, privileged));
            let count = |set: &str| {
                spec["process"]["capabilities"][set]
                    .as_array()
                    .map(Vec::len)
            };
            let sets = [
                "bounding",
                "effective",
                "permitted",
                "inheritable",
                "ambient",
            ]
            .map(count);
            (sets, spec["linux"]["seccomp"]["syscalls"].clone())
        };
        let (sets, calls) = of(0, false);
        assert_eq!(sets, [Some(14), Some(14), Some(14), Some(0), Some(0)]);
        let calls = calls.as_array().expect("calls are refused").clone();
        // Some, clone3, those that sync, and clone once for each kind of namespace.
        assert_eq!(calls.len(), 3 + 7);
        let names = calls[0]["names"].as_array().expect("names");
        assert!(
            names.contains(&json!("mount")) && names.contains(&json!("umount2")),
            "{names:?}"
        );
        assert_eq!(calls[1]["errnoRet"], libc::ENOSYS);
        assert_eq!(calls[2]["errnoRet"], 0);
        assert_eq!(
            of(1, false).0,
            [Some(14), Some(0), Some(0), Some(0), Some(0)]
        );
        let (sets, calls) = of(0, true);
        assert!(sets[0] > Some(14), "{sets:?}");
        assert_eq!(calls, Value::Null);
    }
}
