use std::collections::BTreeMap;

use crate::{
    BaseConfig, Concrete, ConcreteCopy, ConcreteRun, CopySource, Diagnostic, LowerOptions, Plan,
    Scope, Source, lower, parse,
};

fn plan(text: &str, args: &[(&str, &str)]) -> Plan {
    let build_args = args
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let options = LowerOptions {
        build_args,
        ..LowerOptions::default()
    };
    lower(&parse(text).expect("parses"), &options).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn base() -> BaseConfig {
    BaseConfig {
        env: vec![("BASE".to_owned(), "b".to_owned())],
        ..BaseConfig::default()
    }
}

/// All steps of the target, its stages one on the other.
fn resolve(
    text: &str,
    args: &[(&str, &str)],
) -> (Vec<Result<Concrete, Diagnostic>>, Vec<Diagnostic>) {
    let plan = plan(text, args);
    let mut scope = Scope::new(&plan, &base());
    let mut steps = Vec::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        if index > 0 {
            scope = scope.child();
        }
        steps = stage
            .steps
            .iter()
            .map(|step| step.resolve(&mut scope))
            .collect();
    }
    (steps, scope.take_warnings())
}

fn good(text: &str, args: &[(&str, &str)]) -> Vec<Concrete> {
    let (steps, warnings) = resolve(text, args);
    assert!(warnings.is_empty(), "{warnings:?}");
    steps
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("resolves")
}

fn run(concrete: &Concrete) -> &ConcreteRun {
    match concrete {
        Concrete::Run(run) => run,
        other => panic!("not RUN: {other:?}"),
    }
}

