//! Entering a user namespace, and acting as the user from inside it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{WaitOptions, getgid, getpid, getuid, waitpid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};

use super::ranges::{map, subordinate};
use crate::fork::{Side, fork, leave};

/// Why no user namespace could be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The kernel, or who configured it, refuses.
    #[error("this machine refuses a user namespace, which tbuild needs unless it is root")]
    Refused(#[source] io::Error),
    /// The ids could not be mapped.
    #[error("cannot map this user's subordinate ids: {0}")]
    Map(String),
    /// A system call failed.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> EnterError {
    move |source| EnterError::System {
        what,
        source: source.into(),
    }
}

/// How the ids of the new namespace are decided.
enum Plan {
    /// By newuidmap and newgidmap.
    Programs(Vec<String>, Vec<String>),
    /// All of this namespace's, as they are: this process may set any of them.
    Same(String, String),
    /// The user's own alone.
    Single,
}

/// Enters a user namespace of which this process is root, unless it may mount already. With the ids of
/// /etc/subuid and /etc/subgid if there are any and newuidmap is there, else with one alone. To be called
/// while the process has one thread. Whether it did.
pub fn enter() -> Result<bool, EnterError> {
    let held = capabilities(None)
        .map_err(system("read capabilities"))?
        .effective;
    if held.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(false);
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let setid = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let plan = if uid == 0 && held.contains(setid) {
        Plan::Same(same("/proc/self/uid_map")?, same("/proc/self/gid_map")?)
    } else {
        match subordinate(uid) {
            (uids, gids) if uids.is_empty() || gids.is_empty() => Plan::Single,
            (uids, gids) => Plan::Programs(map(uid, &uids), map(gid, &gids)),
        }
    };
    // Who maps has to stay outside: a child, which waits until there is something to map.
    let (ours, theirs) = UnixStream::pair().map_err(system("make a socket"))?;
    let process = getpid().as_raw_nonzero().get();
    let child = match fork().map_err(system("fork"))? {
        Side::Child => {
            drop(ours);
            leave(outside(theirs, &plan, process));
        }
        Side::Parent(child) => child,
    };
    drop(theirs);
    let entered = crate::fork::unshare(UnshareFlags::NEWUSER);
    let answer = if entered.is_ok() {
        ask(ours)
    } else {
        drop(ours);
        Ok(String::new())
    };
    let _status = waitpid(Some(child), WaitOptions::empty());
    entered.map_err(|errno| EnterError::Refused(errno.into()))?;
    match answer.map_err(system("talk to who maps ids"))?.as_str() {
        "mapped" => Ok(true),
        "alone" => single(uid, gid).map(|()| true),
        words => Err(EnterError::Map(words.trim().to_owned())),
    }
}

/// The lines of an id map that gives every id of this namespace the same number in the next.
fn same(file: &str) -> Result<String, EnterError> {
    let text = std::fs::read_to_string(file).map_err(system("read the map of ids"))?;
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (first, count) = (words.next()?, words.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    });
    Ok(lines.collect())
}

fn ask(mut socket: UnixStream) -> io::Result<String> {
    socket.write_all(b"!")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The child's part: once `process` is in its namespace, maps its ids, and says how it went.
fn outside(mut socket: UnixStream, plan: &Plan, process: i32) -> i32 {
    let mut byte = [0];
    if socket.read_exact(&mut byte).is_err() {
        // It never got there.
        return 0;
    }
    let answer = match plan {
        Plan::Single => "alone".to_owned(),
        Plan::Same(uids, gids) => {
            let write = |kind: &str, lines: &str| {
                std::fs::write(format!("/proc/{process}/{kind}_map"), lines)
                    .map_err(|error| format!("{kind}_map: {error}"))
            };
            match write("uid", uids).and_then(|()| write("gid", gids)) {
                Ok(()) => "mapped".to_owned(),
                Err(words) => words,
            }
        }
        Plan::Programs(uids, gids) => match run("newuidmap", process, uids) {
            Ok(()) => match run("newgidmap", process, gids) {
                Ok(()) => "mapped".to_owned(),
                Err((_, words)) => words,
            },
            Err((true, _)) => "alone".to_owned(),
            Err((false, words)) => words,
        },
    };
    i32::from(socket.write_all(answer.as_bytes()).is_err())
}

/// Runs newuidmap or newgidmap. A failure says whether the program is not there, and what it said.
fn run(program: &str, process: i32, words: &[String]) -> Result<(), (bool, String)> {
    let output = Command::new(program)
        .arg(process.to_string())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            (missing, format!("{program}: {error}"))
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err((
        false,
        if said.is_empty() {
            format!("{program}: {}", output.status)
        } else {
            said
        },
    ))
}

/// Maps one id alone, which everybody may (user_namespaces(7)); groups cannot be set any more then.
fn single(uid: u32, gid: u32) -> Result<(), EnterError> {
    one(0, uid, 0, gid).map_err(system("map this user's own id"))
}

fn one(inner_uid: u32, uid: u32, inner_gid: u32, gid: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{inner_uid} {uid} 1\n"))?;
    std::fs::write("/proc/self/gid_map", format!("{inner_gid} {gid} 1\n"))
}

/// What the program does when it is called with [`super::AS_USER_ARG`]: it becomes the program that its
/// arguments name, run as the user who entered the namespace, by a namespace below that shows the user's own
/// id again. For programs that read the user's configuration and know the user by number: git, ssh, helm.
pub fn as_user_main(arguments: &[std::ffi::OsString]) -> ExitCode {
    let Some((program, rest)) = arguments.split_first() else {
        return ExitCode::from(127);
    };
    let failed = |error: &io::Error| {
        let _gone = writeln!(io::stderr(), "{}: {error}", program.display());
        ExitCode::from(127)
    };
    if let Err(error) = become_user() {
        return failed(&error);
    }
    failed(&Command::new(program).args(rest).exec())
}

fn become_user() -> io::Result<()> {
    let outer = |file: &str| -> io::Result<u32> {
        let text = std::fs::read_to_string(file)?;
        let mut lines = text.lines().map(str::split_whitespace);
        let number = lines
            .find_map(|mut words| (words.next() == Some("0")).then(|| words.next()?.parse().ok()));
        number
            .flatten()
            .ok_or_else(|| io::Error::other(format!("{file} does not say who 0 is")))
    };
    let (uid, gid) = (outer("/proc/self/uid_map")?, outer("/proc/self/gid_map")?);
    crate::fork::unshare(UnshareFlags::NEWUSER)?;
    one(uid, 0, gid, 0)
}
