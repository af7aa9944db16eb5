//! A case as it is written: headers, then sections; README.md beside `cases/` says how.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// One case.
#[derive(Debug, Default)]
pub struct Case {
    /// The name of its file.
    pub name: String,
    /// `dockerfile`: the Dockerfile's path in the context.
    pub dockerfile: Option<String>,
    /// `target`: the stage.
    pub target: Option<String>,
    /// `platform`.
    pub platform: Option<String>,
    /// `error`: what tbuild's message holds where the build is refused.
    pub error: Option<String>,
    /// `pending`: the feature that tbuild names as not supported.
    pub pending: Option<String>,
    /// `arg`: build arguments.
    pub args: Vec<String>,
    /// `label`: labels.
    pub labels: Vec<String>,
    /// `context`: names of folders that are named contexts.
    pub contexts: Vec<String>,
    /// `option`: more options, split at spaces.
    pub options: Vec<String>,
    /// `env`: variables of the build command.
    pub env: Vec<String>,
    /// `difference`: why tbuild differs, a reason each.
    pub differences: Vec<String>,
    /// `--- differs`: how, as `-line of BuildKit` and `+line of tbuild`.
    pub differs: Vec<String>,
    files: Vec<File>,
    setup: Option<String>,
}

#[derive(Debug)]
struct File {
    folder: String,
    name: String,
    mode: u32,
    content: String,
}

enum Section {
    Head,
    File(File),
    Setup(String),
    Differs,
}

impl Case {
    /// Whether the build asks a server of [`crate::servers`].
    pub fn asks_servers(&self) -> bool {
        let given = self.args.iter().chain(&self.env).chain(&self.options);
        given
            .into_iter()
            .any(|text| text.contains("@HTTP@") || text.contains("@GIT@"))
    }

    /// Reads a case; the error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut case = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut section = Section::Head;
        let mut about = false;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let wrong = |what: &str| format!("{name}:{}: {what}: {line}", number + 1);
            if let Some(title) = line.strip_prefix("--- ") {
                case.close(std::mem::replace(
                    &mut section,
                    open(title).ok_or_else(|| wrong("no such section"))?,
                ));
                continue;
            }
            match &mut section {
                Section::File(file) => file.content.push_str(line),
                Section::Setup(script) => script.push_str(line),
                Section::Differs => case.differs.push(line.trim_end_matches('\n').to_owned()),
                Section::Head if line.trim().is_empty() || line.starts_with('#') => {}
                Section::Head => {
                    let (field, value) = line.split_once(':').ok_or_else(|| wrong("no header"))?;
                    about |= field == "about";
                    case.header(field, value.trim().to_owned())
                        .ok_or_else(|| wrong("no such header"))?;
                }
            }
        }
        case.close(section);
        if !about {
            return Err(format!("{name}: it does not say what it is about"));
        }
        if case.differences.is_empty() != case.differs.is_empty() {
            return Err(format!("{name}: a difference is a reason and its lines"));
        }
        Ok(case)
    }

    fn header(&mut self, field: &str, value: String) -> Option<()> {
        match field {
            "about" => {}
            "dockerfile" => self.dockerfile = Some(value),
            "target" => self.target = Some(value),
            "platform" => self.platform = Some(value),
            "error" => self.error = Some(value),
            "pending" => self.pending = Some(value),
            "arg" => self.args.push(value),
            "label" => self.labels.push(value),
            "context" => self.contexts.push(value),
            "option" => self.options.push(value),
            "env" => self.env.push(value),
            "difference" => self.differences.push(value),
            _ => return None,
        }
        Some(())
    }

    fn close(&mut self, section: Section) {
        match section {
            Section::File(file) => self.files.push(file),
            Section::Setup(script) => self.setup = Some(script),
            Section::Head | Section::Differs => {}
        }
    }

    /// Writes the case's folders below `work` and runs its setup in the context.
    pub fn lay_out(&self, work: &Path) {
        let context = work.join("context");
        std::fs::create_dir_all(&context).expect("the context is made");
        for file in &self.files {
            let path = work.join(&file.folder).join(&file.name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder"))
                .expect("folders are made");
            std::fs::write(&path, &file.content).expect("files are written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode))
                .expect("modes are set");
        }
        for name in &self.contexts {
            std::fs::create_dir_all(work.join(name)).expect("contexts are made");
        }
        if let Some(script) = &self.setup {
            let status = Command::new("sh")
                .args(["-euc", script])
                .current_dir(&context)
                .stdout(std::process::Stdio::null())
                .status()
                .expect("sh runs");
            assert!(status.success(), "{}: its setup fails", self.name);
        }
    }
}

/// The section that a title opens.
fn open(title: &str) -> Option<Section> {
    let words: Vec<&str> = title.split_whitespace().collect();
    let (path, mode) = match words[..] {
        ["setup"] => return Some(Section::Setup(String::new())),
        ["differs"] => return Some(Section::Differs),
        ["file", path] => (path, 0o644),
        ["file", path, mode] => (path, u32::from_str_radix(mode, 8).ok()?),
        _ => return None,
    };
    let (folder, name) = path.split_once(':').unwrap_or(("context", path));
    Some(Section::File(File {
        folder: folder.to_owned(),
        name: name.to_owned(),
        mode,
        content: String::new(),
    }))
}
