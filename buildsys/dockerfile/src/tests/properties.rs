use proptest::prelude::*;

use crate::{Diagnostic, Glob, IgnoreRules, LowerOptions, Plan, Scope, Span, expand, lower, parse};

/// Text that is more of a Dockerfile than random text is.
fn dockerfile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("FROM scratch AS a\n".to_owned()),
        Just("FROM a\n".to_owned()),
        Just("RUN ".to_owned()),
        Just("COPY --from=a --chown=$x ".to_owned()),
        Just("ENV ".to_owned()),
        Just("ARG x=1 ".to_owned()),
        Just("HEALTHCHECK --interval=1s CMD ".to_owned()),
        Just("ONBUILD ".to_owned()),
        Just("EXPOSE ".to_owned()),
        Just("# escape=`\n".to_owned()),
        Just("<<EOF <<-'x' ".to_owned()),
        Just("EOF\n".to_owned()),
        Just("[\"a\", \"b\"]".to_owned()),
        Just("\\\n".to_owned()),
        Just("`\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("${x:-\"$y\"} 'q' ".to_owned()),
        "[ -~é☺\u{a0}]{0,8}",
        "\\PC{0,6}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn check(text: &str, spans: impl IntoIterator<Item = Span>) {
    for span in spans {
        assert!(
            text.get(span.range()).is_some(),
            "{span:?} is not within {text:?}"
        );
    }
}

fn all(diagnostics: &[Diagnostic]) -> impl Iterator<Item = Span> {
    diagnostics.iter().map(|diagnostic| diagnostic.span)
}

fn resolve(text: &str, plan: &Plan) {
    check(text, all(&plan.warnings));
    let mut scope = Scope::new(plan, &crate::BaseConfig::default());
    for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
        if let Err(error) = step.resolve(&mut scope) {
            check(text, [error.span]);
        }
    }
    check(text, all(&scope.take_warnings()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics_and_spans_are_within_the_text(text in dockerfile()) {
        match parse(&text) {
            Err(errors) => {
                prop_assert!(!errors.is_empty() && errors.iter().all(Diagnostic::is_error));
                check(&text, all(&errors));
            }
            Ok(parsed) => {
                check(&text, all(&parsed.warnings));
                check(&text, parsed.instructions.iter().flat_map(|one| [one.span, one.keyword.span]));
                match lower(&parsed, &LowerOptions::default()) {
                    Ok(plan) => resolve(&text, &plan),
                    Err(errors) => check(&text, all(&errors)),
                }
            }
        }
    }

    #[test]
    fn keywords_lie_where_their_spans_say(text in dockerfile()) {
        for instruction in parse(&text).map(|parsed| parsed.instructions).unwrap_or_default() {
            if !instruction.keyword.span.of(&text).contains('\n') {
                prop_assert_eq!(instruction.keyword.span.of(&text), instruction.keyword.text);
            }
        }
    }

    #[test]
    fn expanding_never_panics(word in "[${}:#%/*?'\"a\\\\ <-]{0,24}") {
        let _ = expand(&word, '\\', |name| (name == "a").then(|| "aa a".to_owned()));
    }

    #[test]
    fn quoted_text_comes_back(text in "[^']{0,12}") {
        let expansion = expand(&format!("'{text}'"), '\\', |_| None).expect("expands");
        prop_assert_eq!(expansion.text, text);
    }

    #[test]
    fn a_folder_that_is_skipped_holds_no_exception(
        patterns in proptest::collection::vec("!?[ab*?/]{1,6}", 1..5),
        folder in "[ab]{1,2}(/[ab]{1,2})?",
        below in "[ab]{1,2}(/[ab]{1,2})?",
    ) {
        if let Ok(rules) = IgnoreRules::from_patterns(&patterns)
            && rules.matches(&folder)
            && !rules.may_contain_exceptions_below(&folder)
        {
            prop_assert!(rules.matches(format!("{folder}/{below}")), "{:?} {} {}", patterns, folder, below);
        }
    }

    #[test]
    fn a_pattern_with_everything_escaped_matches_itself_alone(name in "[a-c*?\\[\\]\\\\]{1,6}", other in "[a-c*]{1,6}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        let glob = Glob::new(&escaped).expect("pattern");
        prop_assert!(glob.matches(&name));
        prop_assert_eq!(glob.matches(&other), name == other);
    }
}
