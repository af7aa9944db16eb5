//! What the package clients of a RUN step must be told so that they use this machine's hosts.

use std::collections::BTreeMap;

use super::clients;
use super::table::{OriginError, Origins};
use crate::MachineConfig;

const GO_VARIABLES: [&str; 7] = [
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GONOPROXY",
    "GOPRIVATE",
    "GOINSECURE",
    "GONOSUMCHECK",
];
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Variables for a RUN step, only where this machine differs from what its clients do unasked: an empty map on
/// a machine where nobody configured anything. They never enter an image's configuration or a key.
pub fn client_env(machine: &MachineConfig) -> Result<BTreeMap<String, String>, OriginError> {
    let mut env = BTreeMap::new();
    let user = Origins::declared(machine)?;
    let first = |origin: &str| {
        user.urls(origin)
            .ok()
            .and_then(|urls| urls.first().cloned())
    };
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    };
    set(
        "PIP_INDEX_URL",
        first("pypi").or_else(|| clients::pip(machine, "index-url")),
    );
    set(
        "PIP_EXTRA_INDEX_URL",
        clients::pip(machine, "extra-index-url"),
    );
    set("PIP_TRUSTED_HOST", clients::pip(machine, "trusted-host"));
    set(
        "NPM_CONFIG_REGISTRY",
        first("npm").or_else(|| clients::npm(machine)),
    );
    for name in GO_VARIABLES {
        set(name, clients::go(machine, name));
    }
    if let Ok(urls) = user.urls("go") {
        set("GOPROXY", Some(urls.join(",")));
    }
    for name in PROXIES {
        let upper = name.to_ascii_uppercase();
        let value = machine
            .env(name)
            .or_else(|| machine.env(&upper))
            .map(str::to_owned);
        // Clients disagree on the case: curl reads only the lower one for http_proxy, others only the upper.
        set(name, value.clone());
        set(&upper, value);
    }
    Ok(env)
}
