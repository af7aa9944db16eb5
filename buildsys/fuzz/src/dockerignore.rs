//! Patterns, and paths that they are asked about: the first half of the input is the file, the second the paths.

use tbuild_dockerfile::{Glob, IgnoreRules, has_wildcards};

use super::text_of;

/// Looks at one input.
pub fn check(bytes: &[u8]) {
    let text = text_of(bytes);
    let (patterns, paths) = text.split_once('\0').unwrap_or((text, "a\na/b\nx/y/z"));
    match IgnoreRules::parse(patterns) {
        Err(errors) => {
            for error in errors {
                assert!(patterns.get(error.span.range()).is_some(), "{error:?}");
            }
        }
        Ok(rules) => {
            for path in paths.lines().take(20) {
                let path = path.trim_matches('/');
                let matched = rules.matches(path);
                rules.leaves_out(path);
                rules.may_match_below(path);
                // A walk that passes over a folder misses nothing.
                if let Some((folder, _)) = path.rsplit_once('/')
                    && !folder
                        .split('/')
                        .any(|part| part.is_empty() || part == "." || part == "..")
                    && rules.matches(folder)
                    && !rules.may_contain_exceptions_below(folder)
                {
                    assert!(matched, "{patterns:?} {path:?}");
                }
            }
        }
    }
    for pattern in patterns.lines().take(5) {
        has_wildcards(pattern);
        if let Ok(glob) = Glob::new(pattern) {
            for path in paths.lines().take(5) {
                glob.matches(path);
            }
        }
    }
}
