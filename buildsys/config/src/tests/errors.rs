use std::collections::BTreeMap;

use tbuild_dockerfile::{LowerOptions, lower};

use super::{shown, whole};
use crate::{Options, render};

fn plain(text: &str) -> String {
    shown(text, &Options::default())
}

#[test]
fn unknown_keys_come_with_suggestions() {
    insta::assert_snapshot!(
        plain("[image.web]\ndokerfile = \"x\"\ncolour = 1\n[imgae.x]\n[artifact.a]\nimage = \"web\"\nrun = \"x\"\noutputs = [\"x\"]\ninputs = { t = { form = \"src\", from = \"src\" } }\n"),
        @r#"
        error[UnknownKey]: unknown key dokerfile in [image.web]
         --> tbuild.toml:2:1
          |
        2 | dokerfile = "x"
          | ^^^^^^^^^
          |
          = help: did you mean dockerfile?

        error[UnknownKey]: unknown key colour in [image.web]
         --> tbuild.toml:3:1
          |
        3 | colour = 1
          | ^^^^^^
          |
          = help: known are dockerfile, context, contexts, target, args, values, labels, platforms, network, lock, ports, repository, tags

        error[UnknownKey]: unknown key imgae in tbuild.toml
         --> tbuild.toml:4:2
          |
        4 | [imgae.x]
          |  ^^^^^
          |
          = help: did you mean image?

        error[UnknownKey]: unknown key form in inputs.t of [artifact.a]
         --> tbuild.toml:9:18
          |
        9 | inputs = { t = { form = "src", from = "src" } }
          |                  ^^^^
          |
          = help: did you mean from?
        "#
    );
}

#[test]
fn wrong_types_say_what_was_wanted() {
    insta::assert_snapshot!(
        plain("[image.web]\ntarget = 3\ntags = \"x\"\nargs = { V = 3.10, W = [1] }\nplatforms = [\"a/b/c/d\"]\nvalues = 1\n[release.r]\nchart = \"c\"\ntimeout = \"soon\"\n[chart]\nc = 1\n"),
        @r#"
        error[WrongType]: target of [image.web] takes a string, not an integer
         --> tbuild.toml:2:10
          |
        2 | target = 3
          |          ^

        error[WrongType]: tags of [image.web] takes an array of strings, not a string
         --> tbuild.toml:3:8
          |
        3 | tags = "x"
          |        ^^^

        error[WrongType]: V in args of [image.web] takes a string, not a float
         --> tbuild.toml:4:14
          |
        4 | args = { V = 3.10, W = [1] }
          |              ^^^^
          |
          = help: quote it: V = "3.10"

        error[WrongType]: W in args of [image.web] takes a string, not an array
         --> tbuild.toml:4:24
          |
        4 | args = { V = 3.10, W = [1] }
          |                        ^^^

        error[InvalidValue]: "a/b/c/d" is not a platform
         --> tbuild.toml:5:14
          |
        5 | platforms = ["a/b/c/d"]
          |              ^^^^^^^^^
          |
          = help: such as linux/amd64 or linux/arm64

        error[WrongType]: values of [image.web] takes a table, not an integer
         --> tbuild.toml:6:10
          |
        6 | values = 1
          |          ^

        error[InvalidValue]: timeout of [release.r] is not a length of time: "soon"
         --> tbuild.toml:9:11
          |
        9 | timeout = "soon"
          |           ^^^^^^
          |
          = help: such as 90s, 10m or 1h30m

        error[WrongType]: [chart.c] takes a table, not an integer
          --> tbuild.toml:11:5
           |
        11 | c = 1
           |     ^
        "#
    );
}

