//! The helper's side: unshare, init, program.

use std::io::{BufReader, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, pidfd_open, setrlimit, waitpid,
};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::BpfProgram;
use tbuild_exec::{Exit, Ulimit, User};

use crate::fork::{Side, fork, leave};
use crate::mounts::Root;
use crate::privileges::{drop_capabilities, filters};
use crate::protocol::{Failure, Reach, Report, Specification, Tried as _};

/// What the program does when it is called with [`crate::HELPER_ARG`]: it reads a specification from standard
/// input, which is a socket, runs it, and reports on the same socket. To be called first of all in `main`,
/// while the process has one thread.
pub fn helper_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The other side is gone, or never was there: nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> std::io::Result<()> {
    // Whatever the caller of our caller left open is none of the program's business.
    crate::fork::close_on_exec_from(3)?;
    let control = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(
        std::io::stdin().as_fd(),
        3,
    )?);
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let specification = Specification::receive(BufReader::new(&control))?;
    if let Err(failure) = supervise(&specification, &control) {
        report(&control, &Report::Setup(failure));
    }
    Ok(())
}

pub(crate) fn report(control: &UnixStream, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // The parent may be gone: then nobody wants to know.
    let _gone = (&*control).write_all(&line);
}

/// Forks the init into new namespaces and waits for it, or kills it when the other side closes.
fn supervise(specification: &Specification, control: &UnixStream) -> Result<(), Failure> {
    if specification.limits.memory.is_some() {
        // Where memory runs out, a process of the program is to be killed, not the one that tells of it. Those
        // who may not ask for it go without.
        let _unprotected = write_oom_score("self", PROTECTED);
    }
    if let Some(runtime) = &specification.runtime {
        return crate::runtime::supervise(specification, runtime, control);
    }
    if let Some(folder) = &specification.container {
        return crate::container::supervise(specification, folder, control);
    }
    // Its path is one of the machine's /proc, which is out of sight soon.
    let users = match &specification.user_namespace {
        Some(path) => Some(
            std::fs::File::open(path)
                .tried(|| format!("find the user namespace {}", path.display()))?,
        ),
        None => None,
    };
    let mut flags = UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    flags.set(UnshareFlags::NEWNET, specification.network != Reach::Host);
    crate::fork::unshare(flags).tried(|| "make namespaces".to_owned())?;
    crate::network::make(&specification.network, control)?;
    match fork().tried(|| "fork".to_owned())? {
        Side::Child => {
            // Dies with the helper, whose one thread is the process.
            let _set = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if let Err(failure) = init(specification, control, users.as_ref().map(AsFd::as_fd)) {
                report(control, &Report::Setup(failure));
            }
            leave(0);
        }
        Side::Parent(init) => watch(init, control),
    }
}

/// Waits for the init to end; once the socket closes, kills it. With the init, all of its namespace dies, and
/// waiting for it waits for all.
fn watch(init: Pid, control: &UnixStream) -> Result<(), Failure> {
    let ended = pidfd_open(init, PidfdFlags::empty()).tried(|| "watch the init".to_owned())?;
    loop {
        let mut fds = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::new(control, PollFlags::IN | PollFlags::HUP),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(|| "watch the init".to_owned()),
        }
        let (over, closed) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        if closed && !over {
            let _gone = rustix::process::kill_process(init, Signal::KILL);
        }
        if over || closed {
            let _status = waitpid(Some(init), WaitOptions::empty());
            return Ok(());
        }
    }
}

/// Process 1 of the new pid namespace.
fn init(
    specification: &Specification,
    control: &UnixStream,
    users: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    let filters = if specification.privileged {
        Vec::new()
    } else {
        filters()
            .map_err(std::io::Error::other)
            .tried(|| "compile the system call filter".to_owned())?
    };
    rustix::system::sethostname(specification.hostname.as_bytes())
        .tried(|| "set the host name".to_owned())?;
    let mut root = Root::mount(specification)?;
    root.enter()?;
    let program = match fork().tried(|| "fork".to_owned())? {
        Side::Child => {
            match program(specification, &filters, users) {
                Ok(never) => match never {},
                Err((failure, true)) => report(control, &Report::Start(failure)),
                Err((failure, false)) => report(control, &Report::Setup(failure)),
            }
            leave(127);
        }
        Side::Parent(program) => program,
    };
    let status = reap(program)?;
    // What is left of the program's children must not keep mounts busy or write any more.
    crate::fork::kill_all();
    root.clear()?;
    report(control, &Report::Exit(exit_of(status)));
    Ok(())
}

/// Waits for every child, as an init must, until the program itself has ended.
fn reap(program: Pid) -> Result<ExitStatus, Failure> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == program => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(|| "wait for the program".to_owned()),
        }
    }
}

pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Status(-1),
    }
}

/// The score of who is killed last of all for want of memory (proc(5), oom_score_adj).
pub(crate) const PROTECTED: &str = "-900";

/// Sets the score of a process, by its number or as `self`.
pub(crate) fn write_oom_score(process: &str, score: &str) -> std::io::Result<()> {
    std::fs::write(format!("/proc/{process}/oom_score_adj"), score)
}

fn set_ulimit(limit: &Ulimit) -> std::io::Result<()> {
    let resource = crate::ulimits::resource(&limit.name).ok_or(std::io::ErrorKind::Unsupported)?;
    let limit = Rlimit {
        current: limit.soft,
        maximum: limit.hard,
    };
    Ok(setrlimit(resource, limit)?)
}

/// Gives the program's input and outputs to its user, who opens a pipe anew with /dev/stdout and has to be allowed
/// to. Runtimes do so, and let it be where it cannot be done; their input is the step's own /dev/null, too.
fn own_outputs(user: &User) -> Result<(), Failure> {
    let null = std::fs::File::open("/dev/null").tried(|| "open /dev/null".to_owned())?;
    rustix::stdio::dup2_stdin(&null).tried(|| "open /dev/null".to_owned())?;
    let (uid, gid) = (
        Some(rustix::process::Uid::from_raw(user.uid)),
        Some(rustix::process::Gid::from_raw(user.gid)),
    );
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [input.as_fd(), output.as_fd(), errors.as_fd()] {
        let _lent = rustix::fs::fchown(stream, uid, gid);
    }
    Ok(())
}

pub(crate) enum Never {}

/// Becomes the program. The flag says whether it was the program that could not be started.
pub(crate) fn program(
    specification: &Specification,
    filters: &[BpfProgram],
    users: Option<BorrowedFd<'_>>,
) -> Result<Never, (Failure, bool)> {
    let user = &specification.user;
    let setup = |failure| (failure, false);
    rustix::process::setsid()
        .tried(|| "start a session".to_owned())
        .map_err(setup)?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .tried(|| "limit core files".to_owned())
    .map_err(setup)?;
    for limit in &specification.limits.ulimits {
        set_ulimit(limit)
            .tried(|| format!("set the limit {limit}"))
            .map_err(setup)?;
    }
    if specification.limits.memory.is_some() {
        let _unprotected = write_oom_score("self", "0");
    }
    std::env::set_current_dir(&specification.cwd)
        .tried(|| format!("enter {}", specification.cwd))
        .map_err(|failure| (failure, true))?;
    rustix::process::umask(Mode::from_raw_mode(specification.umask));
    crate::fork::default_signals();
    if let Some(users) = users {
        // After the limits, which those of another user namespace may not raise.
        move_into_link_name_space(users, Some(LinkNameSpaceType::User))
            .tried(|| "enter the user namespace".to_owned())
            .map_err(setup)?;
    }
    let groups: Vec<rustix::process::Gid> = user
        .groups
        .iter()
        .map(|group| rustix::process::Gid::from_raw(*group))
        .collect();
    // With one id alone the kernel sets no groups; the user's own is there anyway.
    let is_own = |group: &u32| *group == user.gid;
    if crate::userns::ids() != crate::userns::Ids::One || !user.groups.iter().all(is_own) {
        set_thread_groups(&groups)
            .tried(|| "set groups".to_owned())
            .map_err(setup)?;
    }
    own_outputs(user).map_err(setup)?;
    if !specification.privileged {
        drop_capabilities().map_err(setup)?;
    }
    let (uid, gid) = (
        rustix::process::Uid::from_raw(user.uid),
        rustix::process::Gid::from_raw(user.gid),
    );
    set_thread_res_gid(gid, gid, gid)
        .tried(|| "set the group".to_owned())
        .map_err(setup)?;
    set_thread_res_uid(uid, uid, uid)
        .tried(|| "set the user".to_owned())
        .map_err(setup)?;
    if !specification.privileged {
        rustix::thread::set_no_new_privs(true)
            .tried(|| "refuse new privileges".to_owned())
            .map_err(setup)?;
    }
    for filter in filters {
        seccompiler::apply_filter(filter)
            .map_err(std::io::Error::other)
            .tried(|| "apply the system call filter".to_owned())
            .map_err(setup)?;
    }
    let (program, arguments) = specification
        .argv
        .split_first()
        .ok_or_else(|| (Failure::new("nothing", libc::ENOENT), true))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&specification.env);
    let error = command.exec();
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Err((Failure::new(program.clone(), errno), true))
}
