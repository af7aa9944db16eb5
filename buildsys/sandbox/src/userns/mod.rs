//! A user namespace for who is not root: the process keeps its id, its files and its terminal, and becomes the
//! root of a namespace that holds the user's own id and the subordinate ones (subuid(5), subgid(5)).
//!
//! Inside, id 0 is the user; 1 and above are the subordinate ids in the order of the files. So whatever runs,
//! unpacks and captures there sees the owners that a layer names, and needs no other code than root does.

mod enter;
mod ranges;

pub use enter::{EnterError, as_user_main, enter};
pub use ranges::{Ranges, subordinate};

/// The first argument that makes the program run another one as the user who entered the namespace.
pub const AS_USER_ARG: &str = "__as-user";

/// Which owners this process may give to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// All there are: this is no user namespace.
    All,
    /// As many, from 0 on.
    Some(u64),
    /// Its own alone.
    One,
}

impl Ids {
    /// What a failure may have come from, for the user.
    pub fn hint(self) -> Option<String> {
        let remedy = "/etc/subuid and /etc/subgid grant a user more, newuidmap and newgidmap (package uidmap) apply them; \
                      tbuild doctor looks at it";
        match self {
            Self::All => None,
            Self::Some(count) if count >= 65_536 => None,
            Self::Some(count) => Some(format!(
                "this user has {count} ids, so owners from {count} on cannot be set: {remedy}"
            )),
            Self::One => Some(format!(
                "this user has one id alone, so files cannot be given to others than root: {remedy}"
            )),
        }
    }
}

/// Which owners this process may give to files, as /proc/self/uid_map says (user_namespaces(7)).
pub fn ids() -> Ids {
    let count = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lengths = text
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        lengths
            .filter_map(|length| length.parse::<u64>().ok())
            .sum::<u64>()
    };
    match count("/proc/self/uid_map").min(count("/proc/self/gid_map")) {
        1 => Ids::One,
        // Without /proc there is no telling; the whole is 2^32 - 1.
        0 | 4_294_967_295.. => Ids::All,
        count => Ids::Some(count),
    }
}

/// Inode of the first user namespace (Linux: `PROC_USER_INIT_INO`).
const FIRST: u64 = 0xEFFF_FFFD;

/// Whether this process is in a user namespace other than the machine's first: what is mounted here follows
/// other rules then, whatever ids there are.
pub fn is_inside() -> bool {
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino != FIRST)
}

/// Where overlayfs keeps its mark of an opaque folder in the mounts that this process makes.
pub(crate) fn opaque_mark() -> &'static [u8] {
    if is_inside() {
        b"user.overlay.opaque"
    } else {
        b"trusted.overlay.opaque"
    }
}
