use std::collections::{BTreeMap, BTreeSet};

use crate::{BaseRef, CopySource, Diagnostic, LowerOptions, Plan, Platform, lower, parse};

fn options(target: Option<&str>, args: &[(&str, &str)]) -> LowerOptions {
    LowerOptions {
        target: target.map(str::to_owned),
        build_args: args
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        target_platform: Platform::parse("linux/arm/v7").expect("platform"),
        ..LowerOptions::default()
    }
}

fn plan(text: &str, options: &LowerOptions) -> Result<Plan, Vec<Diagnostic>> {
    lower(&parse(text).expect("parses"), options)
}

fn messages(text: &str, options: &LowerOptions) -> Vec<String> {
    let errors = plan(text, options).expect_err("is refused");
    errors
        .iter()
        .map(|error| {
            format!(
                "{:?}|{}: {}",
                error.span.of(text),
                error.code,
                error.message
            )
        })
        .collect()
}

#[test]
fn only_what_the_target_needs_is_planned() {
    let text = "FROM x AS a\nFROM y AS b\nRUN --mount=type=cache,target=/c z\nFROM a AS c\nCOPY --from=0 /f /\n\
                COPY --from=other /f /\nCOPY --from=other /g /\nCOPY h /\nFROM scratch\nCOPY --from=C / /\n";
    let plan = plan(text, &options(None, &[])).expect("plan");
    let stages: Vec<_> = plan
        .stages
        .iter()
        .map(|stage| (stage.index, stage.base.clone()))
        .collect();
    assert_eq!(
        stages,
        [
            (
                0,
                BaseRef::Named("x".to_owned(), plan.stages[0].names[0].span)
            ),
            (2, BaseRef::Stage(0)),
            (3, BaseRef::Scratch)
        ]
    );
    let c = plan.stage(2).expect("stage c");
    let from: Vec<_> = c.steps.iter().map(|step| step.copy_from.clone()).collect();
    let other = CopySource::Named("other".to_owned());
    assert_eq!(
        from,
        [
            CopySource::Stage(0),
            other.clone(),
            other,
            CopySource::Context
        ]
    );
    assert_eq!(
        c.names
            .iter()
            .map(|name| (name.name.as_str(), name.base))
            .collect::<Vec<_>>(),
        [("other", false)]
    );
    assert_eq!(
        plan.target().expect("target").depends_on,
        BTreeSet::from([2])
    );
}

#[test]
fn targets_go_by_name() {
    let text = "FROM x AS first\nFROM y AS second\n";
    for (target, expected) in [("first", 0), ("FIRST", 0), ("second", 1)] {
        let plan = plan(text, &options(Some(target), &[])).expect("plan");
        assert_eq!(plan.target().expect("target").index, expected, "{target}");
    }
    let errors = plan(text, &options(Some("0"), &[])).expect_err("a number");
    assert_eq!(errors[0].message, "no stage is named 0");
    let errors = plan(text, &options(Some("frist"), &[])).expect_err("unknown");
    assert_eq!(errors[0].message, "no stage is named frist");
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean first?"));
}

