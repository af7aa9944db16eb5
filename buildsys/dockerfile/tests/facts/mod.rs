//! What this front end makes of a Dockerfile, in the terms in which BuildKit's answers are recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tbuild_dockerfile::Source;
use tbuild_dockerfile::{
    BaseConfig, BaseRef, Concrete, Diagnostic, LowerOptions, Plan, Platform, Scope, Span, ast,
    line_column, lower, parse,
};

/// A Dockerfile and how it is built.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The Dockerfile.
    pub text: String,
    /// `--build-arg`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// `--target`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `--platform`, linux/amd64 if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
}

/// What becomes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Facts {
    /// Whether it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The image's `config`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, serde_json::Value>,
    /// RUN's arguments, environment, folder and user, of the stages that are built.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// COPY's sources and destination, and files of here-documents, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// Findings of `--check` over all stages, as `Rule:line`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lint: Vec<String>,
}

/// Every image that is no stage has this config; a name with `onbuild` in it has triggers too.
fn base(name: &str) -> (BaseConfig, Vec<String>) {
    let env = [("PATH", "/bin"), ("BASE", "b")];
    let config = BaseConfig {
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        workdir: "/base".to_owned(),
        shell: Vec::new(),
    };
    let triggers: &[&str] = if name.contains("onbuild") {
        &["ENV TRIG=1", "COPY a /trig"]
    } else {
        &[]
    };
    (config, triggers.iter().map(|&one| one.to_owned()).collect())
}

fn plan(case: &Case, all: bool) -> Result<(ast::Dockerfile, Plan), Vec<Diagnostic>> {
    let dockerfile = parse(&case.text)?;
    let mut options = LowerOptions {
        target: Some(case.target.clone()).filter(|target| !target.is_empty()),
        build_args: case.args.clone(),
        target_platform: Platform::parse(&case.platform).unwrap_or_default(),
        all_stages: all,
        ..LowerOptions::default()
    };
    let plan = lower(&dockerfile, &options)?;
    for stage in &plan.stages {
        if let BaseRef::Named(name, _) = &stage.base {
            options.triggers.insert(stage.index, base(name).1);
        }
    }
    Ok((dockerfile.clone(), lower(&dockerfile, &options)?))
}

#[derive(Clone)]
struct End {
    scope: Scope,
    facts: Facts,
    user: String,
}

fn walk(plan: &Plan) -> Result<(Facts, Vec<Diagnostic>), Diagnostic> {
    let mut ends: BTreeMap<usize, End> = BTreeMap::new();
    let mut warnings = plan.warnings.clone();
    let (mut runs, mut copies, mut last) = (Vec::new(), Vec::new(), Facts::default());
    for stage in &plan.stages {
        let mut end = match &stage.base {
            BaseRef::Stage(index) => {
                let end = ends[index].clone();
                End {
                    scope: end.scope.child(),
                    ..end
                }
            }
            BaseRef::Scratch | BaseRef::Named(..) => {
                let config = match &stage.base {
                    BaseRef::Named(name, _) => base(name).0,
                    _ => BaseConfig::default(),
                };
                let scope = Scope::new(plan, &config);
                let mut facts = Facts::default();
                let mut env = config.env.clone();
                if env.is_empty() {
                    env.push(("PATH".to_owned(), scope.env()["PATH"].clone()));
                }
                facts.config.insert(
                    "Env".to_owned(),
                    env.iter().map(|(k, v)| format!("{k}={v}")).collect(),
                );
                facts
                    .config
                    .insert("WorkingDir".to_owned(), scope.workdir().into());
                End {
                    scope,
                    facts,
                    user: String::new(),
                }
            }
        };
        end.facts.config.remove("OnBuild");
        for step in &stage.steps {
            let concrete = step.resolve(&mut end.scope)?;
            if let Concrete::User(user) = &concrete {
                end.user.clone_from(user);
            }
            match &concrete {
                Concrete::Run(run) => {
                    let env: Vec<String> =
                        run.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    let cwd = end.scope.workdir();
                    if let Some(script) = &run.script {
                        let name = script.name.trim_start_matches("/dev/pipes/");
                        copies.push(format!(
                            "<<{name} {}",
                            String::from_utf8_lossy(&script.bytes)
                        ));
                    }
                    runs.push(serde_json::json!({"run": run.argv, "env": env, "cwd": cwd, "user": end.user}).to_string());
                }
                Concrete::Copy(copy) => {
                    for source in &copy.sources {
                        let source = match source {
                            Source::Path(path) => path.path.clone(),
                            Source::Remote(remote) => format!("{remote:?}"),
                        };
                        copies.push(format!("{source} {}", copy.dest));
                    }
                    for file in &copy.heredocs {
                        copies.push(format!(
                            "<<{} {}",
                            file.name,
                            String::from_utf8_lossy(&file.bytes)
                        ));
                    }
                }
                other => apply(&mut end.facts.config, other),
            }
        }
        warnings.extend(end.scope.take_warnings());
        last = end.facts.clone();
        ends.insert(stage.index, end);
    }
    runs.sort();
    runs.dedup();
    copies.sort();
    copies.dedup();
    Ok((
        Facts {
            runs,
            copies,
            ..last
        },
        warnings,
    ))
}

