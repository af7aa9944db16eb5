//! Programs of another platform, run by qemu's emulator of user programs. Nothing is registered with the machine's
//! own kernel interface: the builds live in user namespaces, which have one of their own since Linux 6.7.

use std::process::{Command, Output};

use crate::place::{Place, file_of_layout};

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
    assert!(built.status.success(), "{said}");
    let layout = place.path("layout");
    assert_eq!(file_of_layout(&layout, "made"), "arm64\n");
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
