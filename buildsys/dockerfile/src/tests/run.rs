//! RUN's flags: mounts, network, security.

use crate::{
    BaseConfig, BindMount, CacheMount, Concrete, ConcreteMount, ConcreteRun, CopySource,
    Diagnostic, LowerOptions, MountOwner, RunNetwork, Scope, SecretMount, Sharing, SshMount, lower,
    parse, parse_size,
};

fn resolve(text: &str, options: &LowerOptions) -> Result<Vec<ConcreteRun>, Vec<Diagnostic>> {
    let plan = lower(&parse(text)?, options)?;
    let mut scope = Scope::new(&plan, &BaseConfig::default());
    let mut runs = Vec::new();
    for step in &plan.target().expect("a target").steps {
        if let Concrete::Run(run) = step.resolve(&mut scope).map_err(|error| vec![error])? {
            runs.push(run);
        }
    }
    Ok(runs)
}

fn mounts(text: &str) -> Vec<ConcreteMount> {
    let runs =
        resolve(text, &LowerOptions::default()).unwrap_or_else(|errors| panic!("{errors:?}"));
    runs.into_iter().flat_map(|run| run.mounts).collect()
}

/// The one mount of a RUN on an empty stage.
fn mount(options: &str) -> ConcreteMount {
    let mut mounts = mounts(&format!("FROM scratch\nRUN --mount={options} x\n"));
    assert_eq!(mounts.len(), 1);
    mounts.remove(0)
}

/// The message of the first error, and what is suggested.
fn error(lines: &str) -> String {
    match resolve(
        &format!("FROM scratch\n{lines}\n"),
        &LowerOptions::default(),
    ) {
        Ok(runs) => panic!("no error: {runs:?}"),
        Err(errors) => format!(
            "{} [{:?}]",
            errors[0].message,
            errors[0].hint.as_deref().unwrap_or_default()
        ),
    }
}

fn bind(target: &str, from: Option<CopySource>, source: &str) -> BindMount {
    BindMount {
        target: target.to_owned(),
        from,
        source: source.to_owned(),
        read_only: true,
    }
}

#[test]
fn binds() {
    let context = || Some(CopySource::Context);
    assert_eq!(
        mount("target=/m"),
        ConcreteMount::Bind(bind("/m", context(), "/"))
    );
    for words in ["source=a/../b/", "src=b", "src=/b"] {
        for target in ["target", "dst", "DESTINATION"] {
            assert_eq!(
                mount(&format!("TYPE=Bind,{words},{target}=/m/./n/")),
                ConcreteMount::Bind(bind("/m/n", context(), "/b"))
            );
        }
    }
    for words in ["rw", "readwrite", "rw=true", "ro=false", "readonly=0"] {
        let ConcreteMount::Bind(bind) = mount(&format!("{words},target=/m")) else {
            panic!("no bind")
        };
        assert!(!bind.read_only, "{words}");
    }
    let text = "FROM scratch AS Base\nFROM scratch\nWORKDIR /w\n\
                RUN --mount=from=base,target=in --mount=from=img:1,target=/i --mount=from=scratch,target=/e x\n";
    assert_eq!(
        mounts(text),
        [
            ConcreteMount::Bind(bind("/e", None, "/")),
            ConcreteMount::Bind(bind("/i", Some(CopySource::Named("img:1".into())), "/")),
            ConcreteMount::Bind(bind("/w/in", Some(CopySource::Stage(0)), "/")),
        ],
        "by target, whatever the order"
    );
    let plan = lower(&parse(text).expect("parses"), &LowerOptions::default()).expect("lowers");
    let target = plan.target().expect("a target");
    assert!(target.depends_on.contains(&0));
    assert_eq!(target.names[0].name, "img:1");
    // Without a target it is mounted on the working folder.
    let text = "FROM scratch\nWORKDIR /w\nRUN --mount=type=bind x\n";
    assert_eq!(
        mounts(text),
        [ConcreteMount::Bind(bind("/w", context(), "/"))]
    );
}

