#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::MachineConfig;

fn machine(files: &[(&str, &str)], env: &[(&str, &str)]) -> MachineConfig {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut env: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    env.entry("HOME".to_owned())
        .or_insert_with(|| "/home/user".to_owned());
    MachineConfig::read(root.path(), &env).unwrap()
}

fn origins(files: &[(&str, &str)], env: &[(&str, &str)]) -> Origins {
    Origins::from_machine(&machine(files, env)).unwrap()
}

#[test]
fn apt_sources_in_both_forms() {
    let origins = origins(
        &[
            (
                "/etc/apt/sources.list",
                "# note\ndeb [arch=amd64 signed-by=/x.gpg] http://one.test/debian/ bookworm main\ndeb-src http://src.test/debian x main\ndeb http://two.test/pub/debian bookworm main # tail\ndeb http://other.test/apt stable main\n",
            ),
            (
                "/etc/apt/sources.list.d/a.sources",
                "Types: deb\nURIs: https://three.test/debian-security\nSuites: bookworm-security\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.test/debian\nSuites: bookworm\n\nTypes: deb deb-src\nURIs: http://host.test/\nSuites: trixie\n trixie-updates\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            ),
            (
                "/etc/apt/sources.list.d/b.save",
                "deb http://saved.test/debian bookworm main",
            ),
            (
                "/etc/apt/sources.list.d/c.list",
                "deb http://security.test/ bookworm-security main\ndeb [signed-by=/k/debian-archive-keyring.gpg] http://security.test/ bookworm-security main",
            ),
            (
                "/etc/apt/sources.list.d/d.sources",
                "Types: deb\nURIs: mirror+file:/etc/apt/mirrors/ubuntu.list\nSuites: noble\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n",
            ),
            (
                "/etc/apt/mirrors/ubuntu.list",
                "http://u1.test/ubuntu\tpriority:1\nhttps://u2.test/ubuntu/\n",
            ),
        ],
        &[],
    );
    assert_eq!(
        origins.urls("debian").unwrap(),
        [
            "http://one.test/debian",
            "http://two.test/pub/debian",
            "http://host.test"
        ]
    );
    assert_eq!(
        origins.urls("debian-security").unwrap(),
        ["https://three.test/debian-security", "http://security.test"]
    );
    // The list behind mirror+file carries the archive's name in its own path, not in the file's.
    assert_eq!(
        origins.urls("ubuntu").unwrap(),
        ["http://u1.test/ubuntu", "https://u2.test/ubuntu"]
    );
    assert_eq!(origins.names().count(), 3);
}

#[test]
fn language_clients() {
    let origins = origins(
        &[
            (
                "/etc/pip.conf",
                "[global]\nindex-url = https://system.test/simple\n",
            ),
            (
                "/home/user/.config/pip/pip.conf",
                "[install]\nindex-url=https://user.test/simple/\n",
            ),
            (
                "/home/user/.npmrc",
                "//x/:_authToken=1\nregistry=https://npm.test/\n",
            ),
            (
                "/home/user/.config/go/env",
                "GOPROXY=https://go1.test,https://go2.test|direct\n",
            ),
            (
                "/home/user/.cargo/config.toml",
                "[source.crates-io]\nreplace-with = 'm'\n[source.m]\nregistry = 'sparse+https://crates.test/index/'\n",
            ),
            (
                "/home/user/.m2/settings.xml",
                "<settings><mirrors><mirror><mirrorOf>x</mirrorOf><url>http://no.test</url></mirror><mirror><mirrorOf>*,!y</mirrorOf><url> https://maven.test/m2 </url></mirror></mirrors></settings>",
            ),
        ],
        &[],
    );
    assert_eq!(origins.urls("pypi").unwrap(), ["https://user.test/simple"]);
    assert_eq!(origins.urls("npm").unwrap(), ["https://npm.test"]);
    assert_eq!(
        origins.urls("go").unwrap(),
        ["https://go1.test", "https://go2.test"]
    );
    assert_eq!(
        origins.urls("crates").unwrap(),
        ["https://crates.test/index"]
    );
    assert_eq!(origins.urls("maven").unwrap(), ["https://maven.test/m2"]);
}

#[test]
fn a_replacement_loop_of_cargo_ends() {
    let origins = origins(
        &[(
            "/home/user/.cargo/config.toml",
            "[source.crates-io]\nreplace-with='a'\n[source.a]\nreplace-with='crates-io'\n",
        )],
        &[],
    );
    assert!(origins.urls("crates").is_err());
}

#[test]
fn nothing_is_built_in() {
    let origins = origins(&[], &[]);
    assert_eq!(origins.names().count(), 0);
    let error = origins.urls("debian").unwrap_err().to_string();
    assert!(
        error.contains("apt's sources") && error.contains("origins.toml"),
        "{error}"
    );
    assert!(client_env(&machine(&[], &[])).unwrap().is_empty());
}

#[test]
fn the_users_origins_win() {
    let system = (
        "/etc/tbuild/origins.toml",
        "[origin.ubuntu]\nurls = ['http://system.test/ubuntu']\n[origin.corp]\nurls = ['http://corp.test/']\n",
    );
    let user = (
        "/home/user/.config/tbuild/origins.toml",
        "[origin.ubuntu]\nurls = ['http://user.test/ubuntu']\n",
    );
    let found = origins(&[system, user], &[]);
    assert_eq!(found.urls("ubuntu").unwrap(), ["http://user.test/ubuntu"]);
    assert_eq!(
        found.locate("corp", &"a/b".parse().unwrap()).unwrap(),
        ["http://corp.test/a/b"]
    );
    for bad in [
        "[origin.x]\nurl = 'http://x.test'",
        "[origin.x]\nurls = ['ftp://x.test']",
        "nonsense",
    ] {
        assert!(
            Origins::from_machine(&machine(&[("/etc/tbuild/origins.toml", bad)], &[])).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn run_steps_are_told_what_differs() {
    let env = client_env(&machine(
        &[
            ("/home/user/.npmrc", "registry=https://npm.test/"),
            (
                "/usr/local/go/go.env",
                "GOPROXY=https://default.test,direct",
            ),
        ],
        &[
            ("GOPROXY", "https://go.test"),
            ("GONOSUMDB", "*"),
            ("HTTPS_PROXY", "http://proxy.test:3128"),
            ("SECRET", "x"),
        ],
    ))
    .unwrap();
    let pairs: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("GONOSUMDB", "*"),
            ("GOPROXY", "https://go.test"),
            ("HTTPS_PROXY", "http://proxy.test:3128"),
            ("NPM_CONFIG_REGISTRY", "https://npm.test/"),
            ("https_proxy", "http://proxy.test:3128"),
        ]
    );
}

#[test]
fn the_test_machine_serves_debian() {
    let env = std::env::vars().collect();
    let machine = MachineConfig::read(Path::new("/"), &env).unwrap();
    let origins = Origins::from_machine(&machine).unwrap();
    for name in ["debian", "debian-security"] {
        assert!(
            origins.urls(name).is_ok(),
            "{name} is not configured on this machine"
        );
    }
}
