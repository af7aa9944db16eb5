//! What it takes to start this program where there is nothing but it.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FOLDER, INIT_ARG};

/// This program, and what loads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program's file.
    pub program: PathBuf,
    /// The file of the dynamic loader; none for a program that needs none.
    pub loader: Option<PathBuf>,
    /// The folders of the libraries that are loaded.
    pub libraries: Vec<PathBuf>,
}

impl Launch {
    /// What this process was started from, as the kernel tells it (proc(5), maps).
    pub(super) fn of_this_process() -> io::Result<Self> {
        let program = std::fs::read_link("/proc/self/exe")?;
        if !program.exists() {
            let gone = format!("{} is gone: start it again", program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, gone));
        }
        Ok(Self::of_maps(
            program,
            &std::fs::read_to_string("/proc/self/maps")?,
        ))
    }

    fn of_maps(program: PathBuf, maps: &str) -> Self {
        let mut launch = Self {
            program,
            loader: None,
            libraries: Vec::new(),
        };
        for line in maps.lines() {
            let Some(at) = line.find('/') else { continue };
            let file = Path::new(&line[at..]);
            let name = file.file_name().map_or(&b""[..], OsStrExt::as_bytes);
            let is_library = name.windows(3).any(|part| part == b".so");
            if file == launch.program || !is_library {
                continue;
            }
            if name.starts_with(b"ld-") || name.starts_with(b"ld.so") {
                launch.loader = Some(file.to_owned());
            }
            // By their folders: the names that a program asks for may be links to these.
            if let Some(folder) = file.parent()
                && !launch.libraries.iter().any(|known| known == folder)
            {
                launch.libraries.push(folder.to_owned());
            }
        }
        if launch.loader.is_none() {
            launch.libraries.clear();
        }
        launch
    }

    /// What has to be mounted in the container, read-only: source on this machine, path inside.
    pub fn files(&self) -> Vec<(PathBuf, String)> {
        let loader = self
            .loader
            .iter()
            .map(|loader| (loader, "loader".to_owned()));
        let libraries = self.libraries.iter().enumerate();
        let libraries = libraries.map(|(at, folder)| (folder, format!("libraries{at}")));
        std::iter::once((&self.program, "program".to_owned()))
            .chain(loader)
            .chain(libraries)
            .map(|(source, name)| (source.clone(), format!("{FOLDER}/{name}")))
            .collect()
    }

    /// The container's command line.
    pub fn command(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.loader.is_some() {
            let folders: Vec<String> = (0..self.libraries.len())
                .map(|at| format!("{FOLDER}/libraries{at}"))
                .collect();
            words.push(format!("{FOLDER}/loader"));
            words.push("--library-path".to_owned());
            words.push(folders.join(":"));
        }
        words.push(format!("{FOLDER}/program"));
        words.push(INIT_ARG.to_owned());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::Launch;

    const MAPS: &str = "\
5500-5600 r--p 00000000 fe:00 1 /usr/bin/tbuild
7f00-7f01 r-xp 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6
7f01-7f02 r-xp 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/libgcc_s.so.1
7f02-7f03 r--p 00000000 fe:00 4 /usr/lib/locale/C.utf8/LC_CTYPE
7f03-7f04 r-xp 00000000 fe:00 5 /usr/lib64/ld-linux-x86-64.so.2
7ffc-7ffd rw-p 00000000 00:00 0 [stack]
";

    #[test]
    fn a_program_is_started_by_its_loader() {
        let launch = Launch::of_maps("/usr/bin/tbuild".into(), MAPS);
        assert_eq!(
            launch.command().join(" "),
            "/.tbuild/loader --library-path /.tbuild/libraries0:/.tbuild/libraries1 /.tbuild/program __container"
        );
        let sources: Vec<String> = launch
            .files()
            .iter()
            .map(|(source, _)| source.display().to_string())
            .collect();
        assert_eq!(
            sources,
            [
                "/usr/bin/tbuild",
                "/usr/lib64/ld-linux-x86-64.so.2",
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib64"
            ]
        );
    }

    #[test]
    fn one_without_libraries_by_itself() {
        let maps = "5500-5600 r--p 00000000 fe:00 1 /usr/bin/tbuild\n";
        let launch = Launch::of_maps("/usr/bin/tbuild".into(), maps);
        assert_eq!(launch.command(), ["/.tbuild/program", "__container"]);
        assert_eq!(launch.files().len(), 1);
    }
}
