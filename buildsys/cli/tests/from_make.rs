//! docs/from-make.md holds: every command that it names is there, and so is every test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The subcommands that `tbuild --help` lists.
fn subcommands() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_tbuild"))
        .arg("--help")
        .output()
        .expect("tbuild starts");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands = text.split("Commands:").nth(1).expect("a list of commands");
    commands
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// The rows of the table: target, what does its work now, test.
fn rows() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(root().join("docs/from-make.md")).expect("the document");
    let cells = |line: &str| {
        let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<String> = inner.split(" | ").map(str::to_owned).collect();
        <[String; 3]>::try_from(cells).ok()
    };
    text.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| target"))
        .map(|line| cells(line).unwrap_or_else(|| panic!("not three cells: {line}")))
        .collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_command_that_is_named_is_there() {
    let config = std::fs::read_to_string(root().join("tbuild.toml")).expect("tbuild.toml");
    let config: toml::Table = config.parse().expect("TOML");
    let names = |table: &str| -> BTreeSet<String> {
        let table = config.get(table).and_then(toml::Value::as_table);
        table
            .into_iter()
            .flat_map(|table| table.keys().cloned())
            .collect()
    };
    let (components, commands, targets) = (names("component"), names("command"), names("target"));
    let known: BTreeSet<String> = subcommands()
        .into_iter()
        .chain(commands.iter().cloned())
        .chain(targets)
        .collect();
    assert!(components.len() > 5, "{components:?}");
    let mut count = 0;
    for [old, new, _] in rows() {
        for command in quoted(&new)
            .into_iter()
            .filter_map(|text| text.strip_prefix("tbuild "))
        {
            let name = command.split(' ').next().unwrap_or_default();
            count += 1;
            if name.starts_with("--") {
                continue;
            }
            if let Some((kind, name)) = name.split_once(':') {
                assert!(
                    names(kind).contains(name),
                    "{old}: there is no {kind}:{name}"
                );
                continue;
            }
            let all: Vec<String> = match name.strip_prefix("X-") {
                Some(suffix) => components
                    .iter()
                    .map(|one| format!("{one}-{suffix}"))
                    .collect(),
                None => vec![name.to_owned()],
            };
            for name in all {
                assert!(known.contains(&name), "{old}: there is no tbuild {name}");
            }
        }
    }
    assert!(count > 30, "only {count} commands are named");
}

#[test]
fn a_target_is_gone_or_has_a_command_and_each_row_a_test() {
    for [old, new, test] in rows() {
        assert!(!quoted(&old).is_empty(), "no target in {old}");
        let stays = quoted(&new).iter().any(|text| text.starts_with("tbuild "));
        let told = ["gone: ", "a part of ", "values "]
            .iter()
            .any(|start| new.starts_with(start));
        assert!(stays || told, "{old}: {new}");
        assert!(
            root().join(&test).exists(),
            "{old}: there is no test {test}"
        );
    }
}

#[test]
fn no_target_of_the_makefiles_is_missing() {
    let known: BTreeSet<String> = rows()
        .iter()
        .flat_map(|[old, ..]| {
            quoted(old)
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    for target in TARGETS {
        assert!(known.contains(*target), "{target} has no row");
    }
}

/// The targets that the three Makefiles have, patterns as they are called for a component.
const TARGETS: &[&str] = &[
    "cluster",
    "images",
    "cluster-deps",
    "cluster-install",
    "cluster-upgrade",
    "cluster-update",
    "cluster-uninstall",
    "clean",
    "tator-image",
    "tus-image",
    "postgis-image",
    "client-image",
    "lite-image",
    "wget-image",
    "curl-image",
    "client-latest",
    "python-bindings",
    "Dockerfile.gen",
    "min-css",
    "min-js",
    "docs",
    "collect-static",
    "dev-push",
    "migrate",
    "backup",
    "restore",
    "X-logs",
    "X-bash",
    "X-reset",
    "status",
    "init-logs",
    "migrate-flat",
    "ecr_update",
    "cache-clear",
    "cleanup-evicted",
    "build-search-indices",
    "letsencrypt",
    "selfsigned",
    "testinit",
    "test",
    "pytest",
    "pylint",
    "django_shell",
    "dashboard-token",
    "cross-info",
    "clean_js",
    "lazyPush",
    "reset",
    "imageQuery",
    "imageHold",
    "imageClean",
    "check-migration",
    "dump-logs",
    "announce",
    "rq-info",
    "rq-empty",
    "check-clean-db-logs",
    "markdown-docs",
    "r-docs",
    "install-dev-python",
    "js-bindings",
    "braw-image",
    "ui-image",
    "transcode-image",
    "tator",
    "svt-image",
    "superuser",
    "force-static",
    "django-shell",
    "psql-shell",
    "create-extensions",
    "check_restore",
    "check-format",
    "format",
    "clean-tokens",
    "schema",
    "check_schema",
    "clean_schema",
    "python-bindings-only",
    "logs",
    "help",
];
