//! Sources, bases, images, artifacts and tools.

use tbuild_dockerfile::Diagnostic;

use super::{one_of, refs};
use crate::model::{
    Artifact, Base, Image, Network, Origin, Source, SourceOrigin, Tool, ToolOrigin,
};
use crate::names::Kind;
use crate::reader::TableReader;
use crate::value::Spanned;

pub(super) fn source(_: &str, table: &mut TableReader) -> Option<Source> {
    let (git, path, url) = (
        table.string("git"),
        table.string("path"),
        table.string("url"),
    );
    let (rev, sha256) = (table.string("rev"), table.string("sha256"));
    let (include, exclude) = (
        refs::patterns(table, "include"),
        refs::patterns(table, "exclude"),
    );
    only_with(table, "rev", rev.as_ref(), "git", git.is_some());
    only_with(table, "sha256", sha256.as_ref(), "url", url.is_some());
    let origin = match (git, path, url) {
        (Some(url), None, None) => SourceOrigin::Git {
            url,
            rev: or_missing(table, "rev", rev)?,
        },
        (None, Some(path), None) => SourceOrigin::Path(path),
        (None, None, Some(url)) => {
            let sha256 = or_missing(table, "sha256", sha256)?;
            refs::check_sha256(table, &sha256);
            SourceOrigin::Url { url, sha256 }
        }
        _ => {
            one_origin(table, "git, path and url");
            return None;
        }
    };
    Some(Source {
        place: table.place.clone(),
        origin,
        include,
        exclude,
    })
}

/// Exactly one of several keys must be there.
fn one_origin(table: &mut TableReader, keys: &str) {
    let message = format!("{} needs one of {keys}", table.name);
    let error: Diagnostic = table.place.error("MissingKey", message);
    table.error(error);
}

fn or_missing(
    table: &mut TableReader,
    key: &str,
    value: Option<Spanned<String>>,
) -> Option<Spanned<String>> {
    if value.is_none() {
        table.missing(key);
    }
    value
}

/// A key that means something beside another one only.
fn only_with(
    table: &mut TableReader,
    key: &str,
    value: Option<&Spanned<String>>,
    other: &str,
    there: bool,
) {
    if let Some(value) = value.filter(|_| !there) {
        let message = format!("{key} of {} goes with {other}", table.name);
        table.error(value.place.error("UnknownKey", message));
    }
}

pub(super) fn origin(_: &str, table: &mut TableReader) -> Option<Origin> {
    const KINDS: [(&str, ()); 7] = [
        ("apt", ()),
        ("pypi", ()),
        ("npm", ()),
        ("go", ()),
        ("crates", ()),
        ("maven", ()),
        ("http", ()),
    ];
    let kind = table.required("kind")?;
    one_of(table, "kind", &kind, &KINDS)?;
    Some(Origin {
        place: table.place.clone(),
        kind,
    })
}

pub(super) fn base(_: &str, table: &mut TableReader) -> Option<Base> {
    let (distribution, suite) = (table.required("distribution"), table.required("suite"));
    let plain = |strings: Vec<Spanned<String>>| {
        strings
            .into_iter()
            .map(|text| text.value)
            .collect::<Vec<_>>()
    };
    let components = table
        .strings_if("components")
        .map_or_else(|| vec!["main".to_owned()], plain);
    let include = plain(table.strings("include"));
    let keyring = table.string("keyring");
    let platform = table
        .string("platform")
        .and_then(|text| refs::platform(table, &text));
    let extra_suites = plain(table.strings("extra-suites"));
    Some(Base {
        place: table.place.clone(),
        distribution: distribution?,
        suite: suite?,
        components,
        include,
        keyring,
        platform,
        extra_suites,
    })
}

