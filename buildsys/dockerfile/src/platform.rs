//! Platforms, and the ARGs that tell of them.

use std::collections::BTreeMap;

use crate::LowerOptions;
use crate::ast::Dockerfile;
use crate::lower::stage_names;

/// A platform as `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64` …
    pub architecture: String,
    /// `v7` and the like, or empty.
    pub variant: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: String::new(),
        }
    }
}

impl Platform {
    /// Reads `os/architecture[/variant]`, or one of the first two alone, as containerd's platforms do: the usual
    /// other names of architectures are understood, and variants that mean the default are left out.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if parts.len() > 3 || !parts.iter().all(valid) {
            return None;
        }
        let os = |text: &str| match text.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let platform = |os: String, (architecture, variant): (String, String)| Self {
            os,
            architecture,
            variant,
        };
        match parts.as_slice() {
            [one] if OSES.contains(&os(one).as_str()) => Some(platform(
                os(one),
                (Self::default().architecture, String::new()),
            )),
            [one] => {
                let named = normal(one, "");
                ARCHITECTURES
                    .contains(&named.0.as_str())
                    .then(|| platform(Self::default().os, named))
            }
            [first, architecture] => Some(platform(os(first), normal(architecture, ""))),
            [first, architecture, variant] => {
                Some(platform(os(first), normal(architecture, variant)))
            }
            _ => None,
        }
    }

    /// It as one word with `between` in place of its slashes: `linux-arm-v7`, `linux_arm64`.
    pub fn joined(&self, between: &str) -> String {
        self.to_string().replace('/', between)
    }
}

/// Operating systems that may stand alone.
const OSES: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
/// Architectures that may stand alone.
const ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// An architecture and its variant by their usual names.
fn normal(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        same => same,
    };
    (architecture.to_owned(), variant.to_owned())
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

/// ARGs that FROM sees without a declaration, and stages by a bare one.
pub(crate) fn platform_args(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (prefix, platform) in [
        ("BUILD", &options.build_platform),
        ("TARGET", &options.target_platform),
    ] {
        args.insert(format!("{prefix}PLATFORM"), platform.to_string());
        args.insert(format!("{prefix}OS"), platform.os.clone());
        // The version of Windows.
        args.insert(format!("{prefix}OSVERSION"), String::new());
        args.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        args.insert(format!("{prefix}VARIANT"), platform.variant.clone());
    }
    let last = stage_names(dockerfile)
        .last()
        .copied()
        .flatten()
        .map(str::to_owned);
    let stage = options
        .target
        .clone()
        .or(last)
        .unwrap_or_else(|| "default".to_owned());
    args.insert("TARGETSTAGE".to_owned(), stage);
    for (name, value) in &mut args {
        if let Some(given) = options.build_args.get(name) {
            value.clone_from(given);
        }
    }
    args
}
