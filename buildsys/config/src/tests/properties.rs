use proptest::prelude::*;

use super::FULL;
use crate::{Options, parse, render};

/// The full configuration with some bytes gone, doubled or changed.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (0..FULL.len(), 0..8_usize, "[ -~\\n]{0,6}");
    proptest::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut text = FULL.to_owned();
        for (at, cut, insert) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.replace_range(at..end, &insert);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_panics_and_everything_can_be_shown(text in mutated(), set in "[a-z.=\"'\\[\\]{} ]{0,16}") {
        let set = [set];
        if let Err(errors) = parse(&text, &Options { set: &set, ..Options::default() }) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                let whole = error.text.as_ref().map_or(text.as_str(), |origin| origin.text.as_str());
                prop_assert!(whole.get(error.span.range()).is_some(), "{:?}", error);
                prop_assert!(render(&error, &text, "tbuild.toml", false).contains(&error.message));
            }
        }
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,40}") {
        let _ = parse(&text, &Options::default());
    }
}

#[test]
fn messages_move_no_cursor() {
    let text = "[project]\nname = \"p\"\n[target.x]\nneeds = [\"release\\tone\", \"\\u001b[31mred\", \"\\ntwo\"]\n";
    let errors = parse(text, &Options::default()).expect_err("no such nodes");
    for error in errors {
        let shown = render(&error, text, "tbuild.toml", false);
        assert!(shown.contains(&error.message), "{shown}");
        assert!(!shown.contains(['\t', '\u{1b}']), "{shown:?}");
    }
}
