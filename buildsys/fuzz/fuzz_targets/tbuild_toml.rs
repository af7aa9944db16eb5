//! The project's configuration. Findings lie within the text that they are of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tbuild_config::{Options, RESERVED, parse, render};

fuzz_target!(|text: &str| {
    let options = Options {
        reserved: &RESERVED,
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
});
