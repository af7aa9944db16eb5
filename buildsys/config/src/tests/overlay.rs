use super::{FULL, good, shown, whole};
use crate::{Options, SourceOrigin};

fn strings(strings: &[&str]) -> Vec<String> {
    strings.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn profiles_merge_tables_and_replace_the_rest() {
    let profiles = strings(&["demo"]);
    let config = good(
        FULL,
        &Options {
            profiles: &profiles,
            ..Options::default()
        },
    );
    // A source is replaced whole: nothing of the git one is left.
    let source = &config.sources["tator"];
    assert!(
        matches!(&source.origin, SourceOrigin::Path(path) if path.value == "ci/fixtures/tator")
    );
    assert!(source.exclude.is_empty());
    assert_eq!(source.origin_text(), "ci/fixtures/tator");
    let data = &config.releases["tator-data"];
    assert_eq!(
        (data.set["replicas"].as_i64(), data.set["role"].as_str()),
        (Some(1), Some("data"))
    );
    assert_eq!(config.releases["tator"].values.len(), 1);
}

#[test]
fn flags_go_over_profiles() {
    let profiles = strings(&["demo"]);
    let set = strings(&[
        "release.tator.timeout=5m",
        "release.tator-data.set.replicas=7",
        "base.\"debian:bookworm\".suite='sid'",
        "image.frontend.tags=[\"a\", \"b\"]",
        "image.frontend.args.X=a=b",
    ]);
    let sources = strings(&["tator=/elsewhere/tator"]);
    let config = good(
        FULL,
        &Options {
            profiles: &profiles,
            set: &set,
            sources: &sources,
            ..Options::default()
        },
    );
    assert_eq!(config.releases["tator"].timeout.as_secs(), 300);
    assert_eq!(
        config.releases["tator-data"].set["replicas"].as_i64(),
        Some(7)
    );
    assert_eq!(config.bases["debian:bookworm"].suite.value, "sid");
    assert_eq!(config.images["frontend"].tags, ["a", "b"]);
    assert_eq!(config.images["frontend"].args["X"].value, "a=b");
    assert_eq!(config.sources["tator"].origin_text(), "/elsewhere/tator");
    // Without the profile, what the project leaves out stays left out.
    let config = good(
        FULL,
        &Options {
            sources: &sources,
            ..Options::default()
        },
    );
    assert_eq!(config.sources["tator"].exclude[0].value, "**/*.pyc");
}

#[test]
fn errors_of_flags_name_the_flag() {
    let set = strings(&[
        "image.web.tagret=x",
        "image.web.target=3",
        "image.web",
        "image..x=1",
        "image.web.tags.x=1",
    ]);
    let sources = strings(&["wbe=/x", "web"]);
    let profiles = strings(&["dmeo"]);
    let options = Options {
        set: &set,
        sources: &sources,
        profiles: &profiles,
        ..Options::default()
    };
    insta::assert_snapshot!(
        shown("[image.web]\ntags = [\"a\"]\n[source.web]\npath = \"x\"\n[profile.demo]\n", &options),
        @r#"
        error[UnknownSource]: there is no [source.wbe]
         --> --source:1:1
          |
        1 | wbe=/x
          | ^^^
          |
          = help: did you mean web?

        error[InvalidFlag]: --source web is not NAME=PATH
         --> --source:1:1
          |
        1 | web
          | ^^^

        error[UnknownProfile]: there is no [profile.dmeo]
         --> --profile:1:1
          |
        1 | dmeo
          | ^^^^
          |
          = help: did you mean demo?

        error[InvalidFlag]: --set "image..x": not a dotted key
         --> --set:1:1
          |
        1 | image..x=1
          | ^^^^^^^^

        error[InvalidFlag]: --set image.web has no value
         --> --set:1:1
          |
        1 | image.web
          | ^^^^^^^^^
          |
          = help: write --set table.key=VALUE

        error[WrongType]: tags is an array, not a table
         --> --set:1:11
          |
        1 | image.web.tags.x=1
          |           ^^^^

        error[UnknownKey]: unknown key tagret in [image.web]
         --> --set:1:11
          |
        1 | image.web.tagret=x
          |           ^^^^^^
          |
          = help: did you mean target?

        error[WrongType]: target of [image.web] takes a string, not an integer
         --> --set:1:18
          |
        1 | image.web.target=3
          |                  ^
        "#
    );
}

#[test]
fn profiles_that_are_not_asked_for_are_read_too() {
    insta::assert_snapshot!(
        whole("[project]\nname = \"p\"\n[image.web]\n[profile.a]\nimage.web.tagret = \"x\"\n[profile.b]\nimage.web.tags = 3\n", &Options::default()),
        @r#"
        error[UnknownKey]: unknown key tagret in [image.web]
         --> tbuild.toml:5:11
          |
        5 | image.web.tagret = "x"
          |           ^^^^^^
          |
          = help: did you mean target?

        error[WrongType]: tags of [image.web] takes an array of strings, not an integer
         --> tbuild.toml:7:18
          |
        7 | image.web.tags = 3
          |                  ^
        "#
    );
    // What only holds together with another profile is no error.
    let text = "[project]\nname = \"p\"\n[profile.a]\nimage.web.context = \"source:s\"\n[profile.b]\nsource.s.path = \"x\"\n";
    good(text, &Options::default());
    let profiles = strings(&["a", "b"]);
    good(
        text,
        &Options {
            profiles: &profiles,
            ..Options::default()
        },
    );
}

impl crate::Source {
    fn origin_text(&self) -> &str {
        match &self.origin {
            SourceOrigin::Git { url, .. } | SourceOrigin::Url { url, .. } => url,
            SourceOrigin::Path(path) => path,
        }
    }
}
