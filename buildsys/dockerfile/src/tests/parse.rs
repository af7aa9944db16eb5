use crate::ast::{CommandForm, Healthcheck, Kind};
use crate::{Diagnostic, parse};

fn kinds(text: &str) -> Vec<Kind> {
    let text = format!("FROM scratch\n{text}");
    let parsed = parse(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    parsed
        .instructions
        .into_iter()
        .skip(1)
        .map(|instruction| instruction.kind)
        .collect()
}

fn errors(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(parsed) => panic!("{text} parsed: {parsed:?}"),
        Err(errors) => errors.iter().map(|error| show(text, error)).collect(),
    }
}

fn warnings(text: &str) -> Vec<String> {
    parse(text)
        .expect("parses")
        .warnings
        .iter()
        .map(|warning| show(text, warning))
        .collect()
}

/// `text|code: message (hint)`.
fn show(text: &str, diagnostic: &Diagnostic) -> String {
    let hint = diagnostic
        .hint
        .as_ref()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    format!(
        "{:?}|{}: {}{hint}",
        diagnostic.span.of(text),
        diagnostic.code,
        diagnostic.message
    )
}

fn shell(kind: &Kind) -> &str {
    match kind {
        Kind::Run(run) => match &run.command.form {
            CommandForm::Shell(line) => line,
            CommandForm::Exec(argv) => panic!("exec form: {argv:?}"),
        },
        other => panic!("not RUN: {other:?}"),
    }
}

#[test]
fn lines_continue_over_comments_and_blank_lines() {
    let kinds = kinds("RUN a \\\n# comment\n   # another\n\n b\\  \nc \\\\\nRUN d \\\n");
    assert_eq!(
        kinds.iter().map(shell).collect::<Vec<_>>(),
        ["a  bc \\\\", "d"]
    );
    let text = "FROM a\nRUN x \\\n\n  y\n";
    assert_eq!(
        warnings(text),
        [
            r#"""|NoEmptyContinuation: empty line within a continued instruction (make it a comment or take it out)"#
        ]
    );
}

#[test]
fn spans_point_into_the_file_across_continuations() {
    let text =
        "FROM scratch AS x\nENV a=1 \\\n  b=\"2 \\\n3\" \\\n  ü=4\nCOPY --from=x a \\\r\n b /c\r\n";
    let parsed = parse(text).expect("parses");
    let Kind::Env(pairs) = &parsed.instructions[1].kind else {
        panic!()
    };
    let spans: Vec<_> = pairs
        .iter()
        .map(|pair| (pair.key.span.of(text), pair.value.span.of(text)))
        .collect();
    assert_eq!(spans, [("a", "1"), ("b", "\"2 \\\n3\""), ("ü", "4")]);
    assert_eq!(pairs[1].value.text, "\"2 3\"");
    let copy = &parsed.instructions[2];
    assert_eq!((copy.line, copy.text.as_str()), (6, "COPY --from=x a b /c"));
    assert_eq!(copy.span.of(text), "COPY --from=x a \\\r\n b /c");
    let Kind::Copy(copy) = &copy.kind else {
        panic!()
    };
    let words = [
        copy.from.as_ref().expect("from"),
        &copy.sources[0],
        &copy.sources[1],
        &copy.dest,
    ];
    assert_eq!(
        words.map(|word| word.span.of(text)),
        ["--from=x", "a", "b", "/c"]
    );
}

#[test]
fn directives_come_first_and_set_the_escape() {
    let parsed = parse("# escape=`\n# syntax = docker/dockerfile:1\nFROM a\nRUN b `\n c\\\n")
        .expect("parses");
    assert_eq!(parsed.escape, '`');
    assert_eq!(parsed.directives.len(), 2);
    assert_eq!(parsed.instructions[1].text, "RUN b c\\");
    // After anything else they are comments.
    assert_eq!(
        parse("# x\n# escape=`\nFROM a\n").expect("parses").escape,
        '\\'
    );
    assert_eq!(
        parse("\n# escape=`\nFROM a\n").expect("parses").escape,
        '\\'
    );
    assert_eq!(
        parse("\u{feff}# ESCAPE=`\nFROM a\n")
            .expect("parses")
            .escape,
        '`'
    );
    assert_eq!(
        errors("# escape=x\n# escape=`\nFROM a\n"),
        [
            r#""x"|InvalidDirective: escape character "x" is neither \ nor `"#,
            r#""`"|InvalidDirective: directive escape is given twice"#,
        ]
    );
    for accepted in [
        "docker/dockerfile",
        "docker.io/docker/dockerfile:1.7-labs",
        "docker/dockerfile@sha256:00",
    ] {
        assert!(
            parse(&format!("# syntax={accepted}\nFROM a\n")).is_ok(),
            "{accepted}"
        );
    }
    assert_eq!(
        errors("#syntax=example.com/other:1\nFROM a\n"),
        [
            "\"example.com/other:1\"|UnsupportedSyntax: front end example.com/other:1 is not supported \
             (only docker/dockerfile is; this program is its own front end for it)"
        ]
    );
}

