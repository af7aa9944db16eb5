//! An executor of the tests: chroot in namespaces of its own.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tbuild_exec::{Action, Cancel, ExecError, Executor, Exit, MountSource, OutputSink, Stream};

/// Runs an action without lower layers in its upper folder.
#[derive(Debug)]
pub struct Chroot;

impl Executor for Chroot {
    fn name(&self) -> &'static str {
        "chroot"
    }

    fn run(
        &self,
        action: &Action,
        output: &mut OutputSink<'_>,
        _: &Cancel,
    ) -> Result<Exit, ExecError> {
        assert!(action.lower.is_empty());
        let root = action.upper.to_str().unwrap().to_owned();
        let mut script = format!(
            "set -e\nmount --make-rprivate /\nmount -t proc proc {root}/proc\nmount -t tmpfs tmpfs {root}/dev\n"
        );
        writeln!(script, "for d in null zero full random urandom tty; do touch {root}/dev/$d; mount --bind /dev/$d {root}/dev/$d; done").unwrap();
        let mut made: Vec<PathBuf> = Vec::new();
        for mount in &action.mounts {
            let target = action.upper.join(mount.target.trim_start_matches('/'));
            let there = target.exists();
            match &mount.source {
                MountSource::Bind(source) => {
                    std::fs::create_dir_all(&target).unwrap();
                    writeln!(
                        script,
                        "mount --bind -o ro {} {}",
                        source.display(),
                        target.display()
                    )
                    .unwrap();
                }
                MountSource::Content { bytes, mode, .. } => {
                    std::fs::write(&target, bytes).unwrap();
                    std::fs::set_permissions(
                        &target,
                        std::os::unix::fs::PermissionsExt::from_mode(*mode),
                    )
                    .unwrap();
                }
                MountSource::Tmpfs { .. } | MountSource::Layers { .. } => unreachable!(),
            }
            if !there {
                made.push(target);
            }
        }
        write!(
            script,
            "umask {:o}\nexec chroot {root} \"$@\" 2>&1",
            action.umask
        )
        .unwrap();
        let mut child = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--net",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                &script,
                "sh",
            ])
            .args(&action.argv)
            .env_clear()
            .envs(&action.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdout.take().unwrap();
        let mut buffer = [0; 4096];
        loop {
            match pipe.read(&mut buffer).unwrap() {
                0 => break,
                count => output(Stream::Stdout, &buffer[..count]),
            }
        }
        let status = child.wait().unwrap();
        for path in made {
            let _ = std::fs::remove_dir(&path).or_else(|_| std::fs::remove_file(&path));
        }
        Ok(Exit::Status(status.code().unwrap_or(-1)))
    }
}
