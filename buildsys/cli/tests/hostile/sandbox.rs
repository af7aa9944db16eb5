//! Steps that want out: what they try fails, or stays in their own namespaces.

use std::fs;
use std::process::{Child, Command};

use crate::bench::{Bench, SECRET};

/// Runs shell lines in an image with busybox, and what is in `files` beside it; gives what they print.
fn attempt(bench: &Bench, files: &[&str], lines: &str) -> String {
    let copies = files.iter().map(|file| format!("COPY {file} /{file}\n"));
    let copies = copies.collect::<Vec<_>>().concat();
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /bin/busybox\n{copies}ENV PATH=/bin\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
         RUN busybox --install -s /bin; mkdir -p /tmp /mnt\nRUN <<'EOF'\n{lines}\nEOF\n"
    );
    let built = bench.busybox().build(&dockerfile);
    assert_eq!(built.code, 0, "{}", built.said);
    built.said
}

/// A process of this machine that nobody may end.
struct Victim(Child);

impl Victim {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().expect("sleep"))
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("looked at").is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

#[test]
fn nothing_is_written_to_the_host() {
    let bench = Bench::new();
    let outside = bench.outside();
    let outside = outside.display();
    let said = attempt(
        &bench,
        &[],
        &format!(
            "ls {outside} && echo FOUND\n\
             mkdir -p {outside}; echo x >{outside}/pwned; echo x >/etc/pwned; echo x >/pwned\n\
             for root in /proc/*/root /proc/*/cwd; do cat $root/{outside}/secret && echo FOUND; echo x >$root/{outside}/pwned; done\n\
             cat ../../../../../../../..{outside}/secret && echo FOUND\n\
             for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/kernel/modprobe /proc/sysrq-trigger \\\n\
                 /proc/sys/vm/drop_caches /sys/kernel/uevent_helper /sys/power/state; do\n\
               echo '|/pwned' >$file && echo WRITTEN $file; done\n\
             ls /sys/fs/cgroup/*/release_agent 2>/dev/null && echo WRITTEN release_agent\n\
             echo done"
        ),
    );
    assert!(said.contains("done"), "{said}");
    assert!(
        !said.contains("FOUND") && !said.contains("WRITTEN"),
        "{said}"
    );
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern");
    assert!(!pattern.contains("pwned"), "{pattern}");
}

#[test]
fn nothing_is_mounted_and_no_device_opens() {
    let bench = Bench::new();
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    // The numbers of the disk that this machine runs from, if it has one, and of others.
    let said = attempt(
        &bench,
        &[],
        "mount -t tmpfs none /mnt && echo MOUNTED\n\
         mount -o bind / /mnt && echo MOUNTED\n\
         mount -t proc none /mnt && echo MOUNTED\n\
         mount -o remount,rw /sys && echo MOUNTED\n\
         mount -o remount,rw /proc/sys && echo MOUNTED\n\
         umount -l /proc/sys && echo MOUNTED\n\
         umount /dev && echo MOUNTED\n\
         pivot_root / /mnt && echo MOUNTED\n\
         for numbers in 'b 8 0' 'b 254 0' 'b 259 0' 'b 253 0' 'b 7 0' 'c 1 1' 'c 1 2' 'c 1 4' 'c 1 11' 'c 10 237' 'c 5 1' 'c 4 0' 'c 10 229'; do\n\
           set -- $numbers; mknod /tmp/device $1 $2 $3 && dd if=/tmp/device bs=1 count=1 >/dev/null && echo OPENED $numbers\n\
           rm -f /tmp/device\n\
           mknod /dev/device $1 $2 $3 && dd if=/dev/device bs=1 count=1 >/dev/null && echo OPENED $numbers\n\
           rm -f /dev/device; mknod /dev/shm/device $1 $2 $3 && dd if=/dev/shm/device bs=1 count=1 >/dev/null && echo OPENED $numbers\n\
           rm -f /dev/shm/device; done\n\
         ls /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/loop-control 2>/dev/null && echo OPENED\n\
         echo done",
    );
    assert!(said.contains("done"), "{said}");
    assert!(
        !said.contains("MOUNTED") && !said.contains("OPENED"),
        "{said}"
    );
    let after = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert_eq!(before.lines().count(), after.lines().count(), "{after}");
}