#[test]
fn from_sees_global_args_and_platforms() {
    let text = "ARG V=1\nARG I=img:$V\nFROM --platform=$BUILDPLATFORM $I AS a\nFROM x-$TARGETARCH-${TARGETVARIANT}\nCOPY --from=a / /\n";
    let plan = plan(text, &options(None, &[("V", "2")])).expect("plan");
    assert!(matches!(&plan.stages[0].base, BaseRef::Named(name, _) if name == "img:2"));
    assert_eq!(plan.stages[0].platform.as_deref(), Some("linux/amd64"));
    assert!(matches!(&plan.stages[1].base, BaseRef::Named(name, _) if name == "x-arm-v7"));
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    assert_eq!(
        messages("FROM $X\n", &options(None, &[])),
        [r#""$X"|EmptyBaseName: base name $X is empty"#]
    );
    let warned = lower(
        &parse("ARG VERSION=1\nFROM x$VERISON\n").expect("parses"),
        &options(None, &[]),
    )
    .expect("plan");
    assert_eq!(warned.warnings[0].code, "UndefinedArgInFrom");
    assert_eq!(
        warned.warnings[0].hint.as_deref(),
        Some("did you mean $VERSION?")
    );
}

#[test]
fn a_named_context_takes_a_stages_place() {
    let mut options = options(None, &[]);
    options.contexts.insert("a".to_owned());
    let plan = plan("FROM x AS a\nRUN y\nFROM a\n", &options).expect("plan");
    assert!(matches!(&plan.stages[0].base, BaseRef::Named(name, _) if name == "a"));
    assert!(plan.stages[0].steps.is_empty());
}

#[test]
fn what_is_not_supported_is_named() {
    let text = "FROM a AS a\nRUN --device=gpu --security=insecure y\nCOPY --link --parents --exclude=x --exclude=y a /\n\
                ADD https://example.com/x /\nCOPY https://example.com/x /\nRUN --network=default --security=sandbox x\nCOPY --link=false a /\n";
    assert_eq!(
        messages(text, &options(None, &[])),
        [
            r#""--device=gpu"|Unsupported: RUN --device is not supported yet"#,
            r#""--security=insecure"|NotAllowed: --security=insecure is not allowed"#,
            r#""https://example.com/x"|RemoteCopy: COPY takes files, not the remote https://example.com/x"#,
        ]
    );
}

#[test]
fn copies_come_from_earlier_stages_only() {
    let text = "FROM x AS a\nCOPY --from=b / /\nCOPY --from=a / /\nCOPY --from=1 / /\nCOPY --from=7 / /\nCOPY --from=$X / /\nFROM y AS b\nCOPY --from=a / /\n";
    assert_eq!(
        messages(text, &options(None, &[])),
        [
            r#""--from=b"|StageOrder: cannot copy from stage b: it is not before this stage"#,
            r#""--from=a"|StageOrder: cannot copy from stage a: it is not before this stage"#,
            r#""--from=1"|StageOrder: cannot copy from stage number 1: it is not before this stage"#,
            r#""--from=7"|UnknownStage: there is no stage number 7"#,
            r#""--from=$X"|VariableInFrom: --from takes no variables"#,
        ]
    );
}

#[test]
fn lints_have_the_names_of_docker_build_check() {
    let text = "FROM --platform=$TARGETPLATFORM a AS context\nFROM --platform=linux/amd64 b AS x\nfrom c AS X\nCMD [\"a\"]\nCMD [\"b\"]\n\
                ENV DB_PASSWORD=x PUBLIC_KEY=y\nARG TOKEN\n";
    let codes = |text: &str| {
        let plan = plan(text, &options(None, &[])).expect("plan");
        plan.warnings
            .iter()
            .map(|warning| (warning.code, warning.span.of(text).to_owned()))
            .collect::<Vec<_>>()
    };
    let found = codes(text);
    let found: Vec<_> = found
        .iter()
        .map(|(code, text)| (*code, text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("RedundantTargetPlatform", "--platform=$TARGETPLATFORM"),
            ("ReservedStageName", "context"),
            ("FromPlatformFlagConstDisallowed", "--platform=linux/amd64"),
            ("ConsistentInstructionCasing", "from"),
            ("FromAsCasing", "AS"),
            ("StageNameCasing", "X"),
            ("DuplicateStageName", "X"),
        ]
    );
    assert!(codes(&format!("# check=skip=all\n{text}")).is_empty());
}

#[test]
fn args_keep_their_global_values() {
    let plan = plan(
        "ARG A=1\nARG B\nARG C=$A-$B\nFROM x\n",
        &options(None, &[("B", "2")]),
    )
    .expect("plan");
    let expected = BTreeMap::from([
        ("A", "1"),
        ("B", "2"),
        ("C", "1-2"),
        ("TARGETSTAGE", "default"),
    ]);
    for (name, value) in expected {
        assert_eq!(
            plan.globals.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
}

#[test]
fn a_misspelt_arg_is_proposed_where_the_base_is_no_name() {
    let dockerfile = parse("ARG VERSION=1\nFROM x:$VERISON\n").expect("parses");
    let errors = lower(&dockerfile, &options(None, &[])).expect_err("no name");
    assert_eq!(errors[0].code, "InvalidBaseName");
    assert_eq!(
        errors[0].hint.as_deref(),
        Some(
            "FROM uses $VERISON, which no ARG before the first FROM declares (did you mean $VERSION?)"
        )
    );
}
