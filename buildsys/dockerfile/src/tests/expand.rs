use std::collections::BTreeMap;

use crate::{ExpandError, expand, expand_heredoc};

fn vars() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("EMPTY", ""),
        ("WORDS", "a b  c"),
        ("DOTS", "xxyxx"),
        ("PATHS", "/usr/lib/x.tar.gz"),
        ("한글", "korean"),
        ("NL", "a\nb"),
    ])
}

fn get(name: &str) -> Option<String> {
    vars().get(name).map(|value| (*value).to_owned())
}

#[test]
fn words_expand_as_the_reference_says() {
    let table: &[(&str, &str)] = &[
        ("", ""),
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he'll\\'o", "hell\\o"),
        ("\"he'll\"o", "he'llo"),
        ("he\\\"ll", "he\"ll"),
        ("\\$PWD", "$PWD"),
        ("'$PWD'", "$PWD"),
        ("\"$PWD\"", "/home"),
        ("\"\\$PWD\"", "$PWD"),
        ("\"a\\nb\"", "a\\nb"),
        ("\"a\\\\b\"", "a\\b"),
        ("a\\nb", "anb"),
        ("$PWD", "/home"),
        ("$PWDX", ""),
        ("${PWD}X", "/homeX"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$1x", "x"),
        ("$12", ""),
        ("$@x", "x"),
        ("$한글", "korean"),
        ("${EMPTY:-w}", "w"),
        ("${EMPTY-w}", ""),
        ("${NONE-w}", "w"),
        ("${NONE:-w}", "w"),
        ("${NONE:-$PWD/x}", "/home/x"),
        ("${NONE:-'}'}", "}"),
        ("${NONE:-${SHELL:+yes}}", "yes"),
        ("${PWD:+w}", "w"),
        ("${EMPTY:+w}", ""),
        ("${EMPTY+w}", "w"),
        ("${NONE+w}", ""),
        ("${PWD:?e}", "/home"),
        ("${EMPTY?e}", ""),
        ("${DOTS#x}", "xyxx"),
        ("${DOTS#*x}", "xyxx"),
        ("${DOTS##*x}", ""),
        ("${DOTS##x*y}", "xx"),
        ("${DOTS%x}", "xxyx"),
        ("${DOTS%x*}", "xxyx"),
        ("${DOTS%%x*}", ""),
        ("${DOTS%%y*}", "xx"),
        ("${DOTS#z}", "xxyxx"),
        ("${PATHS##*/}", "x.tar.gz"),
        ("${PATHS%/*}", "/usr/lib"),
        ("${PATHS%%.*}", "/usr/lib/x"),
        ("${PATHS#?usr}", "/lib/x.tar.gz"),
        ("${DOTS/x/_}", "_xyxx"),
        ("${DOTS//x/_}", "__y__"),
        ("${DOTS//x*/_}", "_"),
        ("${PATHS//\\//:}", ":usr:lib:x.tar.gz"),
        ("${PATHS/./\\}}", "/usr/lib/x\\}tar.gz"),
        ("${NONE/x/y}", ""),
        ("${NL%%*b}", "a\n"),
        ("'a' \"b\" c", "a b c"),
        ("a\\", "a"),
    ];
    for (word, expected) in table {
        assert_eq!(
            expand(word, '\\', get)
                .map(|expansion| expansion.text)
                .as_deref(),
            Ok(*expected),
            "{word}"
        );
    }
}

#[test]
fn bad_substitutions_are_errors() {
    let table: &[(&str, &str)] = &[
        ("'a", "missing closing '"),
        ("\"a", "missing closing \""),
        ("${", "missing } of ${"),
        ("${PWD", "missing } of ${PWD"),
        ("${PWD:-x", "missing } of ${PWD"),
        ("${PWD/x", "missing second / in ${PWD/…}"),
        ("${PWD/x/y", "missing } of ${PWD"),
        ("${}", "${ is not followed by a name"),
        ("${:x}", "${ is not followed by a name"),
        ("${{x}}", "${ is not followed by a name"),
        ("${PWD^x}", "unsupported modifier \"^\" of ${PWD}"),
        ("${PWD:#x}", "unsupported modifier \":#\" of ${PWD}"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?set it}", "NONE: set it"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${PWD#a\\b}", "bad pattern \"a\\\\b\" in ${PWD}"),
    ];
    for (word, expected) in table {
        let error = expand(word, '\\', get)
            .map(|expansion| expansion.text)
            .map_err(|error| error.to_string());
        assert_eq!(error, Err((*expected).to_owned()), "{word}");
    }
    let nested = "${X:-".repeat(1000);
    assert_eq!(expand(&nested, '\\', get), Err(ExpandError::Depth));
}

#[test]
fn words_split_outside_quotes_and_inside_variables() {
    let words = |word: &str| expand(word, '\\', get).expect("expands").words;
    assert_eq!(words("x $WORDS y"), ["x", "a", "b", "c", "y"]);
    assert_eq!(words("x \"$WORDS\" y"), ["x", "a b  c", "y"]);
    assert_eq!(words("80$EMPTY 'a b'\\ c"), ["80", "a b c"]);
    assert_eq!(words("'' x"), ["x"]);
}

#[test]
fn the_backquote_can_escape() {
    let text = |word: &str| expand(word, '`', get).expect("expands").text;
    assert_eq!(text("C:\\x`$PWD"), "C:\\x$PWD");
    assert_eq!(text("\"a`\"b\""), "a\"b");
}

#[test]
fn what_was_looked_up_is_told() {
    let expansion = expand("$PWD ${NONE:-$NADA} '$QUOTED'", '\\', get).expect("expands");
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["PWD"]);
    assert_eq!(
        expansion.undefined.into_iter().collect::<Vec<_>>(),
        ["NADA", "NONE"]
    );
}

#[test]
fn quotes_mean_nothing_in_heredocs() {
    let text = |word: &str| expand_heredoc(word, get).expect("expands").text;
    assert_eq!(text("it's \"$PWD\"\n\\$PWD\n"), "it's \"/home\"\n$PWD\n");
}

#[test]
fn few_bytes_do_not_become_very_many() {
    let value = "a".repeat(200_000);
    let get = |name: &str| (name == "BIG").then(|| value.clone());
    let run = |word: &str| expand(word, '\\', get).map(|expansion| expansion.text.len());
    assert_eq!(run("$BIG$BIG$BIG$BIG$BIG"), Ok(1_000_000));
    for word in [
        "$BIG$BIG$BIG$BIG$BIG$BIG",
        "\"$BIG$BIG$BIG\"x${NONE:-$BIG$BIG$BIG}",
        "${BIG//a/aaaaaa}",
        "${BIG//a/$BIG}",
    ] {
        assert_eq!(run(word), Err(ExpandError::Long), "{word}");
    }
    let heredoc = expand_heredoc(&"$BIG".repeat(6), get);
    assert_eq!(heredoc, Err(ExpandError::Long));
    // A pattern that is held against each character.
    let stars = "*a".repeat(1000);
    for word in [
        format!("${{BIG##{stars}b}}"),
        format!("${{BIG%{stars}b}}"),
        format!("${{BIG/{stars}b/x}}"),
    ] {
        let name = "BIG".to_owned();
        assert_eq!(run(&word), Err(ExpandError::Work { name }));
    }
}
