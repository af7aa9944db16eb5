use std::collections::BTreeMap;

use super::*;

const SMALL: &str = r#"
[project]
name = "demo"
env = ["DOMAIN"]

[source.app]
path = "app"
exclude = ["**/*.pyc"]

[image.web]
contexts = { app = { from = "source:app", include = ["src"] } }

[artifact.css]
image = "web"
inputs = { app = "source:app" }
run = "sassc /inputs/app/a.scss /outputs/a.css"
outputs = ["a.css"]

[chart.site]
images = { web = "web" }

[release.site]
chart = "site"
timeout = "5m"
set = { domain = "${env:DOMAIN}", replicas = 2 }

[task.migrate]
release = "site"
template = "templates/migrate.yaml"
before = "site"

[target.cluster]
needs = ["release:site"]

[profile.demo]
source.app = { path = "demo" }
release.site.set.replicas = 1
"#;

fn overrides() -> Overrides {
    Overrides {
        environment: BTreeMap::from([("DOMAIN".to_owned(), "a.test".to_owned())]),
        ..Overrides::default()
    }
}

/// The first finding, as it is shown.
fn finding(text: &str, overrides: &Overrides) -> String {
    let findings = parse(text, overrides).expect_err("it is wrong");
    render(&findings[0], "tbuild.toml", text, false)
}

#[test]
fn reads_every_table() {
    let config = parse(SMALL, &overrides()).expect("it is right");
    assert_eq!(config.releases["site"].timeout, 300);
    assert_eq!(
        config.releases["site"].set,
        serde_json::json!({"domain": "a.test", "replicas": 2})
    );
    assert_eq!(config.images["web"].contexts["app"].include, ["src"]);
    assert_eq!(config.artifacts["css"].run.argv()[..2], ["/bin/sh", "-c"]);
    assert_eq!(config.node_name("web"), Ok("image:web".to_owned()));
    assert_eq!(config.node_name("site"), Ok("release:site".to_owned()));
}

#[test]
fn profiles_then_set_then_source_count() {
    let mut all = overrides();
    all.profiles = vec!["demo".to_owned()];
    let config = parse(SMALL, &all).expect("it is right");
    assert_eq!(config.releases["site"].set["replicas"], 1);
    assert!(matches!(&config.sources["app"].kind, SourceKind::Path(path) if path.value == "demo"));
    all.set = vec![
        "release.site.set.replicas=7".to_owned(),
        "project.registry=localhost:1".to_owned(),
    ];
    all.sources = vec!["app=/elsewhere".to_owned()];
    let config = parse(SMALL, &all).expect("it is right");
    assert_eq!(config.releases["site"].set["replicas"], 7);
    assert_eq!(config.project.registry.as_deref(), Some("localhost:1"));
    assert!(
        matches!(&config.sources["app"].kind, SourceKind::Path(path) if path.value == "/elsewhere")
    );
}

#[test]
fn an_unknown_key_is_shown_with_a_caret_and_a_suggestion() {
    let text = SMALL.replace("timeout = \"5m\"", "timeuot = \"5m\"");
    let shown = finding(&text, &overrides());
    for part in [
        "release.site has no key timeuot",
        "tbuild.toml:24:1",
        "^^^^^^^",
        "did you mean timeout?",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
}

#[test]
fn every_kind_of_mistake_is_found_at_its_place() {
    let table = [
        (
            "path = \"app\"",
            "path = 7",
            "source.app.path must be a string, not an integer",
        ),
        (
            "path = \"app\"",
            "path = \"app\"\ngit = \"g\"",
            "source.app needs exactly one of path, git and url",
        ),
        (
            "from = \"source:app\"",
            "from = \"source:ap\"",
            "there is no source ap",
        ),
        ("image = \"web\"\n", "", "artifact.css needs image"),
        (
            "chart = \"site\"",
            "chart = \"sight\"",
            "there is no chart sight",
        ),
        (
            "\"5m\"",
            "\"5 minutes\"",
            "release.site.timeout: \"5 minutes\" is no duration",
        ),
        (
            "[target.cluster]",
            "[target.web]",
            "image.web has the name of target.web",
        ),
        (
            "[target.cluster]",
            "[target.shell]",
            "target.shell has the name of the command tbuild shell",
        ),
        (
            "[\"release:site\"]",
            "[\"release:side\"]",
            "there is no node release:side",
        ),
        (
            "env = [\"DOMAIN\"]",
            "env = []",
            "${env:DOMAIN} is not declared",
        ),
        (
            "before = \"site\"",
            "before = \"site\"\nafter = \"site\"",
            "these wait for each other",
        ),
        ("name = \"demo\"", "name = \"demo", "invalid basic string"),
        (
            "[chart.site]",
            "[chart.site]\n[chart.site]",
            "duplicate key",
        ),
    ];
    for (old, new, message) in table {
        let text = SMALL.replacen(old, new, 1);
        assert_ne!(text, SMALL, "{old:?} is in the text");
        let shown = finding(&text, &overrides());
        assert!(shown.contains(message), "{message:?} is not in\n{shown}");
        assert!(shown.contains("--> tbuild.toml:"), "{shown}");
    }
}

#[test]
fn the_environment_is_read_only_where_declared() {
    let shown = finding(SMALL, &Overrides::default());
    assert!(
        shown.contains("the environment variable DOMAIN is not set"),
        "{shown}"
    );
}

#[test]
fn mistakes_of_the_command_line_are_named() {
    for (overrides, message) in [
        (
            Overrides {
                profiles: vec!["nope".into()],
                ..overrides()
            },
            "there is no [profile.nope]",
        ),
        (
            Overrides {
                set: vec!["a".into()],
                ..overrides()
            },
            "--set a: KEY=VALUE is expected",
        ),
        (
            Overrides {
                set: vec!["project.name.x=1".into()],
                ..overrides()
            },
            "name is a string, not a table",
        ),
        (
            Overrides {
                sources: vec!["nope=/x".into()],
                ..overrides()
            },
            "there is no [source.nope]",
        ),
    ] {
        let shown = finding(SMALL, &overrides);
        assert!(shown.contains(message), "{message:?} is not in\n{shown}");
    }
}