fn copy(concrete: &Concrete) -> &ConcreteCopy {
    match concrete {
        Concrete::Copy(copy) => copy,
        other => panic!("not COPY: {other:?}"),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn run_sees_env_and_the_args_declared_so_far() {
    let text = "ARG G=g\nARG H=h\nFROM x\nRUN 1\nARG G\nARG H=own\nARG N\nARG TARGETARCH\nARG D=$BASE-$G\nENV E=$D BASE=new\nRUN 2\nENV G=env\nRUN 3\n";
    let steps = good(text, &[("UNDECLARED", "u"), ("HTTPS_PROXY", "p")]);
    let first = run(&steps[0]);
    assert_eq!(first.args, map(&[]));
    assert_eq!(
        first.env,
        map(&[("BASE", "b"), ("PATH", crate::DEFAULT_PATH)])
    );
    assert_eq!(
        first.proxy,
        map(&[("HTTPS_PROXY", "p"), ("https_proxy", "p")])
    );
    assert_eq!(first.argv, ["/bin/sh", "-c", "1"]);
    let second = run(&steps[7]);
    assert_eq!(
        second.args,
        map(&[
            ("G", "g"),
            ("H", "own"),
            ("TARGETARCH", "amd64"),
            ("D", "b-g")
        ])
    );
    assert_eq!(second.env.get("E").map(String::as_str), Some("b-g"));
    assert_eq!(second.env.get("BASE").map(String::as_str), Some("new"));
    let third = run(&steps[9]);
    assert!(!third.args.contains_key("G"));
    assert_eq!(third.env.get("G").map(String::as_str), Some("env"));
}

#[test]
fn env_pairs_see_what_was_before_the_instruction() {
    let steps = good(
        "FROM x\nENV a=1\nENV a=2 b=$a\nENV c=\"$b $a\" d='$a' e=$a\\ x\n",
        &[],
    );
    let pairs = |step: &Concrete| match step {
        Concrete::Env(pairs) => pairs.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(pairs(&steps[1])[1].1, "1");
    let last: Vec<String> = pairs(&steps[2])
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(last, ["1 2", "$a", "2 x"]);
}

#[test]
fn heredocs_of_run_become_scripts() {
    let text = "FROM x\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN <<EOF\necho $x\nEOF\nRUN <<-P\n\t#!/bin/true\n\tx\nP\nRUN <<P\n#!/usr/bin/python3\nprint()\nP\nRUN cat <<A - <<B\n1\nA\n2\nB\n";
    let steps = good(text, &[]);
    assert_eq!(run(&steps[1]).argv, ["/bin/bash", "-ec", "echo $x\n"]);
    assert_eq!(run(&steps[2]).argv[2], "#!/bin/true\nx\n");
    let python = run(&steps[3]);
    assert_eq!(python.argv[2], "/dev/pipes/P");
    let script = python.script.as_ref().expect("a script");
    assert_eq!(
        (script.name.as_str(), script.bytes.as_slice()),
        ("/dev/pipes/P", &b"#!/usr/bin/python3\nprint()\n"[..])
    );
    assert_eq!(run(&steps[4]).argv[2], "cat <<A - <<B\n1\nA\n2\nB");
}

#[test]
fn copies_are_absolute() {
    let text = "FROM x\nWORKDIR /w/./x/../y/\nARG D=dir\nCOPY --chown=$D:g --chmod=0755 ./a/../b c/*.txt $D/\nCOPY a .\nCOPY a b\nCOPY a /x/.\nCOPY . ../..\nADD a.tar /\nADD --unpack=false a.tar /\nCOPY <<e <<'f' /t/\n$D \"q\" \\$D\ne\n$D\nf\n";
    let steps = good(text, &[]);
    assert_eq!(steps[0], Concrete::Workdir("/w/./x/../y/".to_owned()));
    let first = copy(&steps[2]);
    let path = |source: &Source| match source {
        Source::Path(path) => (path.path.clone(), path.below.clone()),
        Source::Remote(remote) => panic!("not a path: {remote:?}"),
    };
    let paths: Vec<_> = first.sources.iter().map(path).collect();
    assert_eq!(
        paths,
        [("/b".to_owned(), None), ("/c/*.txt".to_owned(), None)]
    );
    assert_eq!(first.dest, "/w/y/dir/");
    assert_eq!(
        (
            first.chown.as_deref(),
            first.chmod.as_ref().map(|chmod| chmod.text.as_str())
        ),
        (Some("dir:g"), Some("0755"))
    );
    assert_eq!(first.from, CopySource::Context);
    let dests: Vec<&str> = steps[3..7]
        .iter()
        .map(|step| copy(step).dest.as_str())
        .collect();
    assert_eq!(dests, ["/w/y/", "/w/y/b", "/x/", "/"]);
    let unpack = [first, copy(&steps[7]), copy(&steps[8])].map(|copy| copy.unpack.paths);
    assert_eq!(unpack, [false, true, false]);
    let documents: Vec<_> = copy(&steps[9])
        .heredocs
        .iter()
        .map(|file| (file.name.as_str(), String::from_utf8_lossy(&file.bytes)))
        .collect();
    assert_eq!(
        documents,
        [("e", "dir \"q\" $D\n".into()), ("f", "$D\n".into())]
    );
}

#[test]
fn stages_inherit_args_and_shell_of_their_base_stage() {
    let text = "FROM x AS a\nARG V=1\nSHELL [\"/bin/bash\", \"-c\"]\nWORKDIR /w\nCMD x\nFROM a\nRUN y\nWORKDIR z\nENTRYPOINT e\n";
    let steps = good(text, &[]);
    assert_eq!(run(&steps[0]).args, map(&[("V", "1")]));
    assert_eq!(steps[1], Concrete::Workdir("/w/z".to_owned()));
    let argv = ["/bin/bash", "-c", "e"].map(str::to_owned).to_vec();
    assert_eq!(
        steps[2],
        Concrete::Entrypoint {
            argv,
            keeps_cmd: false
        }
    );
}

#[test]
fn configuration_is_concrete() {
    let text = "FROM x\nARG P=80\nEXPOSE $P 81/UDP 90-92 127.0.0.1:1:2\nVOLUME /a$P\nLABEL a.$P=\"x $P\"\nUSER u$P\nSTOPSIGNAL SIGQUIT\nCMD [\"$P\"]\nENTRYPOINT [\"e\"]\nHEALTHCHECK CMD x $P\nMAINTAINER $P\n";
    let (steps, warnings) = resolve(text, &[]);
    let steps: Vec<Concrete> = steps
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("resolves");
    let strings = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        steps[1],
        Concrete::Expose(strings(&[
            "80/tcp", "81/udp", "90/tcp", "91/tcp", "92/tcp", "2/tcp"
        ]))
    );
    assert_eq!(steps[2], Concrete::Volume(strings(&["/a80"])));
    assert_eq!(
        steps[3],
        Concrete::Label(vec![("a.80".to_owned(), "x 80".to_owned())])
    );
    assert_eq!(steps[4], Concrete::User("u80".to_owned()));
    assert_eq!(steps[5], Concrete::StopSignal("SIGQUIT".to_owned()));
    assert_eq!(steps[6], Concrete::Cmd(strings(&["$P"])));
    assert_eq!(
        steps[7],
        Concrete::Entrypoint {
            argv: strings(&["e"]),
            keeps_cmd: true
        }
    );
    assert!(
        matches!(&steps[8], Concrete::Healthcheck(check) if check.test == strings(&["CMD-SHELL", "x $P"]))
    );
    assert_eq!(steps[9], Concrete::Maintainer("$P".to_owned()));
    let codes: Vec<_> = warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["ExposeProtoCasing", "ExposeInvalidFormat"]);
}

#[test]
fn what_the_base_decides_is_checked_here() {
    let text = "FROM x\nARG DECLARED\nWORKDIR $BSAE/x\nCOPY $DECLARED a /\nCMD x\nEXPOSE 99999\nSTOPSIGNAL FOO\nCOPY --chmod=8 a /\nCOPY ${X?must} /\nWORKDIR $DECLARED\nVOLUME $DECLARED\nADD $SRC /\n";
    let (steps, warnings) = resolve(text, &[]);
    let errors: Vec<String> = steps
        .into_iter()
        .filter_map(Result::err)
        .map(|error| error.message)
        .collect();
    assert_eq!(
        errors,
        [
            "EXPOSE 99999: a port is a number up to 65535",
            "\"FOO\" is not a signal",
            "--chmod=8 is neither octal up to 7777 nor symbolic",
            "X: must",
            "VOLUME is empty",
        ]
    );
    let found: Vec<_> = warnings
        .iter()
        .map(|warning| (warning.code, warning.hint.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("UndefinedVar", Some("did you mean $BASE?")),
            (
                "JSONArgsRecommended",
                Some("write CMD [\"program\", \"argument\"]")
            ),
            ("UndefinedVar", None),
        ]
    );
    let (steps, _) = resolve("FROM x\nARG U=https://example.com/x\nCOPY $U /\n", &[]);
    assert!(
        steps[1]
            .as_ref()
            .is_err_and(|error| error.code == "RemoteCopy")
    );
    let (_, warnings) = resolve("FROM x\nWORKDIR rel\nWORKDIR rel\n", &[]);
    assert_eq!(
        warnings
            .iter()
            .map(|warning| warning.code)
            .collect::<Vec<_>>(),
        ["WorkdirRelativePath"]
    );
}

#[test]
fn a_stage_has_variables_of_so_many_bytes() {
    let value = "a".repeat(1_000_000);
    let text = format!("FROM x\nENV A={value}\n{}", "LABEL l=$A\n".repeat(100));
    let (steps, _) = resolve(&text, &[]);
    let failed = steps.iter().position(Result::is_err).expect("too much");
    assert_eq!(failed, 68, "64 MiB, and the step that sets them");
    let error = steps[failed].as_ref().expect_err("too much");
    assert!(error.message.contains("more than 64 MiB"), "{error:?}");
}

#[test]
fn a_stage_has_so_many_instructions() {
    let lowered = |count: usize| {
        let text = format!("FROM x\n{}", "ENV A=1\n".repeat(count));
        lower(&parse(&text).expect("parses"), &LowerOptions::default())
    };
    lowered(2000).expect("few enough");
    let errors = lowered(2001).expect_err("too many");
    assert_eq!(errors[0].code, "TooManySteps");
}
