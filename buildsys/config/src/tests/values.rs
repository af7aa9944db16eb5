use std::collections::BTreeMap;
use std::time::Duration;

use super::{FULL, good};
use crate::{
    FindError, Kind, Network, NodeRef, Options, PathKind, Run, SourceOrigin, ToolOrigin, TreeRef,
    render,
};

#[test]
fn every_table_comes_out_typed() {
    let config = good(
        FULL,
        &Options {
            reserved: &["build", "plan"],
            ..Options::default()
        },
    );
    assert_eq!(config.project.name.value, "tator");
    assert_eq!(
        config.project.default[0].value,
        NodeRef::new(Kind::Target, "cluster")
    );
    let SourceOrigin::Git { url, rev } = &config.sources["tator"].origin else {
        panic!()
    };
    assert_eq!(
        (url.as_str(), rev.as_str()),
        ("https://example.com/x.git", "dfa5a45c")
    );
    assert!(matches!(
        &config.sources["tarball"].origin,
        SourceOrigin::Url { .. }
    ));
    let base = &config.bases["debian:bookworm"];
    assert_eq!(
        (base.suite.as_str(), base.components.as_slice()),
        ("bookworm", &["main".to_owned()][..])
    );
    assert_eq!(
        base.platform.as_ref().map(ToString::to_string).as_deref(),
        Some("linux/amd64")
    );

    let image = &config.images["tator_online"];
    assert_eq!(
        image.contexts["css"].from.value,
        TreeRef::Node(NodeRef::new(Kind::Artifact, "css"))
    );
    assert_eq!(image.contexts["tator"].exclude[0].value, "main/static");
    let args: Vec<&str> = image.args.values().map(|value| value.as_str()).collect();
    assert_eq!(args, ["false", "3.11", "3"]);
    let values = serde_json::Value::Object(image.values.clone());
    assert_eq!(
        values,
        serde_json::json!({"workers": 3, "list": [1, 2.5, "x"], "nested": {"on": true}})
    );
    // v8 is what arm64 means without.
    assert_eq!(image.platforms[1].to_string(), "linux/arm64");
    assert_eq!((image.repository.as_str(), image.tags.len()), ("online", 2));
    let plain = &config.images["frontend"];
    assert_eq!(
        (plain.repository.as_str(), plain.tags.as_slice()),
        ("frontend", &["latest".to_owned()][..])
    );
    assert_eq!(
        plain.dockerfiles("frontend"),
        [
            "images/frontend/Dockerfile.hbs",
            "images/frontend/Dockerfile"
        ]
    );

    let css = &config.artifacts["css"];
    assert!(matches!(&css.run, Run::Shell(line) if line.starts_with("sass ")));
    assert_eq!(
        css.inputs["own"].from.value,
        TreeRef::Path("styles/".to_owned())
    );
    let helm = &config.artifacts["helm"];
    assert_eq!(
        (helm.run.argv(), helm.network),
        (vec!["make".to_owned(), "helm".to_owned()], Network::Host)
    );

    assert_eq!(config.charts["tator"].path.value, "charts/tator");
    let data = &config.releases["tator-data"];
    assert_eq!(
        (data.timeout, data.set["replicas"].as_i64()),
        (Duration::from_mins(90), Some(2))
    );
    assert_eq!(config.releases["tator"].namespace, "default");
    assert_eq!(
        config.tasks["migrate"]
            .before
            .as_ref()
            .map(|name| name.as_str()),
        Some("tator")
    );
    assert!(
        matches!(&config.tools["helm"].origin, ToolOrigin::Artifact { artifact, .. } if artifact.value == "helm")
    );
    assert!(
        matches!(&config.tools["etcdctl"].origin, ToolOrigin::Image { path, .. } if path.value == "/usr/bin/etcdctl")
    );
    assert!(
        matches!(&config.tools["kubectl"].origin, ToolOrigin::Url { sha256, .. } if sha256.len() == 1)
    );
    let node = config.node.as_ref().expect("node");
    assert_eq!(
        (node.images["etcd"].as_str(), node.labels["disk"].as_str()),
        ("frontend", "fast")
    );
    let listed = FULL.replace(
        "{ etcd = \"frontend\", pause = \"tator_online\" }",
        "[\"frontend\"]",
    );
    let config = good(&listed, &Options::default());
    assert_eq!(
        config.node.expect("node").images["frontend"].value,
        "frontend"
    );
}

