//! The kernel, who runs tbuild, and the trusted certificates.

use tbuild_sandbox::userns::{self, Ids};

use super::{Finding, find_program};

/// The kernel's release: overlayfs in user namespaces came with 5.11, closing a range of descriptors on
/// exec with 5.11, protecting a tree of mounts at once with 5.12.
pub fn kernel() -> Finding {
    const NEEDED: (u32, u32) = (5, 12);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let text = format!("Linux {release}");
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < NEEDED => Finding::warn(
            "kernel",
            text,
            format!(
                "{}.{} or later is what tbuild is made for",
                NEEDED.0, NEEDED.1
            ),
        ),
        _ => Finding::ok("kernel", text),
    }
}

/// Who runs tbuild, and which owners files may get. `refused`: why no user namespace could be entered.
pub fn identity(rootless: bool, refused: Option<&str>) -> Finding {
    const CHECK: &str = "user";
    if let Some(why) = refused {
        return Finding::missing(
            CHECK,
            why,
            "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns decide who may have one; a container's seccomp profile \
             may refuse them too (docker run --security-opt seccomp=unconfined); or run tbuild as root",
        );
    }
    match userns::ids() {
        Ids::All if rootless => Finding::ok(CHECK, "in a user namespace with all ids"),
        Ids::All => Finding::ok(CHECK, "root, with all ids"),
        Ids::Some(count) if count >= 65_536 => {
            Finding::ok(CHECK, format!("in a user namespace with {count} ids"))
        }
        Ids::Some(count) => Finding::warn(
            CHECK,
            format!("in a user namespace with {count} ids"),
            "images name owners up to 65535: grant 65536 ids in /etc/subuid and /etc/subgid",
        ),
        Ids::One => {
            let missing: Vec<&str> = ["newuidmap", "newgidmap"]
                .into_iter()
                .filter(|name| find_program(name).is_none())
                .collect();
            let remedy = if missing.is_empty() {
                "grant this user ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER".to_owned()
            } else {
                format!(
                    "{} of Debian's package uidmap, and ids in /etc/subuid and /etc/subgid",
                    missing.join(" and ")
                )
            };
            let text = "one id alone: layers with other owners than root cannot be unpacked, steps cannot chown";
            Finding::warn(CHECK, text, remedy)
        }
    }
}

/// The bundle of certificates that downloads are checked against. `bundle` is its bytes.
pub fn certificates(bundle: Option<&[u8]>) -> Finding {
    const CHECK: &str = "certificates";
    const REMEDY: &str = "install ca-certificates, or name a bundle in SSL_CERT_FILE";
    let Some(bundle) = bundle else {
        return Finding::missing(CHECK, "there is no bundle of trusted certificates", REMEDY);
    };
    let text = String::from_utf8_lossy(bundle);
    match text.matches("-----BEGIN CERTIFICATE-----").count() {
        0 => Finding::missing(CHECK, "the bundle of trusted certificates is empty", REMEDY),
        count => Finding::ok(CHECK, format!("{count} trusted")),
    }
}

/// Whether names can be looked up by steps that have the network.
pub fn resolver() -> Finding {
    const CHECK: &str = "name service";
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .collect();
    if servers.is_empty() {
        let remedy = "steps that download need one, unless they go through a proxy";
        return Finding::warn(CHECK, "/etc/resolv.conf names no server", remedy);
    }
    Finding::ok(CHECK, servers.join(", "))
}
