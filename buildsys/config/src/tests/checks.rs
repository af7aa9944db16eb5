use super::shown;
use crate::{Options, RESERVED};

fn plain(text: &str) -> String {
    shown(text, &Options::default())
}

#[test]
fn references_must_hold() {
    insta::assert_snapshot!(
        plain("[image.web]\ncontext = \"source:webb\"\n[source.web]\npath = \"x\"\n[target.all]\nneeds = [\"image:wbe\", \"imgae:web\", \"web\"]\n[chart.c]\nimages = { a = \"nope\", b = \"source:web\" }\n"),
        @r#"
        error[InvalidReference]: there is no kind of node "imgae"
         --> tbuild.toml:6:23
          |
        6 | needs = ["image:wbe", "imgae:web", "web"]
          |                       ^^^^^^^^^^^
          |
          = help: did you mean image:web?

        error[InvalidReference]: [chart.c] takes a name of [image.X] here, not "source:web"
         --> tbuild.toml:8:28
          |
        8 | images = { a = "nope", b = "source:web" }
          |                            ^^^^^^^^^^^^
        "#
    );
    insta::assert_snapshot!(
        plain("[target.all]\nneeds = [\"image:wbe\", \"web\"]\n[image.web]\n[chart.c]\nimages = { a = \"nope\" }\n[component.x]\nrelease = \"r\"\nselector = \"a\"\n[base.b]\ndistribution = \"corp\"\nsuite = \"s\"\n"),
        @r#"
        error[UnknownReference]: there is no [image.wbe]
         --> tbuild.toml:2:10
          |
        2 | needs = ["image:wbe", "web"]
          |          ^^^^^^^^^^^
          |
          = help: did you mean image:web?

        error[UnknownReference]: there is no [image.nope]
         --> tbuild.toml:5:16
          |
        5 | images = { a = "nope" }
          |                ^^^^^^

        error[UnknownReference]: there is no [release.r]
         --> tbuild.toml:7:11
          |
        7 | release = "r"
          |           ^^^

        error[UnknownReference]: there is no distribution "corp"
          --> tbuild.toml:10:16
           |
        10 | distribution = "corp"
           |                ^^^^^^
           |
           = help: debian, ubuntu, or an [origin.corp]
        "#
    );
}

#[test]
fn cycles_are_named() {
    insta::assert_snapshot!(
        plain("[image.a]\ncontexts = { x = \"artifact:b\" }\n[artifact.b]\nimage = \"a\"\nrun = \"x\"\noutputs = [\"x\"]\n[target.t]\nneeds = [\"image:a\"]\n"),
        @r#"
        error[Cycle]: image:a needs itself
         --> tbuild.toml:4:9
          |
        4 | image = "a"
          |         ^^^
          |
          = help: cycle: image:a -> artifact:b -> image:a
        "#
    );
    insta::assert_snapshot!(plain("[target.t]\nneeds = [\"target:t\"]\n"), @r#"
        error[Cycle]: target:t needs itself
         --> tbuild.toml:2:10
          |
        2 | needs = ["target:t"]
          |          ^^^^^^^^^^
          |
          = help: cycle: target:t -> target:t
        "#);
    insta::assert_snapshot!(
        plain("[chart.c]\n[release.r]\nchart = \"c\"\n[task.t]\nrelease = \"r\"\ntemplate = \"t.yaml\"\nafter = \"r\"\nbefore = \"r\"\n"),
        @r#"
        error[Cycle]: release:r needs itself
         --> tbuild.toml:7:9
          |
        7 | after = "r"
          |         ^^^
          |
          = help: cycle: release:r -> task:t -> release:r
        "#
    );
}

#[test]
fn names_collide_with_each_other_and_with_subcommands() {
    let options = Options {
        reserved: &["build"],
        ..Options::default()
    };
    insta::assert_snapshot!(
        shown("[image.web]\n[target.web]\n[target.build]\n[chart.web]\n[source.build]\npath = \"x\"\n[target.\"a b\"]\n", &options),
        @r#"
        error[InvalidName]: "a b" is not a name for a target
         --> tbuild.toml:7:9
          |
        7 | [target."a b"]
          |         ^^^^^
          |
          = help: a letter or digit first, then letters, digits, - _ .
        "#
    );
    insta::assert_snapshot!(shown("[image.web]\n[target.web]\n[target.build]\n[chart.web]\n[source.build]\npath = \"x\"\n", &options), @r#"
        error[NameCollision]: target:web has the name of image:web
         --> tbuild.toml:2:9
          |
        2 | [target.web]
          |         ^^^
          |
          = help: a bare name means one thing

        error[NameCollision]: target:build has the name of the subcommand tbuild build
         --> tbuild.toml:3:9
          |
        3 | [target.build]
          |         ^^^^^
        "#);
}

#[test]
fn a_task_may_have_the_name_of_the_subcommand_that_runs_it() {
    let text = "[project]\nname = \"p\"\n[chart.c]\n[release.r]\nchart = \"c\"\n[task.migrate]\nrelease = \"r\"\ntemplate = \"t\"\n";
    super::good(
        text,
        &Options {
            reserved: RESERVED,
            ..Options::default()
        },
    );
}