#[test]
fn edges_follow_the_references() {
    let config = good(FULL, &Options::default());
    let edges: Vec<String> = config
        .edges()
        .iter()
        .map(|edge| {
            format!(
                "{} {}",
                edge.from
                    .as_ref()
                    .map_or("-".to_owned(), ToString::to_string),
                edge.to
            )
        })
        .collect();
    for expected in [
        "image:tator_online source:tator",
        "image:tator_online artifact:css",
        "artifact:css image:frontend",
        "chart:tator image:tator_online",
        "release:tator chart:tator",
        "release:tator release:tator-data",
        "release:tator task:migrate",
        "task:migrate release:tator-data",
        "task:migrate chart:tator",
        "task:migrate artifact:css",
        "tool:helm artifact:helm",
        "target:cluster image:frontend",
        "target:cluster push:frontend",
        "tool:etcdctl image:frontend",
        "- target:cluster",
        "- image:frontend",
    ] {
        assert!(
            edges.iter().any(|edge| edge == expected),
            "{expected} in {edges:#?}"
        );
    }
    assert!(
        !edges
            .iter()
            .any(|edge| edge == "task:migrate release:tator")
    );
}

#[test]
fn names_are_found_bare_where_only_one_has_them() {
    let config = good(FULL, &Options::default());
    let found = |name: &str| config.find(name).map(|node| node.to_string());
    assert_eq!(found("cluster").as_deref(), Ok("target:cluster"));
    assert_eq!(found("tator_online").as_deref(), Ok("image:tator_online"));
    assert_eq!(found("tator-data").as_deref(), Ok("release:tator-data"));
    assert_eq!(
        found("debian:bookworm").as_deref(),
        Ok("base:debian:bookworm")
    );
    assert_eq!(
        found("base:debian:bookworm").as_deref(),
        Ok("base:debian:bookworm")
    );
    assert_eq!(found("helm").as_deref(), Ok("tool:helm"));
    let error = config.find("tator").expect_err("three");
    assert_eq!(
        error.to_string(),
        "tator could be source:tator or chart:tator or release:tator"
    );
    let unknown = |name: &str| match config.find(name) {
        Err(error @ FindError::Unknown { .. }) => error.hint(),
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown("clutser").as_deref(), Some("did you mean cluster?"));
    assert_eq!(
        unknown("image:fronted").as_deref(),
        Some("did you mean image:frontend?")
    );
}

#[test]
fn paths_are_for_the_caller_to_check() {
    let config = good(FULL, &Options::default());
    let paths = config.paths();
    let found: BTreeMap<&str, (&str, PathKind)> = paths
        .iter()
        .map(|path| (path.what.as_str(), (path.paths[0].as_str(), path.kind)))
        .collect();
    assert_eq!(found["chart tator"], ("charts/tator", PathKind::Folder));
    assert_eq!(found["own of artifact css"], ("styles/", PathKind::Folder));
    assert_eq!(
        found["the Dockerfile of image frontend"],
        ("images/frontend/Dockerfile.hbs", PathKind::File)
    );
    assert_eq!(
        found["the template of task migrate"].0,
        "charts/tator/templates/tasks/migrate.yaml"
    );
    assert_eq!(
        found["the context of image tator_online"].1,
        PathKind::Folder
    );
    let values = paths
        .iter()
        .find(|path| path.what == "values of release tator-data")
        .expect("values");
    insta::assert_snapshot!(render(&values.missing(), FULL, "tbuild.toml", false), @r#"
        error[MissingFile]: values of release tator-data: there is no file charts/tator/values-demo.yaml
          --> tbuild.toml:65:11
           |
        65 | values = ["charts/tator/values-demo.yaml"]
           |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#);
}

#[test]
fn the_environment_is_read_where_it_is_declared() {
    let text = "[project]\nname = \"p\"\nenv = [\"A\"]\n[image.x]\nargs = { A = \"<${env:A}>\", B = \"$${env:A} ${HOME}\" }\n";
    let env = BTreeMap::from(
        [("A", "a"), ("B", "b")].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let config = good(
        text,
        &Options {
            env,
            ..Options::default()
        },
    );
    assert_eq!(config.images["x"].args["A"].value, "<a>");
    assert_eq!(config.images["x"].args["B"].value, "${env:A} ${HOME}");
    assert_eq!(config.env.keys().collect::<Vec<_>>(), ["A"]);
}