#[test]
fn caches_and_memory() {
    let cache = |target: &str, id: &str| CacheMount {
        target: target.to_owned(),
        id: id.to_owned(),
        sharing: Sharing::Shared,
        read_only: false,
        from: None,
        source: "/".to_owned(),
        owner: MountOwner::default(),
    };
    assert_eq!(
        mount("type=cache,target=/c/"),
        ConcreteMount::Cache(cache("/c", "/c"))
    );
    let text = "FROM scratch AS seed\nFROM scratch\nWORKDIR /w\nRUN --mount=type=cache,target=c \
                --mount=type=cache,id=i,dst=/d,sharing=LOCKED,from=seed,source=s,mode=1770,uid=5,gid=6,ro x\n";
    let all = CacheMount {
        sharing: Sharing::Locked,
        read_only: true,
        from: Some(CopySource::Stage(0)),
        source: "/s".to_owned(),
        owner: MountOwner {
            mode: Some(0o1770),
            uid: Some(5),
            gid: Some(6),
        },
        ..cache("/d", "i")
    };
    assert_eq!(
        mounts(text),
        [
            ConcreteMount::Cache(all),
            ConcreteMount::Cache(cache("/w/c", "c")),
        ],
        "a cache is called after its target as written"
    );
    let tmpfs = |size| ConcreteMount::Tmpfs {
        target: "/t".to_owned(),
        size,
        read_only: false,
    };
    assert_eq!(mount("type=tmpfs,target=/t"), tmpfs(None));
    assert_eq!(
        mount("type=tmpfs,target=/t,size=1.5m"),
        tmpfs(Some(3 << 19))
    );
    assert_eq!(
        mount("type=tmpfs,'\"target=/t,u\"'").target(),
        Some("/t,u"),
        "fields may be quoted"
    );
}

#[test]
fn secrets_and_agents() {
    let secret = |id: &str, target: Option<&str>, env: Option<&str>| {
        ConcreteMount::Secret(SecretMount {
            id: id.to_owned(),
            target: target.map(str::to_owned),
            env: env.map(str::to_owned),
            required: false,
            owner: MountOwner::default(),
        })
    };
    for (options, expected) in [
        ("id=a/b", secret("a/b", Some("/run/secrets/b"), None)),
        ("source=a", secret("a", Some("/run/secrets/a"), None)),
        ("target=/x/y", secret("y", Some("/x/y"), None)),
        ("id=a,env=E", secret("a", None, Some("E"))),
        ("id=a,env=E,dst=/e", secret("a", Some("/e"), Some("E"))),
        ("id=a,target=rel", secret("a", Some("/rel"), None)),
        (
            "id=a,required=false",
            secret("a", Some("/run/secrets/a"), None),
        ),
    ] {
        assert_eq!(mount(&format!("type=secret,{options}")), expected);
    }
    let ssh = SshMount {
        id: "default".to_owned(),
        target: None,
        required: false,
        owner: MountOwner::default(),
    };
    assert_eq!(mount("type=ssh"), ConcreteMount::Ssh(ssh.clone()));
    let all = SshMount {
        id: "git".to_owned(),
        target: Some("/agent".to_owned()),
        required: true,
        owner: MountOwner {
            mode: Some(0o666),
            uid: None,
            gid: Some(7),
        },
    };
    assert_eq!(
        mount("type=ssh,required,id=git,target=/agent,mode=0666,gid=7"),
        ConcreteMount::Ssh(all)
    );
}

#[test]
fn variables_are_filled_in() {
    let text =
        "FROM scratch\nARG T=tmpfs\nENV Q=/q\nRUN --mount=type=$T,size=${S:-1k},target=$Q/${U} x\n";
    assert_eq!(
        mounts(text),
        [ConcreteMount::Tmpfs {
            target: "/q".to_owned(),
            size: Some(1024),
            read_only: false,
        }]
    );
    let late = error("ARG S=x\nRUN --mount=type=tmpfs,target=/t,size=$S x");
    assert!(late.contains("size=x is not a size"), "{late}");
}

