//! A root for steps of programs of this machine.

use std::path::Path;

use crate::shell::install;

/// What the executors' suite takes for a root, at `root`.
pub fn make(root: &Path) {
    let programs = [
        "cat", "chmod", "env", "head", "id", "ls", "mkdir", "rm", "sleep", "touch", "tr", "uname",
        "wc", "mv", "ln",
    ];
    for name in programs {
        install(root, &Path::new("/usr/bin").join(name));
    }
    for name in ["mount", "setsid", "unshare", "hostname", "sync"] {
        install(root, &Path::new("/usr/bin").join(name));
    }
    install(root, Path::new("/bin/sh"));
    install(root, Path::new("/usr/bin/bash"));
    for folder in ["etc", "tmp", "gone", "run", "folder"] {
        std::fs::create_dir_all(root.join(folder)).expect("made");
    }
    std::fs::write(root.join("gone/file"), "x").expect("written");
    std::fs::write(root.join("folder/file"), "x").expect("written");
    std::fs::write(root.join("kept"), "kept").expect("written");
    std::os::unix::fs::symlink("/tbuild-conformance-target", root.join("link")).expect("linked");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(root.join("tmp"), open).expect("opened");
}
