use crate::{FolderMatches, Glob, IgnoreRules, glob_matches, has_wildcards};

fn rules(text: &str) -> IgnoreRules {
    IgnoreRules::parse(text).expect("rules")
}

#[test]
fn patterns_match_as_mobys_do() {
    // Pattern, path, whether it is ignored.
    let table: &[(&str, &str, bool)] = &[
        ("*", "file", true),
        ("*.go", "a.go", true),
        ("*.go", "x/a.go", false),
        ("**", "file", true),
        ("**", "x/y", true),
        ("**/", "x/y", true),
        ("x/", "x/y", true),
        ("/x", "x", true),
        ("./x", "x", true),
        ("x//y/./z", "x/y/z", true),
        ("x/..", "x", false),
        ("**/x", "x", true),
        ("**/x", "a/b/x", true),
        ("**/x", "ax", false),
        ("**x", "ax", true),
        ("**x*", "ax", false),
        ("x/**", "x/y/z", true),
        ("x/**", "x", false),
        ("x**", "xa/b", true),
        ("a/**/b", "a/b", true),
        ("a/**/b", "a/x/y/b", true),
        ("a/**/b", "ab", false),
        ("a**b", "ab", true),
        ("a**b", "axb", false),
        ("a**b", "ax/b", true),
        ("**/x/**", "x/a", true),
        ("**/x/**", "x", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("a.b", "axb", false),
        ("a.b*", "axbc", false),
        ("a(b)+*", "a(b)+c", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("dir", "dir/a/b", true),
        ("*/b", "a/b/c", true),
        (".", "a", false),
        ("#x", "#x", false),
        (" #x", "#x", true),
        ("", "a", false),
        ("naïve/*", "naïve/é", true),
        ("/ x*/", "xy", true),
        // As moby has it, found by comparing random patterns.
        ("^a*", "ab", true),
        ("a^*", "a^b", false),
        ("a^", "a^", true),
        ("**]", "a]", false),
        ("**]", "x/]", true),
        ("/ /**", "a", false),
        ("*\n/!a", "a", false),
    ];
    for (pattern, path, ignored) in table {
        assert_eq!(rules(pattern).matches(path), *ignored, "{pattern} {path}");
    }
}

#[test]
fn the_last_match_wins() {
    let rules = rules("*\n!docs\ndocs/*.tmp\n! /README.md \n");
    for (path, ignored) in [
        ("src", true),
        ("src/docs", true),
        ("docs", false),
        ("docs/a/b.md", false),
        ("docs/x.tmp", true),
        ("README.md", false),
    ] {
        assert_eq!(rules.matches(path), ignored, "{path}");
    }
}

#[test]
fn exceptions_below_ignored_folders_are_found() {
    let rules = rules("*\n!a/b/c\n!x/*/keep\n!**/deep\n");
    assert!(rules.matches("a") && rules.matches("a/b") && !rules.matches("a/b/c/d"));
    assert!(rules.may_contain_exceptions_below("a/b"));
    let rules = IgnoreRules::parse("*\n!a/b/c\n!x/*/keep\n").expect("rules");
    for (folder, may) in [
        ("a", true),
        ("a/b", true),
        ("a/x", false),
        ("b", false),
        ("x/any", true),
        ("x/any/other", false),
    ] {
        assert_eq!(rules.may_contain_exceptions_below(folder), may, "{folder}");
    }
}

#[test]
fn a_walk_hands_matches_down() {
    let rules = rules("a\n!a/b\n");
    let (matched, in_a) = rules.matches_in(&FolderMatches::default(), "a");
    assert!(matched);
    assert!(rules.matches_in(&in_a, "a/c").0);
    let (matched, in_b) = rules.matches_in(&in_a, "a/b");
    assert!(!matched);
    assert!(!rules.matches_in(&in_b, "a/b/c").0);
}

#[test]
fn lists_of_what_to_take_say_where_to_look() {
    let take = IgnoreRules::from_patterns(["main/static/scss/**", "setup.py"]).expect("patterns");
    for (folder, may) in [
        ("main", true),
        ("main/static", true),
        ("main/static/scss", true),
        ("docs", false),
    ] {
        assert_eq!(take.may_match_below(folder), may, "{folder}");
    }
    assert!(take.may_match_below("main/static/scss/x"));
}

#[test]
fn exceptions_of_nothing_are_errors() {
    for text in ["!", "! ", "!/", "!.", "/!", "! //"] {
        let expected = text != "!.";
        assert_eq!(IgnoreRules::parse(text).is_err(), expected, "{text:?}");
    }
}

#[test]
fn what_is_left_out_for_sure_is_told() {
    for (text, source, told) in [
        ("a", "a", true),
        ("a", "/a/b", true),
        ("a", "b", false),
        ("a\n!b", "a", false),
        ("*", "/", true),
        ("**/*", ".", true),
        ("a", ".", false),
    ] {
        assert_eq!(rules(text).leaves_out(source), told, "{text:?} {source}");
    }
}

#[test]
fn bad_patterns_are_errors_with_their_place() {
    let errors = IgnoreRules::parse("ok\n  a[\n!\nb\\\n").expect_err("bad");
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.span.range(), error.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (5..7, "bad pattern \"a[\": [ without ]"),
            (8..9, "bad pattern \"!\": ! without a pattern"),
            (10..12, "bad pattern \"b\\\\\": a backslash at the end"),
        ]
    );
}

#[test]
fn globs_match_as_gos_do() {
    // From the documentation of filepath.Match.
    let table: &[(&str, &str, bool)] = &[
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*", "ab/c", false),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a???b", "a☺b", false),
        ("a?b", "a☺b", true),
        ("[a-ζ]*", "α", true),
        ("a?b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[x\\-]", "-", true),
        ("*x", "xxx", true),
    ];
    for (pattern, path, expected) in table {
        assert_eq!(
            glob_matches(pattern, path),
            Ok(*expected),
            "{pattern} {path}"
        );
    }
    for pattern in [
        "[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "[a-b-c]",
    ] {
        assert!(Glob::new(pattern).is_err(), "{pattern}");
    }
    assert!(has_wildcards("a*") && has_wildcards("[a]") && !has_wildcards("a\\*"));
}