pub(super) fn image(name: &str, table: &mut TableReader) -> Option<Image> {
    let plain = |strings: Vec<Spanned<String>>| {
        strings
            .into_iter()
            .map(|text| text.value)
            .collect::<Vec<_>>()
    };
    let dockerfile = table.string("dockerfile");
    let context = table
        .string("context")
        .and_then(|text| refs::tree(table, text));
    let contexts = refs::trees(table, "contexts");
    let target = table.string("target");
    let args = table.string_map("args");
    let values = table.json_map("values");
    let labels = table
        .string_map("labels")
        .into_iter()
        .map(|(name, text)| (name, text.value))
        .collect();
    let platforms = table.strings("platforms");
    let platforms = platforms
        .iter()
        .filter_map(|text| refs::platform(table, text))
        .collect();
    let network = network(table)?;
    let lock = table.string("lock");
    let ports = table.ports("ports");
    let repository = table
        .string("repository")
        .map_or_else(|| name.to_owned(), |text| text.value);
    let tags = table
        .strings_if("tags")
        .map_or_else(|| vec!["latest".to_owned()], plain);
    Some(Image {
        place: table.place.clone(),
        dockerfile,
        context,
        contexts,
        target,
        args,
        values,
        labels,
        platforms,
        network,
        lock,
        ports,
        repository,
        tags,
    })
}

/// The key `network`, if it is there; none where it is wrong.
#[expect(
    clippy::option_option,
    reason = "wrong and not there are told apart, as everywhere in here"
)]
pub(super) fn network(table: &mut TableReader) -> Option<Option<Network>> {
    const NETWORKS: [(&str, Network); 3] = [
        ("none", Network::None),
        ("host", Network::Host),
        ("record", Network::Recorded),
    ];
    match table.string("network") {
        None => Some(None),
        Some(text) => one_of(table, "network", &text, &NETWORKS).map(Some),
    }
}

pub(super) fn artifact(_: &str, table: &mut TableReader) -> Option<Artifact> {
    let image = table.required("image");
    let image = refs::named(table, Kind::Image, image);
    let inputs = refs::trees(table, "inputs");
    let env = table.string_map("env");
    let run = refs::run(table, "run");
    let outputs = table.strings("outputs");
    for path in &outputs {
        refs::check_below(table, "outputs", path);
    }
    if outputs.is_empty() {
        table.missing("outputs");
    }
    let network = network(table)?;
    let place = table.place.clone();
    Some(Artifact {
        place,
        image: image?,
        inputs,
        env,
        run: run?,
        outputs,
        network: network.unwrap_or_default(),
    })
}

pub(super) fn tool(_: &str, table: &mut TableReader) -> Option<Tool> {
    let version = table.string("version");
    let (artifact, image, url) = (
        table.string("artifact"),
        table.string("image"),
        table.string("url"),
    );
    let artifact = refs::named(table, Kind::Artifact, artifact);
    let image = refs::named(table, Kind::Image, image);
    let (go, path, member) = (
        table.string("go"),
        table.string("path"),
        table.string("member"),
    );
    let sha256 = table.string_map("sha256");
    only_with(table, "go", go.as_ref(), "artifact", artifact.is_some());
    only_with(
        table,
        "path",
        path.as_ref(),
        "artifact or image",
        artifact.is_some() || image.is_some(),
    );
    only_with(table, "member", member.as_ref(), "url", url.is_some());
    let origin = match (artifact, image, url) {
        (Some(artifact), None, None) => {
            let path = or_missing(table, "path", path)?;
            refs::check_below(table, "path", &path);
            ToolOrigin::Artifact { artifact, path, go }
        }
        (None, Some(image), None) => ToolOrigin::Image {
            image,
            path: or_missing(table, "path", path)?,
        },
        (None, None, Some(url)) => {
            for text in sha256.values() {
                refs::check_sha256(table, text);
            }
            ToolOrigin::Url {
                url,
                sha256,
                member,
            }
        }
        _ => {
            one_origin(table, "artifact, image and url");
            return None;
        }
    };
    Some(Tool {
        place: table.place.clone(),
        version,
        origin,
    })
}