#[test]
fn missing_keys_are_told_at_their_table() {
    insta::assert_snapshot!(
        plain("[source.a]\n[source.b]\ngit = \"x\"\n[source.c]\npath = \"x\"\nrev = \"y\"\n[artifact.x]\n[tool.t]\nurl = \"x\"\nsha256 = { \"linux/amd64\" = \"12\" }\n[component.c]\nrelease = \"\"\n"),
        @r#"
        error[MissingKey]: [source.a] needs one of git, path and url
         --> tbuild.toml:1:9
          |
        1 | [source.a]
          |         ^

        error[MissingKey]: [source.b] has no rev
         --> tbuild.toml:2:9
          |
        2 | [source.b]
          |         ^

        error[UnknownKey]: rev of [source.c] goes with git
         --> tbuild.toml:6:7
          |
        6 | rev = "y"
          |       ^^^

        error[MissingKey]: [artifact.x] has no image
         --> tbuild.toml:7:11
          |
        7 | [artifact.x]
          |           ^

        error[MissingKey]: [artifact.x] has no run
         --> tbuild.toml:7:11
          |
        7 | [artifact.x]
          |           ^

        error[MissingKey]: [artifact.x] has no outputs
         --> tbuild.toml:7:11
          |
        7 | [artifact.x]
          |           ^

        error[InvalidValue]: "12" is not a SHA-256
          --> tbuild.toml:10:28
           |
        10 | sha256 = { "linux/amd64" = "12" }
           |                            ^^^^
           |
           = help: 64 digits of lower-case hexadecimal

        error[MissingKey]: [component.c] has no selector
          --> tbuild.toml:11:12
           |
        11 | [component.c]
           |            ^

        error[InvalidValue]: release of [component.c] is empty
          --> tbuild.toml:12:11
           |
        12 | release = ""
           |           ^^
        "#
    );
    insta::assert_snapshot!(whole("[image.x]\n", &Options::default()), @r#"
        error[MissingKey]: there is no [project]
         --> tbuild.toml:1:1
          |
        1 | [image.x]
          | ^
          |
          = help: write [project] and name = "…"
        "#);
}

#[test]
fn syntax_errors_have_a_place() {
    insta::assert_snapshot!(whole("[project]\nname = \"p\nx = 1\n[project]\n", &Options::default()), @r#"
        error[Syntax]: invalid basic string, expected `"`
         --> tbuild.toml:2:10
          |
        2 | name = "p
          |          ^

        error[Syntax]: duplicate key
         --> tbuild.toml:4:2
          |
        4 | [project]
          |  ^^^^^^^
        "#);
}

#[test]
fn values_are_checked() {
    insta::assert_snapshot!(
        plain("[artifact.a]\nimage = \"i\"\nrun = []\noutputs = [\"../x\", \"/y\"]\nnetwork = \"hots\"\n[image.i]\ncontext = \"sorce:x\"\ncontexts = { x = { from = \"y\", exclude = [\"a[\"] } }\n[base.x]\ndistribution = \"debain\"\nsuite = \"s\"\n[origin.o]\nkind = \"ftp\"\n"),
        @r#"
        error[InvalidValue]: run of [artifact.a] is empty
         --> tbuild.toml:3:7
          |
        3 | run = []
          |       ^^

        error[InvalidValue]: outputs of [artifact.a] takes relative paths without .., not "../x"
         --> tbuild.toml:4:12
          |
        4 | outputs = ["../x", "/y"]
          |            ^^^^^^

        error[InvalidValue]: outputs of [artifact.a] takes relative paths without .., not "/y"
         --> tbuild.toml:4:20
          |
        4 | outputs = ["../x", "/y"]
          |                    ^^^^

        error[InvalidValue]: network of [artifact.a] is none or host or record, not "hots"
         --> tbuild.toml:5:11
          |
        5 | network = "hots"
          |           ^^^^^^
          |
          = help: did you mean host?

        error[InvalidReference]: "sorce:x" is no tree of files
         --> tbuild.toml:7:11
          |
        7 | context = "sorce:x"
          |           ^^^^^^^^^
          |
          = help: did you mean source:x?

        error[InvalidPattern]: bad pattern "a[": [ without ]
         --> tbuild.toml:8:43
          |
        8 | contexts = { x = { from = "y", exclude = ["a["] } }
          |                                           ^^^^

        error[InvalidValue]: kind of [origin.o] is apt or pypi or npm or go or crates or maven or http, not "ftp"
          --> tbuild.toml:13:8
           |
        13 | kind = "ftp"
           |        ^^^^^
        "#
    );
}

#[test]
fn pushes_into_pods_say_what_is_wrong() {
    insta::assert_snapshot!(
        plain("[release.r]\nchart = \"c\"\n[chart.c]\n[component.c]\nrelease = \"r\"\nselector = \"a\"\n[component.c.dev]\nsource = \"tator\"\n[component.c.dev.code]\nfrom = \"image:nope\"\npaths = { \"/set\" = \"static\" }\npods = \"some\"\n[component.c.dev.rest]\nfrom = \"src\"\nrelaod = \"x\"\n"),
        @r#"
        error[WrongType]: dev.source of [component.c] takes a table, not a string
         --> tbuild.toml:8:1
          |
        8 | source = "tator"
          | ^^^^^^
          |
          = help: each push has a name: [component.X.dev.NAME] with from, paths and reload

        error[InvalidValue]: paths of dev.code of [component.c] takes relative paths without .., not "/set"
          --> tbuild.toml:11:20
           |
        11 | paths = { "/set" = "static" }
           |                    ^^^^^^^^

        error[InvalidValue]: dev.code of [component.c] takes absolute paths without .., not "static"
          --> tbuild.toml:11:20
           |
        11 | paths = { "/set" = "static" }
           |                    ^^^^^^^^

        error[InvalidValue]: pods of dev.code of [component.c] are not "some"
          --> tbuild.toml:12:8
           |
        12 | pods = "some"
           |        ^^^^^^
           |
           = help: all: every pod has files of its own; one: they go to a volume that all have

        error[MissingKey]: dev.rest of [component.c] has no paths
          --> tbuild.toml:13:18
           |
        13 | [component.c.dev.rest]
           |                  ^^^^

        error[UnknownKey]: unknown key relaod in dev.rest of [component.c]
          --> tbuild.toml:15:1
           |
        15 | relaod = "x"
           | ^^^^^^
           |
           = help: did you mean reload?
        "#
    );
    insta::assert_snapshot!(
        plain("[release.r]\nchart = \"c\"\n[chart.c]\n[component.c]\nrelease = \"r\"\nselector = \"a\"\n[component.c.dev.code]\nfrom = \"image:nope\"\npaths = { set = \"/set\" }\nundoes = [\"collect\"]\n"),
        @r#"
        error[UnknownReference]: there is no [image.nope]
         --> tbuild.toml:8:8
          |
        8 | from = "image:nope"
          |        ^^^^^^^^^^^^

        error[UnknownReference]: there is no [task.collect]
          --> tbuild.toml:10:11
           |
        10 | undoes = ["collect"]
           |           ^^^^^^^^^
        "#
    );
}

#[test]
fn undeclared_and_unset_variables_are_errors() {
    let text = "[project]\nname = \"p\"\nenv = [\"DOMAIN\", \"UNSET\"]\nregistry = \"a/${env:DOMIAN}/${env:UNSET}/${env:HOME}/${env:DOMAIN}\"\n[image.x]\ntarget = \"${env:X\"\n";
    let env = BTreeMap::from([
        ("DOMAIN".to_owned(), "d".to_owned()),
        ("HOME".to_owned(), "h".to_owned()),
    ]);
    insta::assert_snapshot!(whole(text, &Options { env, ..Options::default() }), @r#"
        error[UndeclaredVariable]: environment variable DOMIAN is not declared
         --> tbuild.toml:4:15
          |
        4 | registry = "a/${env:DOMIAN}/${env:UNSET}/${env:HOME}/${env:DOMAIN}"
          |               ^^^^^^^^^^^^^
          |
          = help: did you mean DOMAIN?

        error[UndefinedVariable]: environment variable UNSET is not set
         --> tbuild.toml:4:29
          |
        4 | registry = "a/${env:DOMIAN}/${env:UNSET}/${env:HOME}/${env:DOMAIN}"
          |                             ^^^^^^^^^^^^

        error[UndeclaredVariable]: environment variable HOME is not declared
         --> tbuild.toml:4:42
          |
        4 | registry = "a/${env:DOMIAN}/${env:UNSET}/${env:HOME}/${env:DOMAIN}"
          |                                          ^^^^^^^^^^^
          |
          = help: name it in env of [project]: env = ["HOME"]

        error[InvalidVariable]: ${env: without }
         --> tbuild.toml:6:10
          |
        6 | target = "${env:X"
          |          ^^^^^^^^^
        "#);
}

#[test]
fn diagnostics_of_dockerfiles_are_shown_alike() {
    let text = "FROM scratch\nRUN --device=gpu \\\n  make\nCOPY --from=$X a /\n";
    let parsed = tbuild_dockerfile::parse(text).expect("parses");
    let errors = lower(&parsed, &LowerOptions::default()).expect_err("is refused");
    let shown: Vec<String> = errors
        .iter()
        .map(|error| render(error, text, "web/Dockerfile", false))
        .collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
        error[Unsupported]: RUN --device is not supported yet
         --> web/Dockerfile:2:5
          |
        2 | RUN --device=gpu \
          |     ^^^^^^^^^^^^

        error[VariableInFrom]: --from takes no variables
         --> web/Dockerfile:4:6
          |
        4 | COPY --from=$X a /
          |      ^^^^^^^^^
          |
          = help: name a stage for it: FROM $IMAGE AS name, with an ARG before the first FROM
        "#);
    assert!(render(&errors[0], text, "web/Dockerfile", true).contains("\u{1b}["));
    let none = tbuild_dockerfile::parse("# nothing\n").expect_err("no stage");
    insta::assert_snapshot!(render(&none[0], "# nothing\n", "Dockerfile", false), @r#"
        error[NoStage]: no FROM: there is no stage to build
         --> Dockerfile:1:11
          |
        1 | # nothing
          |          ^
        "#);
    insta::assert_snapshot!(render(&none[0], "", "Dockerfile", false), @r#"
        error[NoStage]: no FROM: there is no stage to build
         --> Dockerfile:1:1
          |
        1 |
          | ^
        "#);
}