#[test]
fn heredocs_belong_to_run_copy_and_add() {
    let kinds = kinds(
        "RUN <<EOF cat >/a && <<-'two' cat\nRUN x\n$y\nEOF\n\tz\n\ttwo\nCOPY <<a <<\"b c\" d /e/\n1\na\n2\nb c\nRUN [\"<<EOF\"]\nRUN echo $((1<<2)) <<<x\n",
    );
    let Kind::Run(run) = &kinds[0] else { panic!() };
    let found: Vec<_> = run
        .heredocs
        .iter()
        .map(|h| {
            (
                h.name.as_str(),
                h.expand,
                h.chomp,
                h.content.as_str(),
                h.text(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("EOF", true, false, "RUN x\n$y\n", "RUN x\n$y\n".to_owned()),
            ("two", false, true, "\tz\n", "z\n".to_owned())
        ]
    );
    // The words of COPY fall apart at white space, quotes or not: only <<a is a here-document there.
    let Kind::Copy(copy) = &kinds[1] else {
        panic!()
    };
    assert_eq!(
        copy.heredocs
            .iter()
            .map(|h| (h.name.as_str(), h.content.as_str()))
            .collect::<Vec<_>>(),
        [("a", "1\n")]
    );
    assert_eq!(
        copy.sources
            .iter()
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>(),
        ["<<\"b", "c\"", "d"]
    );
    let Kind::Run(run) = &kinds[2] else { panic!() };
    assert_eq!(
        run.command.form,
        CommandForm::Exec(vec!["<<EOF".to_owned()])
    );
    let Kind::Run(run) = &kinds[3] else { panic!() };
    assert!(run.heredocs.is_empty());
    assert_eq!(
        errors("FROM a\nRUN <<EOF\nx\n"),
        [
            r#""RUN <<EOF"|InvalidHeredoc: here-document EOF does not end (a line of its own that says EOF ends it)"#
        ]
    );
}

#[test]
fn json_falls_back_to_the_shell_form() {
    let kinds = kinds(
        "CMD [\"a\", \"b c\"]\nCMD ['a']\nCMD [ -f x ]\nENTRYPOINT []\nVOLUME [\"/a\", \"/b\"]\nCOPY [\"a b\", \"/c d\"]",
    );
    let form = |kind: &Kind| match kind {
        Kind::Cmd(command) | Kind::Entrypoint(command) => command.form.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        form(&kinds[0]),
        CommandForm::Exec(vec!["a".to_owned(), "b c".to_owned()])
    );
    assert_eq!(form(&kinds[1]), CommandForm::Shell("['a']".to_owned()));
    assert_eq!(form(&kinds[2]), CommandForm::Shell("[ -f x ]".to_owned()));
    assert_eq!(form(&kinds[3]), CommandForm::Exec(Vec::new()));
    assert!(matches!(&kinds[4], Kind::Volume(words) if words.len() == 2 && words[1].text == "/b"));
    assert!(
        matches!(&kinds[5], Kind::Copy(copy) if copy.sources[0].text == "a b" && copy.dest.text == "/c d")
    );
    assert_eq!(
        errors("FROM a\nRUN [1, \"x\"]\n"),
        [r#""[1, \"x\"]"|InvalidInstruction: the JSON array of RUN may hold strings only"#]
    );
}

#[test]
fn pairs_have_an_old_and_a_new_form() {
    let kinds = kinds("ENV a=1 b='x y' c=\\ d=\nENV old  a b=c\nLABEL \"k k\"=v\nARG a b= c=1\\ 2");
    let pairs = |kind: &Kind| match kind {
        Kind::Env(pairs) | Kind::Label(pairs) => pairs
            .iter()
            .map(|pair| (pair.key.text.clone(), pair.value.text.clone()))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        pairs(&kinds[0]),
        owned(&[("a", "1"), ("b", "'x y'"), ("c", "\\ d=")])
    );
    assert_eq!(pairs(&kinds[1]), owned(&[("old", "a b=c")]));
    assert_eq!(pairs(&kinds[2]), owned(&[("\"k k\"", "v")]));
    let Kind::Arg(args) = &kinds[3] else { panic!() };
    let args: Vec<_> = args
        .iter()
        .map(|arg| {
            (
                arg.name.text.as_str(),
                arg.default.as_ref().map(|word| word.text.as_str()),
            )
        })
        .collect();
    assert_eq!(args, [("a", None), ("b", Some("")), ("c", Some("1\\ 2"))]);
}

#[test]
fn healthchecks_have_times() {
    let kinds = kinds(
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD curl x\nHEALTHCHECK none",
    );
    let Kind::Healthcheck(Healthcheck::Cmd {
        interval,
        timeout,
        retries,
        start_period,
        ..
    }) = &kinds[0]
    else {
        panic!()
    };
    assert_eq!(
        (*interval, *timeout, *start_period, *retries),
        (90_000_000_000, 1_500_000_000, 0, 3)
    );
    assert_eq!(kinds[1], Kind::Healthcheck(Healthcheck::None));
    assert_eq!(
        errors(
            "FROM a\nHEALTHCHECK --interval=5 CMD x\nHEALTHCHECK --timeout=1us CMD x\nHEALTHCHECK RUN x\n"
        ),
        [
            r#""--interval=5"|InvalidFlag: --interval takes a duration, not "5" (such as 30s, 1m30s or 500ms)"#,
            r#""--timeout=1us"|InvalidFlag: --timeout is shorter than a millisecond"#,
            r#""RUN"|InvalidInstruction: HEALTHCHECK takes CMD or NONE, not RUN"#,
        ]
    );
}

#[test]
fn errors_come_all_at_once_with_suggestions() {
    let text = "FROM a\nCPOY a b\nCOPY --form=x a b\nCOPY a\nENV x\nENV a=1 b\nARG =x\nFROM a b\nFROM a AS 1x\nSHELL sh -c\nWORKDIR\nUSER \nONBUILD FROM x\nCOPY --link=maybe a b\nCOPY --chown a b\n";
    assert_eq!(
        errors(text),
        [
            r#""CPOY"|UnknownInstruction: unknown instruction CPOY (did you mean COPY?)"#,
            r#""--form=x"|UnknownFlag: COPY has no flag --form (did you mean --from?)"#,
            r#""COPY a"|InvalidInstruction: COPY needs a source and a destination"#,
            r#""ENV x"|InvalidInstruction: ENV x has no value (write ENV x=VALUE)"#,
            r#""b"|InvalidInstruction: no = in "b" (each must be name=value; quote values that hold white space)"#,
            r#""=x"|InvalidInstruction: ARG without a name"#,
            r#""FROM a b"|InvalidInstruction: FROM takes an image, or an image, AS and a name (write FROM IMAGE or FROM IMAGE AS NAME)"#,
            r#""1x"|InvalidStageName: stage name "1x" is not valid (a letter first, then letters, digits, - _ .)"#,
            r#""SHELL sh -c"|InvalidInstruction: SHELL takes a JSON array of strings (write SHELL ["/bin/sh", "-c"])"#,
            r#""WORKDIR"|InvalidInstruction: WORKDIR needs an argument"#,
            r#""USER"|InvalidInstruction: USER needs an argument"#,
            r#""FROM x"|InvalidInstruction: ONBUILD FROM is not allowed"#,
            r#""--link=maybe"|InvalidFlag: --link takes true or false, not "maybe""#,
            r#""--chown"|InvalidFlag: --chown needs a value (write --chown=VALUE)"#,
        ]
    );
}

#[test]
fn only_arg_comes_before_from() {
    assert!(parse("ARG x=1\nFROM $x\n").is_ok());
    assert_eq!(
        errors("ARG x\nRUN x\nFROM a\n"),
        [
            r#""RUN x"|NoStage: RUN stands before the first FROM (only ARG may stand before the first FROM)"#
        ]
    );
    assert_eq!(
        errors("# nothing\n"),
        [r#"""|NoStage: no FROM: there is no stage to build"#]
    );
    // One mistake, one error.
    assert_eq!(
        errors("FORM a\nRUN x\n"),
        [r#""FORM"|UnknownInstruction: unknown instruction FORM (did you mean FROM?)"#]
    );
}

#[test]
fn odd_things_are_warned_of() {
    let text = "FROM a as B\nMAINTAINER me\nENV k v\n";
    assert_eq!(
        warnings(text),
        [
            r#""as"|FromAsCasing: the casing of as does not match that of FROM"#,
            r#""B"|StageNameCasing: stage name B is not lower case"#,
            r#""MAINTAINER me"|MaintainerDeprecated: MAINTAINER is deprecated (write LABEL org.opencontainers.image.authors=… instead)"#,
        ]
    );
}

#[test]
fn a_heredoc_that_only_copy_sees_is_an_error() {
    // The line as a whole has a quote without its other half, so it announces nothing; the word alone does.
    assert_eq!(
        errors("FROM a\nCOPY <<'E' w' /d\n"),
        [r#""<<'E'"|InvalidHeredoc: here-document E has no content"#]
    );
}