#[test]
fn what_is_wrong_with_a_mount_is_said() {
    for (options, expected) in [
        ("type=bnd,target=/x", "no type \"bnd\" [\"did you mean bind"),
        (
            "target=/x,sorce=a",
            "no option \"sorce\" [\"did you mean source",
        ),
        ("type=tmpfs,target=/x,size=abc", "size=abc is not a size"),
        ("type=tmpfs,target=/x,size=-1", "size=-1 is not a size"),
        (
            "size=1m,type=tmpfs,target=/x",
            "size is no option of type=bind",
        ),
        (
            "type=cache,target=/x,size=1",
            "size is no option of type=cache",
        ),
        (
            "type=cache,target=/x,mode=abc",
            "mode=abc is not an octal mode",
        ),
        (
            "type=cache,target=/x,mode=77777",
            "mode=77777 is not an octal mode",
        ),
        ("type=cache,target=/x,uid=root", "uid=root is not a number"),
        ("type=cache,target=/x,uid=4294967296", "is not a number"),
        (
            "type=cache,target=/x,sharing=lock",
            "sharing=lock is not shared",
        ),
        (
            "type=cache,target=/x,required",
            "required is no option of type=cache",
        ),
        ("target=/x,mode=0700", "mode is no option of type=bind"),
        (
            "target=/x,sharing=shared",
            "sharing is no option of type=bind",
        ),
        ("target=/x,ro=maybe", "ro=maybe is not true or false"),
        ("type=bind", "no target"),
        ("type=bind,target=/", "/ cannot be a target"),
        ("type=tmpfs,target=/a/..", "/ cannot be a target"),
        ("target", "\"target\" needs a value"),
        ("type=tmpfs,target=/q,r", "\"r\" needs a value"),
        ("type=secret", "a secret needs an id"),
        ("type=secret,id=a,source=b", "only one may be given"),
        (
            "type=secret,id=a,from=x",
            "from is no option of type=secret",
        ),
        ("type=ssh,source=x", "source is no option of type=ssh"),
        ("from=$X,target=/x", "from takes no variables"),
        ("from=0,target=/x", "from=0 is no name"),
        ("'\"target=/x'", "a quote is not closed"),
        ("'\"target=/x\"y'", "follows a closing quote"),
    ] {
        let message = error(&format!("RUN --mount={options} x"));
        assert!(message.contains(expected), "{options}: {message}");
    }
}

#[test]
fn a_later_stage_cannot_be_mounted() {
    let text = "FROM scratch AS a\nRUN --mount=from=b,target=/x x\nFROM scratch AS b\nFROM a\n";
    let errors = resolve(text, &LowerOptions::default()).expect_err("an error");
    assert_eq!(errors[0].code, "StageOrder");
}

#[test]
fn network_and_security() {
    let options = LowerOptions {
        allow_insecure: true,
        ..LowerOptions::default()
    };
    let text = "FROM scratch\nRUN a\nRUN --network=none b\nRUN --network=host --security=sandbox c\n\
                RUN --security=insecure d\n";
    let seen: Vec<_> = resolve(text, &options)
        .expect("resolves")
        .into_iter()
        .map(|run| (run.network, run.insecure))
        .collect();
    assert_eq!(
        seen,
        [
            (RunNetwork::Default, false),
            (RunNetwork::None, false),
            (RunNetwork::Host, false),
            (RunNetwork::Default, true),
        ]
    );
    for (flags, expected) in [
        (
            "--network=non",
            "--network=non is not default, none or host [\"did you mean none",
        ),
        (
            "--security=unsafe",
            "--security=unsafe is not sandbox or insecure",
        ),
        (
            "--security=insecure",
            "is not allowed [\"it gives the step all rights of the builder: --allow",
        ),
        ("--device=gpu", "RUN --device is not supported yet"),
    ] {
        let message = error(&format!("RUN {flags} x"));
        assert!(message.contains(expected), "{flags}: {message}");
    }
    // A stage that is not built may ask for what it likes.
    let text = "FROM scratch\nRUN --security=insecure --mount=bad x\nFROM scratch\nRUN a\n";
    assert_eq!(
        resolve(text, &LowerOptions::default())
            .expect("built")
            .len(),
        1
    );
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("512", Some(512)),
        ("1b", Some(1)),
        ("1k", Some(1024)),
        ("2KB", Some(2048)),
        ("3 MiB", Some(3 << 20)),
        ("1.5g", Some(3 << 29)),
        ("1t", Some(1 << 40)),
        ("", None),
        (".", None),
        ("1.", None),
        ("k", None),
        ("1i", None),
        ("1x", None),
        ("-1", None),
        ("99999999p", None),
    ] {
        assert_eq!(parse_size(text), bytes, "{text}");
    }
}
