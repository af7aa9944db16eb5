//! The few system calls that safe Rust does not offer.

#![expect(
    unsafe_code,
    reason = "fork, kill(-1) and interface requests have no safe form"
)]

use rustix::io::Errno;
use rustix::process::Pid;

/// Which side of a fork this is.
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(Pid),
}

/// Forks. The caller has one thread, so the child may do all that the parent may.
pub(crate) fn fork() -> Result<Side, Errno> {
    // SAFETY: the helper never starts a thread, so no lock can be held by one that is not copied.
    side_of(unsafe { libc::fork() })
}

/// Forks a child that is process 1 of a new pid namespace, while what this process forks later is not in it: that
/// cannot be had from unshare(2), whose namespace nobody leaves without being root of the one above.
pub(crate) fn fork_into_pid_namespace() -> Result<Side, Errno> {
    let flags = libc::c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    // SAFETY: as above; without a stack of its own the child goes on with a copy, as after fork.
    side_of(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as libc::pid_t)
}

/// What a forking call has answered.
fn side_of(answer: libc::pid_t) -> Result<Side, Errno> {
    match answer {
        0 => Ok(Side::Child),
        id if id > 0 => Pid::from_raw(id).map(Side::Parent).ok_or(Errno::AGAIN),
        _ => Err(Errno::from_raw_os_error(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EAGAIN),
        )),
    }
}

/// Ends this process at once, without running what is registered for its end.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Kills every process of this pid namespace but its init, which the caller is, and reaps them.
pub(crate) fn kill_all() {
    // SAFETY: kill takes any numbers; from the init of a pid namespace, -1 is all others in it.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
}

/// Lets signals that ask for an end go by: whoever this process waits for gets them too.
pub(crate) fn ignore_endings() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: to ignore a signal needs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Gives every signal back its meaning, and blocks none: what a caller ignores, as a shell does for what it runs in the
/// background, is none of a step's business. The C library's own two are ignored whoever starts the step, as its
/// posix_spawn(3) leaves them to what it starts.
pub(crate) fn default_signals() {
    const LAST: libc::c_int = 31;
    const LIBRARY: [libc::c_int; 2] = [32, 33];
    /// The kernel's struct sigaction: ignored, no flags, no restorer, no signal blocked.
    const IGNORED: [libc::size_t; 4] = [libc::SIG_IGN, 0, 0, 0];
    for signal in 1..=LAST {
        // SAFETY: the default needs no handler. SIGKILL and SIGSTOP have no other, which is an error to ignore.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    for signal in LIBRARY {
        // SAFETY: the kernel reads the struct alone, whose set of signals has 8 bytes. The library's own call takes
        // no signal that it keeps for itself.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                IGNORED.as_ptr(),
                std::ptr::null_mut::<libc::size_t>(),
                size_of::<u64>(),
            )
        };
    }
    // SAFETY: an empty set is a valid one, and the old one is not asked for.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Leaves it to the kernel to reap the children of this process.
pub(crate) fn ignore_children() {
    // SAFETY: to ignore a signal needs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sets the loopback link of this network namespace up.
pub(crate) fn loopback_up() -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is an ifreq with a name that ends in NUL, as SIOCSIFFLAGS expects.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Moves this process into new namespaces.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the callers do not ask for FILES, so no descriptor changes its meaning.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Makes every descriptor from `first` on close when another program is started.
pub(crate) fn close_on_exec_from(first: u32) -> std::io::Result<()> {
    // SAFETY: only a flag of the descriptors changes, none is closed.
    match unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Makes a mount and all that is mounted below it read-only, without devices, programs and set-id bits
/// (mount_setattr(2)).
pub(crate) fn protect_recursively(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let flags = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    let attributes = libc::mount_attr {
        attr_set: flags,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path ends in NUL, and the kernel reads no more than the size that it is given.
    match unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
