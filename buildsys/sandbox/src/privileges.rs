//! What the program may not do: capabilities and system calls.
//!
//! The kept capabilities and the refused calls are those of Docker's default profile, as far as they make a
//! difference to a build; a refused call fails with EPERM, clone3 with ENOSYS so that libraries fall back to
//! clone, whose flags a filter can see.
//!
//! Calls that wait for a disk succeed at once: what a step wrote is read back by tbuild, and kept by the rules of its
//! store, or thrown away with the step. A package manager syncs every file and its own records after each package.

use std::collections::BTreeMap;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use crate::protocol::{Failure, Tried as _};

const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Leaves the kept capabilities in the bounding set alone, and in effect.
pub(crate) fn drop_capabilities() -> Result<(), Failure> {
    for capability in CapabilitySet::all().difference(KEPT).iter() {
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            remove_capability_from_bounding_set(capability)
                .tried(|| format!("drop {capability:?}"))?;
        }
    }
    let sets = CapabilitySets {
        effective: KEPT,
        permitted: KEPT,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).tried(|| "set capabilities".to_owned())
}

/// A system call: its name with `SYS_` before it, and its number here.
type Call = (&'static str, libc::c_long);

macro_rules! calls {
    ($($call:ident),* $(,)?) => { &[$((stringify!($call), libc::$call)),*] };
}

const REFUSED: &[Call] = calls![
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_kcmp,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_move_pages,
    SYS_nfsservctl,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pidfd_getfd,
    SYS_pivot_root,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[Call] = calls![SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[Call] = &[];

/// Not msync: programs ask by it whether an address is mapped.
const UNSYNCED: &[Call] = calls![
    SYS_fdatasync,
    SYS_fsync,
    SYS_sync,
    SYS_sync_file_range,
    SYS_syncfs,
];

const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// The flags of clone(2) that ask for a namespace, one bit each.
pub(crate) fn namespace_flags() -> impl Iterator<Item = u64> {
    let bits = (0..64).map(|bit| 1_u64 << bit);
    bits.filter(|bit| NAMESPACES & bit != 0)
}

fn names<'a>(calls: impl Iterator<Item = &'a Call>) -> Vec<String> {
    calls
        .map(|(name, _)| name.trim_start_matches("SYS_").to_owned())
        .collect()
}

/// The names of the calls that are refused whatever their arguments.
pub(crate) fn refused_names() -> Vec<String> {
    names(REFUSED.iter().chain(REFUSED_HERE))
}

/// The names of the calls that do nothing and succeed.
pub(crate) fn unsynced_names() -> Vec<String> {
    names(UNSYNCED.iter())
}

/// The capabilities that a program has: the kept ones, or all of this process's.
pub(crate) fn capabilities(privileged: bool) -> CapabilitySet {
    let wanted = if privileged {
        CapabilitySet::all()
    } else {
        KEPT
    };
    let held =
        |capability: &CapabilitySet| capability_is_in_bounding_set(*capability).unwrap_or(false);
    wanted.iter().filter(held).collect()
}

/// The filters, made before privileges are dropped.
pub(crate) fn filters() -> Result<Vec<BpfProgram>, BackendError> {
    let all = |calls: &[Call]| -> BTreeMap<i64, Vec<SeccompRule>> {
        let numbers = calls.iter().map(|(_, number)| *number);
        numbers.map(|number| (number, Vec::new())).collect()
    };
    let mut refused = all(REFUSED);
    refused.extend(all(REFUSED_HERE));
    let mut namespaces = Vec::new();
    for bit in namespace_flags() {
        let flag =
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit)?;
        namespaces.push(SeccompRule::new(vec![flag])?);
    }
    refused.insert(libc::SYS_clone, namespaces);
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = |rules, action| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(action),
            architecture,
        )?
        .try_into()
    };
    Ok(vec![
        filter(refused, libc::EPERM as u32)?,
        filter(
            BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
            libc::ENOSYS as u32,
        )?,
        filter(all(UNSYNCED), 0)?,
    ])
}
