//! Options of a step.

use crate::{Diagnostic, Normalizer, parse};

fn options(text: &str) -> Vec<Vec<Normalizer>> {
    let parsed = parse(text).expect("it parses");
    let of = |instruction: &crate::ast::Instruction| instruction.normalize.clone();
    parsed.instructions.iter().map(of).collect()
}

/// The one error: the text that it is about, and what is said.
fn error(text: &str) -> (String, String) {
    let errors: Vec<Diagnostic> = parse(text).expect_err("it has an error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let span = errors[0].span;
    (text[span.start..span.end].to_owned(), errors[0].to_string())
}

#[test]
fn they_belong_to_the_run_right_below() {
    use Normalizer::{Apt, Ldconfig, Pyc};
    assert_eq!(
        options("FROM a\n# tbuild: normalize=pyc,apt\nRUN one\nRUN two\n"),
        [vec![], vec![Apt, Pyc], vec![]]
    );
    assert_eq!(
        options(
            "FROM a\n#tbuild:normalize=apt normalize=apt\n# why\n  # tbuild:  normalize=ldconfig\nrun \\\n one\n"
        ),
        [vec![], vec![Apt, Ldconfig]]
    );
    // A comment of words, and a here-document that speaks of them.
    assert_eq!(
        options("FROM a\n# tbuilder: normalize=x\nRUN <<E\n# tbuild: normalize=nothing\nE\n"),
        [vec![], vec![]]
    );
    // The first line of a file is no parser directive because of it.
    let first = error("# tbuild: normalize=apt\nFROM a\n");
    assert_eq!(first.0, "# tbuild: normalize=apt");
}

#[test]
fn unknown_ones_are_errors_with_a_suggestion() {
    let (at, said) = error("FROM a\n# tbuild: normalize=apt,ldconfg\nRUN x\n");
    assert_eq!(at, "ldconfg");
    assert!(said.contains("did you mean ldconfig?"), "{said}");
    let (at, said) = error("FROM a\n# tbuild: normalise=apt\nRUN x\n");
    assert_eq!(at, "normalise");
    assert!(said.contains("did you mean normalize?"), "{said}");
    let (_, said) = error("FROM a\n# tbuild: normalize=qqqqqq\nRUN x\n");
    assert!(said.contains("pyc-remove"), "{said}");
    assert_eq!(error("FROM a\n# tbuild: normalize\nRUN x\n").0, "");
    assert_eq!(error("FROM a\n# tbuild:\nRUN x\n").0, "# tbuild:");
    let (at, _) = error("FROM a\n# tbuild: normalize=pyc,pyc-remove\nRUN x\n");
    assert_eq!(at, "pyc-remove");
}

#[test]
fn one_that_stands_above_no_run_is_an_error() {
    for text in [
        "FROM a\n# tbuild: normalize=apt\nCOPY a b\n",
        "FROM a\n# tbuild: normalize=apt\n\nRUN x\n",
        "FROM a\nRUN x\n# tbuild: normalize=apt\n",
        "FROM a\nRUN x \\\n# tbuild: normalize=apt\n  y\n",
    ] {
        let (at, said) = error(text);
        assert_eq!(at, "# tbuild: normalize=apt", "{text}");
        assert!(said.contains("above no RUN"), "{said}");
    }
}
