//! A Dockerfile: parsed, lowered, and its variables filled in. Spans lie within the text that they are of.

use tbuild_dockerfile::{BaseConfig, BaseRef, Diagnostic, LowerOptions, Scope, lower, parse};

use super::text_of;

fn within(text: &str, findings: &[Diagnostic]) {
    for finding in findings {
        let text = finding.text.as_ref().map_or(text, |origin| &origin.text);
        assert!(
            text.get(finding.span.range()).is_some(),
            "{finding:?} of {text:?}"
        );
    }
}

fn look(text: &str) -> Result<(), Vec<Diagnostic>> {
    let dockerfile = parse(text)?;
    within(text, &dockerfile.warnings);
    for instruction in &dockerfile.instructions {
        assert!(
            text.get(instruction.span.range()).is_some(),
            "{instruction:?}"
        );
        assert!(
            text.get(instruction.keyword.span.range()).is_some(),
            "{instruction:?}"
        );
    }
    let mut options = LowerOptions {
        build_args: [("x".to_owned(), "a b".to_owned())].into(),
        all_stages: true,
        ..LowerOptions::default()
    };
    let plan = lower(&dockerfile, &options)?;
    // What images that are started from may say is the file's own text once more.
    for stage in &plan.stages {
        if matches!(stage.base, BaseRef::Named(..)) {
            let triggers = text.lines().rev().take(3).map(str::to_owned);
            options.triggers.insert(stage.index, triggers.collect());
        }
    }
    let plan = lower(&dockerfile, &options).or_else(|errors| {
        within(text, &errors);
        options.triggers.clear();
        lower(&dockerfile, &options)
    })?;
    within(text, &plan.warnings);
    let mut scope = Scope::new(&plan, &BaseConfig::default());
    for stage in &plan.stages {
        scope = scope.child();
        for step in &stage.steps {
            if let Err(error) = step.resolve(&mut scope) {
                within(text, &[error]);
            }
        }
        within(text, &scope.take_warnings());
    }
    Ok(())
}

/// Looks at one input.
pub fn check(bytes: &[u8]) {
    let text = text_of(bytes);
    if let Err(errors) = look(text) {
        assert!(!errors.is_empty() && errors.iter().all(Diagnostic::is_error));
        within(text, &errors);
    }
}