fn apply(config: &mut BTreeMap<String, serde_json::Value>, concrete: &Concrete) {
    let mut set = |name: &str, value: serde_json::Value| {
        config.insert(name.to_owned(), value);
    };
    match concrete {
        Concrete::Env(pairs) => {
            let mut env: Vec<String> = serde_json::from_value(config["Env"].clone()).expect("env");
            for (name, value) in pairs {
                let line = format!("{name}={value}");
                match env
                    .iter_mut()
                    .find(|old| old.split('=').next() == Some(name))
                {
                    Some(old) => *old = line,
                    None => env.push(line),
                }
            }
            config.insert("Env".to_owned(), env.into());
        }
        Concrete::Label(pairs) => insert_all(
            config,
            "Labels",
            pairs.iter().map(|(k, v)| (k.clone(), v.clone().into())),
        ),
        Concrete::Expose(ports) => {
            insert_all(
                config,
                "ExposedPorts",
                ports
                    .iter()
                    .map(|port| (port.clone(), serde_json::json!({}))),
            );
        }
        Concrete::Volume(paths) => {
            insert_all(
                config,
                "Volumes",
                paths
                    .iter()
                    .map(|path| (path.clone(), serde_json::json!({}))),
            );
        }
        Concrete::Workdir(path) => set("WorkingDir", path.clone().into()),
        Concrete::User(user) => set("User", user.clone().into()),
        Concrete::Cmd(argv) => {
            set("Cmd", argv.clone().into());
            set("ArgsEscaped", true.into());
        }
        Concrete::Entrypoint { argv, keeps_cmd } => {
            set("Entrypoint", argv.clone().into());
            if !keeps_cmd {
                config.remove("Cmd");
            }
        }
        Concrete::Healthcheck(check) => {
            let mut value = serde_json::Map::new();
            value.insert("Test".to_owned(), check.test.clone().into());
            for (name, number) in [
                ("Interval", check.interval),
                ("Timeout", check.timeout),
                ("StartPeriod", check.start_period),
                ("StartInterval", check.start_interval),
                ("Retries", check.retries.into()),
            ] {
                if number != 0 {
                    value.insert(name.to_owned(), number.into());
                }
            }
            set("Healthcheck", value.into());
        }
        Concrete::Shell(shell) => set("Shell", shell.clone().into()),
        Concrete::StopSignal(signal) => set("StopSignal", signal.clone().into()),
        Concrete::Onbuild(trigger) => {
            let mut all = config
                .get("OnBuild")
                .and_then(|all| all.as_array().cloned())
                .unwrap_or_default();
            all.push(trigger.clone().into());
            config.insert("OnBuild".to_owned(), all.into());
        }
        Concrete::Maintainer(_) | Concrete::Arg(_) | Concrete::Run(_) | Concrete::Copy(_) => {}
    }
    config.retain(|_, value| {
        let empty_list = value.as_array().is_some_and(Vec::is_empty);
        let empty_set = value.as_object().is_some_and(serde_json::Map::is_empty);
        !(value == "" || empty_list || empty_set)
    });
}

fn insert_all(
    config: &mut BTreeMap<String, serde_json::Value>,
    name: &str,
    values: impl Iterator<Item = (String, serde_json::Value)>,
) {
    let entry = config
        .entry(name.to_owned())
        .or_insert_with(|| serde_json::json!({}));
    if let Some(map) = entry.as_object_mut() {
        map.extend(values);
    }
}

/// The line of the instruction that a finding is about; of its end for an empty line in it.
fn line(case: &Case, dockerfile: &ast::Dockerfile, finding: &Diagnostic) -> usize {
    let at = |span: Span| {
        let all = &dockerfile.instructions;
        let holder = all.iter().rfind(|one| one.span.start <= span.start);
        holder.map_or(0, |one| one.line)
    };
    match &finding.text {
        // A trigger stands where FROM does, which the recorded cases have on their last FROM only.
        Some(_) => {
            let froms = dockerfile
                .instructions
                .iter()
                .filter(|one| matches!(one.kind, ast::Kind::From(_)));
            froms.collect::<Vec<_>>().last().map_or(0, |one| one.line)
        }
        None if finding.code == "NoEmptyContinuation" => {
            let holder = dockerfile
                .instructions
                .iter()
                .rfind(|one| one.span.start <= finding.span.start);
            holder.map_or(0, |one| {
                line_column(&case.text, one.span.end.saturating_sub(1)).0
            })
        }
        None => at(finding.span),
    }
}

/// All facts.
pub fn facts(case: &Case) -> Facts {
    let refused = || Facts {
        refused: true,
        ..Facts::default()
    };
    let built = plan(case, false).and_then(|(_, plan)| walk(&plan).map_err(|error| vec![error]));
    // Its findings are those of the stages that are built; the check below asks for those of all.
    let mut facts = built.map_or_else(|_| refused(), |(facts, _)| facts);
    if let Ok((dockerfile, plan)) = plan(case, case.target.is_empty())
        && let Ok((_, warnings)) = walk(&plan)
    {
        if plan.checks.error && !warnings.is_empty() {
            facts = refused();
        }
        facts.lint = warnings
            .iter()
            .map(|finding| format!("{}:{}", finding.code, line(case, &dockerfile, finding)))
            .collect();
        facts.lint.sort();
    }
    facts
}
