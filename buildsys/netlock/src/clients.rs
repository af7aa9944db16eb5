//! Package managers that ask their own archive where nothing on the machine names a mirror of it: known by what they
//! say of themselves and by the form of what they ask for. So a lock names the archive, and not its host.

use http::HeaderMap;
use http::header::USER_AGENT;

use crate::place::Place;

/// Files of Python's archive; their names are never used twice there.
const PYTHON_FILES: [&str; 6] = [
    ".tar.bz2",
    ".tar.gz",
    ".whl",
    ".whl.metadata",
    ".zip",
    ".egg",
];

/// Below an archive of Python's: its files, wherever their host keeps them.
pub(crate) const PYTHON_FILES_AT: &str = "packages/";

/// What a request of a package manager is for, given its path without the slash at the front, with its query.
pub(crate) fn place(headers: &HeaderMap, path: &str) -> Option<Place> {
    let agent = headers.get(USER_AGENT)?.to_str().ok()?;
    let place = |origin: &str, path: &str| Place {
        origin: origin.to_owned(),
        path: path.to_owned(),
    };
    let (client, _) = agent.split_once('/')?;
    let bare = path.split('?').next().unwrap_or_default();
    match client {
        "pip" | "uv" | "poetry" | "pdm" => {
            if let Some((_, page)) = path.split_once("simple/") {
                return Some(place("pypi", page));
            }
            let name = bare.rsplit('/').next()?;
            let is_file = PYTHON_FILES.iter().any(|end| name.ends_with(end));
            is_file.then(|| place("pypi", &format!("{PYTHON_FILES_AT}{name}")))
        }
        "npm" | "yarn" | "pnpm" => {
            let is_name = match bare.strip_prefix('@') {
                Some(scoped) => scoped.replace("%2f", "/").matches('/').count() == 1,
                None => !bare.is_empty() && !bare.contains('/'),
            };
            let is_of_registry = is_name || bare.starts_with("-/") || bare.contains("/-/");
            is_of_registry.then(|| place("npm", path))
        }
        // The proxy's protocol: go.dev/ref/mod, "GOPROXY protocol".
        "Go-http-client" => {
            let is_module = bare.contains("/@v/") || bare.ends_with("/@latest");
            is_module.then(|| place("go", path))
        }
        "Apache-Maven" => {
            let (_, file) = path.split_once("maven2/")?;
            Some(place("maven", file))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &str, path: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent.parse().expect("a value"));
        place(&headers, path).map(|place| place.to_string())
    }

    #[test]
    fn archives_are_known_by_who_asks() {
        let pip = |path: &str| of("pip/23.0.1 {\"ci\":null}", path);
        assert_eq!(pip("simple/six/").as_deref(), Some("pypi/six/"));
        assert_eq!(pip("root/pypi/+simple/six/").as_deref(), Some("pypi/six/"));
        assert_eq!(
            pip("packages/d9/5a/e7/six-1.16.0-py2.py3-none-any.whl.metadata").as_deref(),
            Some("pypi/packages/six-1.16.0-py2.py3-none-any.whl.metadata")
        );
        assert_eq!(pip("other"), None);
        let npm = |path: &str| of("npm/10.8.2 node/v22 linux x64", path);
        assert_eq!(npm("left-pad").as_deref(), Some("npm/left-pad"));
        assert_eq!(npm("@a%2fb").as_deref(), Some("npm/@a%2fb"));
        assert_eq!(
            npm("@a/b/-/b-1.0.0.tgz").as_deref(),
            Some("npm/@a/b/-/b-1.0.0.tgz")
        );
        assert_eq!(npm("owner/repository/tar.gz/main"), None);
        let go = |path: &str| of("Go-http-client/2.0", path);
        assert_eq!(
            go("golang.org/x/text/@v/v0.14.0.zip").as_deref(),
            Some("go/golang.org/x/text/@v/v0.14.0.zip")
        );
        assert_eq!(go("releases/list"), None);
        assert_eq!(
            of(
                "Apache-Maven/3.8.7 (Java 17)",
                "maven2/junit/junit/4.13/junit-4.13.jar"
            )
            .as_deref(),
            Some("maven/junit/junit/4.13/junit-4.13.jar")
        );
        assert_eq!(of("curl/8.0", "simple/six/"), None);
    }
}
