//! Programs of another platform, run by qemu's emulator of user programs. Nothing is registered with the machine's
//! own kernel interface: the builds live in user namespaces, which have one of their own since Linux 6.7.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::place::{Place, file_of_layout, text};

/// A program that writes `/made` in a process of its own that it starts anew, as a shell would.
const PROGRAM: &str = "\
.global _start
_start: ldr x0, [sp]
    cmp x0, #1
    b.gt child
    adr x0, path
    adr x1, argv
    mov x2, #0
    mov x8, #221        // execve
    svc #0
    mov x0, #1
    b end
child: mov x0, #-100
    adr x1, made
    mov x2, #0x41
    mov x3, #0x1a4
    mov x8, #56         // openat
    svc #0
    adr x1, text
    mov x2, #6
    mov x8, #64         // write
    svc #0
    mov x0, #0
end: mov x8, #93        // exit
    svc #0
path: .asciz \"/tool\"
made: .asciz \"/made\"
text: .ascii \"arm64\\n\"
    .align 3
argv: .quad path, made, 0
";

fn run(command: &mut Command) {
    let output = command
        .output()
        .expect("package binutils-aarch64-linux-gnu");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn program(place: &Place) {
    place.write_at("tool.s", PROGRAM);
    let (object, tool) = (place.path("tool.o"), place.path("context/tool"));
    run(Command::new("aarch64-linux-gnu-as")
        .arg(place.path("tool.s"))
        .arg("-o")
        .arg(&object));
    run(Command::new("aarch64-linux-gnu-ld")
        .arg(&object)
        .arg("-o")
        .arg(&tool));
}

/// One that may not mount enters a user namespace of its own, and registers there what is installed.
#[test]
fn emulators_that_are_installed_are_used_where_nobody_else_sees_them() {
    let place = Place::new();
    program(&place);
    place.write(
        "Dockerfile",
        "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\"]\n",
    );
    let built = build(&place, "--platform=linux/arm64");
    let said = String::from_utf8_lossy(&built.stderr);
    if !Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists() && !has_own_registrations() {
        assert_eq!(built.status.code(), Some(3), "{said}");
        assert!(said.contains("from Linux 6.7 on"), "{said}");
        return;
    }
    assert!(built.status.success(), "{said}");
    let layout = place.path("layout");
    assert_eq!(file_of_layout(&layout, "made"), "arm64\n");
}

/// Root changes nothing of the machine either: the programs of steps enter a user namespace that has the emulators.
/// What they write is the same.
#[test]
fn emulators_of_root_are_used_where_nobody_else_sees_them() {
    let place = Place::new();
    program(&place);
    place.write(
        "Dockerfile",
        "FROM scratch\nCOPY --chown=7:8 tool /tool\nRUN [\"/tool\"]\n",
    );
    let registered = Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64");
    let before = registered.exists();
    let mut command = place.command();
    command
        .args(["build", "context", "--platform=linux/arm64"])
        .args(["-o", "type=oci,dest=layout,tar=false"]);
    let built = command.output().expect("tbuild starts");
    let said = String::from_utf8_lossy(&built.stderr);
    if !before && !has_own_registrations() {
        assert_eq!(built.status.code(), Some(3), "{said}");
        assert!(said.contains("from Linux 6.7 on"), "{said}");
        return;
    }
    assert!(built.status.success(), "{said}");
    assert_eq!(file_of_layout(&place.path("layout"), "made"), "arm64\n");
    assert_eq!(registered.exists(), before, "nothing is registered");
    let id = built.stdout;
    let rootless = build(&place, "--platform=linux/arm64");
    let said = String::from_utf8_lossy(&rootless.stderr);
    assert_eq!(rootless.stdout, id, "{said}");
}

/// What whoever owns the machine has registered is used as it is. An interpreter that the kernel looks up by its
/// path at each start is there for a step, and in no layer.
#[test]
fn an_interpreter_that_is_registered_by_its_path_is_seen_by_steps() {
    let place = Place::new();
    program(&place);
    place.write(
        "Dockerfile",
        "FROM scratch\nCOPY tool /tool\nRUN [\"/tool\"]\n",
    );
    let line = text(Path::new("/usr/lib/binfmt.d/qemu-aarch64.conf"));
    let line = line.trim().strip_suffix("OPF").expect("flags of Debian's");
    let script = "read -r go; mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && \
        printf %s \"$1\" >/proc/sys/fs/binfmt_misc/register && shift && exec \"$@\"";
    let tbuild = place.command();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--mount", "sh", "-c", script, "sh"])
        .arg(format!("{line}OP"))
        .arg(tbuild.get_program())
        .args(tbuild.get_args())
        .args(["build", "context", "--platform=linux/arm64"])
        .args(["-o", "type=oci,dest=layout,tar=false"])
        .args(["-o", "type=local,dest=files"])
        .current_dir(place.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("unshare runs");
    let process = format!("/proc/{}", child.id());
    let namespace = |of: &str| std::fs::read_link(format!("{of}/ns/user")).ok();
    while namespace(&process) == namespace("/proc/self") {
        std::thread::sleep(Duration::from_millis(5));
    }
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("{process}/{map}"), "0 0 65536").expect("ids are mapped");
    }
    let mut input = child.stdin.take().expect("it was asked for");
    input.write_all(b"go\n").expect("it waits for it");
    drop(input);
    let built = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&built.stderr);
    if !has_own_registrations() {
        // To register it with the machine itself is not a test's to do.
        assert!(said.starts_with("mount: "), "{said}");
        return;
    }
    assert!(built.status.success(), "{said}");
    assert_eq!(file_of_layout(&place.path("layout"), "made"), "arm64\n");
    let files = std::fs::read_dir(place.path("files")).expect("files");
    let mut files: Vec<_> = files.map(|file| file.expect("file").file_name()).collect();
    files.sort();
    assert_eq!(files, ["made", "tool"]);
}

/// Whether a user namespace has emulators of its own: since Linux 6.7, which is later than Debian 12's.
fn has_own_registrations() -> bool {
    let release = text(Path::new("/proc/sys/kernel/osrelease"));
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    (next(), next()) >= (Some(6), Some(7))
}

/// A build by one who may not mount.
fn build(place: &Place, platforms: &str) -> Output {
    let tbuild = place.command();
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-sys_admin", "--inh-caps=-all", "--"])
        .arg(tbuild.get_program())
        .args(tbuild.get_args())
        .args(["build", "context", "-o", "type=oci,dest=layout,tar=false"])
        .arg(platforms)
        .current_dir(place.path(""));
    command.output().expect("setpriv runs")
}
