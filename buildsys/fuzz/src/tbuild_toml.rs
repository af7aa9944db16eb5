//! The project's configuration. Findings lie within the text that they are of.

use tbuild_config::{Options, RESERVED, parse, render};

use super::text_of;

/// Looks at one input.
pub fn check(bytes: &[u8]) {
    let text = text_of(bytes);
    let options = Options {
        reserved: RESERVED,
        ..Options::default()
    };
    if let Err(errors) = parse(text, &options) {
        assert!(!errors.is_empty());
        for error in errors {
            let spanned = error.text.as_ref().map_or(text, |origin| &origin.text);
            assert!(spanned.get(error.span.range()).is_some(), "{error:?}");
            render(&error, text, "tbuild.toml", false);
        }
    }
}