#[test]
fn processes_of_the_host_are_out_of_reach() {
    let bench = Bench::new();
    let mut victim = Victim::start();
    let host = victim.0.id();
    let own = std::process::id();
    let said = attempt(
        &bench,
        &[],
        &format!(
            "kill -9 {host} && echo KILLED; kill -9 {own} && echo KILLED\n\
             for pid in /proc/[0-9]*; do grep -q -a 'sle[e]p.1000' $pid/cmdline && echo SEEN $pid; done\n\
             nsenter -t {host} -m -p true && echo ENTERED\n\
             nsenter -t 1 -m ls {} && echo ENTERED\n\
             pid=$$; ls /proc/$pid/ns >/dev/null; reboot -f && echo REBOOTED; poweroff -f && echo REBOOTED\n\
             hostname pwned && echo NAMED; date -s 2001-01-01\n\
             trap '' TERM; kill -TERM -1; echo done",
            bench.outside().display()
        ),
    );
    assert!(said.contains("done"), "{said}");
    for word in ["KILLED", "SEEN", "ENTERED", "REBOOTED", "NAMED"] {
        assert!(!said.contains(word), "{word}: {said}");
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    assert!(now.tv_sec > 1_600_000_000, "the clock was set");
    assert!(victim.lives());
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    assert_ne!(name.trim(), "pwned");
}

/// What needs more than a shell: a second chroot with an open folder outside of it, ptrace, handles of files by
/// number, new user namespaces, kernel keys, a module.
const ESCAPE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void shows(const char *how, const char *outside) {
    char path[5000], text[100] = {0};
    snprintf(path, sizeof path, "%s/secret", outside);
    int file = open(path, O_RDONLY);
    if (file >= 0 && read(file, text, 99) > 0) printf("ESCAPED by %s\n", how);
}

int main(int count, char **arguments) {
    const char *outside = arguments[1];
    int host = atoi(arguments[2]);
    char relative[5000];
    snprintf(relative, sizeof relative, "./%s", outside);
    int root = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("/tmp/jail", 0755);
    if (fork() == 0) {
        if (chroot("/tmp/jail") == 0 && fchdir(root) == 0) {
            for (int up = 0; up < 200; up++) if (chdir("..")) break;
            shows("chroot", relative);
            if (chroot(".") == 0) shows("chroot", outside);
        }
        _exit(0);
    }
    if (ptrace(PTRACE_ATTACH, host, 0, 0) == 0) printf("ESCAPED by ptrace\n");
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    if (process_vm_readv(host, &here, 1, &there, 1, 0) > 0) printf("ESCAPED by process_vm_readv\n");
    // The root of most file systems has inode 2 (ext4) or 128 (xfs).
    for (unsigned inode = 1; inode < 300; inode++) {
        struct { struct file_handle head; unsigned bytes[2]; } handle = {{8, 1}, {inode, 0}};
        int folder = open_by_handle_at(root, &handle.head, O_RDONLY | O_DIRECTORY);
        if (folder >= 0 && fchdir(folder) == 0) { shows("open_by_handle_at", relative); printf("ESCAPED by a handle\n"); }
    }
    if (fork() == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
            mount("none", "/", 0, MS_REC | MS_PRIVATE, 0);
            if (umount2("/proc", MNT_DETACH) == 0 || umount2("/dev", MNT_DETACH) == 0) printf("ESCAPED by unshare\n");
            shows("unshare", outside);
        }
        _exit(0);
    }
    if (syscall(SYS_init_module, "x", 1, "") == 0 || syscall(SYS_finit_module, root, "", 0) == 0) printf("ESCAPED by a module\n");
    if (syscall(SYS_kexec_load, 0, 0, 0, 0) == 0) printf("ESCAPED by kexec\n");
    if (syscall(SYS_bpf, 5, 0, 0) >= 0) printf("ESCAPED by bpf\n");
    if (syscall(SYS_swapon, "/tmp/jail", 0) == 0 || syscall(SYS_acct, "/tmp/acct") == 0) printf("ESCAPED by acct\n");
    long key = syscall(SYS_add_key, "user", "tbuild-hostile", "x", 1, -4);
    if (key >= 0) printf("ESCAPED by a key of the user\n");
    while (wait(0) > 0) {}
    printf("tried\n");
    return 0;
}
"#;

#[test]
fn system_calls_that_lead_out() {
    let bench = Bench::new();
    let source = bench.path("escape.c");
    fs::write(
        &source,
        ESCAPE.replace(
            "#include <unistd.h>",
            "#include <sys/wait.h>\n#include <unistd.h>",
        ),
    )
    .expect("written");
    let made = Command::new("gcc")
        .args(["-static", "-O1", "-w", "-o"])
        .arg(bench.context().join("escape"))
        .arg(&source)
        .output()
        .expect("gcc runs");
    assert!(made.status.success(), "{made:?}");
    let victim = Victim::start();
    let line = format!("/escape {} {}", bench.outside().display(), victim.0.id());
    let said = attempt(&bench, &["escape"], &line);
    assert!(said.contains("tried"), "{said}");
    assert!(!said.contains("ESCAPED"), "{said}");
}

#[test]
fn what_a_step_fills_is_bounded() {
    let bench = Bench::new();
    let said = attempt(
        &bench,
        &[],
        "dd if=/dev/zero of=/dev/shm/fill bs=1M count=200 || echo FULL shm\n\
         dd if=/dev/zero of=/dev/fill bs=1M count=200 || echo FULL dev\n\
         echo done",
    );
    assert!(
        said.contains("FULL shm") && said.contains("FULL dev"),
        "{said}"
    );
}

#[test]
fn secrets_of_the_environment_are_not_passed_on() {
    let bench = Bench::new();
    let dockerfile = "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"env\"]\nRUN [\"/busybox\", \"sh\", \"-c\", \
                      \"cat /proc/*/environ | /busybox tr '\\\\0' '\\\\n'\"]\n";
    bench.busybox().write("Dockerfile", dockerfile);
    let built = bench
        .command()
        .env("HOST_SECRET", SECRET)
        .args(["build", "context"])
        .output()
        .expect("tbuild starts");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        !said.contains("HOST_SECRET") && !said.contains(SECRET),
        "{said}"
    );
    bench.unharmed();
}
