//! Which origin serves a suite, and apt's own configuration for the suites of a base.

use std::fmt::Write as _;

use crate::{OriginError, Origins};

/// The origin that serves `suite` of a distribution: Debian's security suites have an archive of their own
/// (Debian reference, section 2.1.4); everything else is in the distribution's.
pub fn suite_origin(distribution: &str, suite: &str) -> String {
    let security = suite.ends_with("-security") || suite.ends_with("/updates");
    if distribution == "debian" && security {
        "debian-security".to_owned()
    } else {
        distribution.to_owned()
    }
}

/// apt's sources (deb822, sources.list(5)) for suites of `distribution`, with this machine's hosts: what a RUN
/// step finds under /etc/apt/sources.list.d by mount. `signed_by` is the keyring inside the image. Never bytes
/// of a layer.
pub fn apt_sources_for(
    origins: &Origins,
    distribution: &str,
    suites: &[String],
    components: &[String],
    signed_by: &str,
) -> Result<String, OriginError> {
    let mut text = String::new();
    let mut done: Vec<String> = Vec::new();
    for suite in suites {
        let origin = suite_origin(distribution, suite);
        if done.contains(&origin) {
            continue;
        }
        let of_origin: Vec<&str> = suites
            .iter()
            .filter(|suite| suite_origin(distribution, suite) == origin)
            .map(String::as_str)
            .collect();
        // apt asks every URI for the same; the machine's first choice is enough.
        let url = &origins.urls(&origin)?[..1];
        let separator = if text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{separator}Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nSigned-By: {signed_by}\n",
            url.join(" "),
            of_origin.join(" "),
            components.join(" ")
        );
        done.push(origin);
    }
    Ok(text)
}
