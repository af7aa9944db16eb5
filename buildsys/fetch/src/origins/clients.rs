//! The configuration of pip, npm, go, cargo and maven.

use crate::MachineConfig;

/// pip's index URL, where the machine sets one (`index-url` of `[global]` or `[install]`).
pub(super) fn pip(machine: &MachineConfig, key: &str) -> Option<String> {
    let variable = format!("PIP_{}", key.to_ascii_uppercase().replace('-', "_"));
    if let Some(value) = machine.env(&variable) {
        return Some(value.to_owned());
    }
    let named = machine
        .env("PIP_CONFIG_FILE")
        .and_then(|path| machine.file(path));
    // The user's file wins over the machine's, and sorts after it or not: look for it by name.
    let user = machine
        .files_named("pip/pip.conf")
        .chain(machine.files_named(".pip/pip.conf"))
        .map(|(_, text)| text);
    named
        .into_iter()
        .chain(user)
        .chain(machine.file("/etc/pip.conf"))
        .find_map(|text| ini(text, &["global", "install"], key))
}

/// npm's registry, where the machine sets one.
pub(super) fn npm(machine: &MachineConfig) -> Option<String> {
    let variable = ["npm_config_registry", "NPM_CONFIG_REGISTRY"]
        .into_iter()
        .find_map(|name| machine.env(name));
    if let Some(value) = variable {
        return Some(value.to_owned());
    }
    let named = machine
        .env("NPM_CONFIG_USERCONFIG")
        .and_then(|path| machine.file(path));
    let user = machine.files_named(".npmrc").map(|(_, text)| text);
    let global = machine.files_named("etc/npmrc").map(|(_, text)| text);
    named
        .into_iter()
        .chain(user)
        .chain(global)
        .find_map(|text| ini(text, &[""], "registry"))
}

/// A variable of go's, where the machine sets it: by environment or by `go env -w`.
pub(super) fn go(machine: &MachineConfig, name: &str) -> Option<String> {
    if let Some(value) = machine.env(name) {
        return Some(value.to_owned());
    }
    let named = machine.env("GOENV").and_then(|path| machine.file(path));
    let user = machine.files_named("go/env").map(|(_, text)| text);
    named
        .into_iter()
        .chain(user)
        .find_map(|text| ini(text, &[""], name))
}

/// A variable of go's that the toolchain itself comes configured with (`$GOROOT/go.env`).
pub(super) fn go_toolchain(machine: &MachineConfig, name: &str) -> Option<String> {
    machine
        .files_named("go.env")
        .find_map(|(_, text)| ini(text, &[""], name))
}

/// The HTTP proxies in a GOPROXY list; `direct` and `off` are no hosts.
pub(super) fn goproxy_urls(list: &str) -> Vec<String> {
    list.split([',', '|'])
        .map(str::trim)
        .filter(|url| url.contains("://"))
        .map(str::to_owned)
        .collect()
}

/// The registry that replaces the default one, where the machine sets one.
pub(super) fn cargo(machine: &MachineConfig) -> Option<String> {
    let texts = machine
        .files_named("config.toml")
        .chain(machine.files_named(".cargo/config"));
    texts
        .filter_map(|(_, text)| text.parse::<toml::Table>().ok())
        .find_map(|table| {
            let sources = table.get("source")?.as_table()?;
            let mut name = "crates-io";
            // Each step of a replacement chain names another source; a chain longer than the list is a loop.
            for _ in 0..=sources.len() {
                let source = sources.get(name)?.as_table()?;
                match source.get("replace-with").and_then(toml::Value::as_str) {
                    Some(next) => name = next,
                    None => {
                        return source
                            .get("registry")?
                            .as_str()
                            .map(|url| url.trim_start_matches("sparse+").to_owned());
                    }
                }
            }
            None
        })
}

/// The mirror of Maven's central repository (`settings.xml`: `mirrors/mirror` with `mirrorOf` and `url`).
pub(super) fn maven(machine: &MachineConfig) -> Option<String> {
    let element = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        Some(value.trim().to_owned())
    };
    machine
        .files_named(".m2/settings.xml")
        .find_map(|(_, text)| {
            text.split("<mirror>").skip(1).find_map(|mirror| {
                let of = element(mirror, "mirrorOf")?;
                let central = of
                    .split(',')
                    .any(|of| matches!(of.trim(), "*" | "central" | "external:*"));
                element(mirror, "url").filter(|_| central)
            })
        })
}

/// The first value of `key` in the named sections of an ini file; the section before any header is "".
fn ini(text: &str, sections: &[&str], key: &str) -> Option<String> {
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        } else if let Some((name, value)) = line.split_once('=')
            && name.trim() == key
            && sections.contains(&section)
        {
            let value = value.trim().trim_matches('"');
            return Some(value.to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}
