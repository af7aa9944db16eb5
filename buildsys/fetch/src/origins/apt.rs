//! apt's sources: the one-line and the deb822 form (sources.list(5)).

use crate::MachineConfig;
use crate::deb822::{Stanza, Stanzas};

/// One base URL with the suites that are read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    url: String,
    suites: Vec<String>,
    signed_by: String,
}

/// The origins that apt's sources configure: pairs of name and base URL, in the order of the files.
pub(super) fn origins(machine: &MachineConfig) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    sources.extend(
        machine
            .file("/etc/apt/sources.list")
            .into_iter()
            .flat_map(one_line),
    );
    for (path, text) in machine.files_in("/etc/apt/sources.list.d") {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line(text)),
            Some("sources") => sources.extend(deb822(text)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for source in sources {
        let Some(name) = name(&source) else { continue };
        for url in hosts(machine, &source.url) {
            let entry = (name.clone(), url.trim_end_matches('/').to_owned());
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

/// `deb [options] URL suite component...`, a line each.
fn one_line(text: &str) -> Vec<Source> {
    let line = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let url = words.next()?.to_owned();
        let suites = vec![words.next()?.to_owned()];
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="));
        Some(Source {
            url,
            suites,
            signed_by: signed_by.unwrap_or_default().to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Stanzas with Types, URIs, Suites. A file that is not well formed configures nothing, as apt would say.
fn deb822(text: &str) -> Vec<Source> {
    let wanted = |stanza: &Stanza| {
        stanza.words("Types").any(|kind| kind == "deb")
            && !stanza.get("Enabled").is_some_and(|value| {
                matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0")
            })
    };
    Stanzas::new(text.as_bytes())
        .map_while(Result::ok)
        .filter(wanted)
        .flat_map(|stanza| {
            let suites: Vec<String> = stanza.words("Suites").map(str::to_owned).collect();
            let signed_by = stanza.get("Signed-By").unwrap_or_default().to_owned();
            let source = |url: &str| Source {
                url: url.to_owned(),
                suites: suites.clone(),
                signed_by: signed_by.clone(),
            };
            stanza.words("URIs").map(source).collect::<Vec<_>>()
        })
        .collect()
}

/// Which origin a source is. A mirror keeps the archive's name in its path whatever its host is called; where
/// it does not, the keyring that signs it tells.
fn name(source: &Source) -> Option<String> {
    const ARCHIVES: [&str; 4] = ["debian", "debian-security", "ubuntu", "ubuntu-ports"];
    let security = !source.suites.is_empty()
        && source
            .suites
            .iter()
            .all(|suite| suite.ends_with("-security") || suite.ends_with("/updates"));
    let path = source
        .url
        .split_once("://")
        .map_or(source.url.as_str(), |(_, rest)| rest);
    // The first segment is the host, which names nothing.
    let by_path = path
        .split('/')
        .skip(1)
        .filter(|segment| ARCHIVES.contains(segment))
        .last();
    let by_keyring = || {
        let keyring = source.signed_by.rsplit('/').next().unwrap_or_default();
        ["debian", "ubuntu"]
            .into_iter()
            .find(|name| keyring.starts_with(&format!("{name}-archive-")))
    };
    let name = by_path.or_else(by_keyring)?;
    Some(if name == "debian" && security {
        "debian-security".to_owned()
    } else {
        name.to_owned()
    })
}

/// The HTTP URLs behind a source: itself, or the list that a `mirror+file:` names.
fn hosts(machine: &MachineConfig, url: &str) -> Vec<String> {
    let http = |url: &&str| url.starts_with("http://") || url.starts_with("https://");
    if http(&url) {
        return vec![url.to_owned()];
    }
    let list = url
        .strip_prefix("mirror+file:")
        .and_then(|path| machine.file(path))
        .unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(http)
        .map(str::to_owned)
        .collect()
}
