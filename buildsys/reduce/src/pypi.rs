//! Pages of Python's package index. Sources: the simple repository API, as HTML (PEP 503) and as JSON (PEP 691).

use std::collections::BTreeSet;

use serde_json::Value;

/// The page of a project with those of its files alone that are among `taken`; none if it is no such page.
pub fn page(page: &[u8], taken: &BTreeSet<String>) -> Option<Vec<u8>> {
    json(page, taken).or_else(|| html(page, taken))
}

fn json(page: &[u8], taken: &BTreeSet<String>) -> Option<Vec<u8>> {
    let mut page: Value = serde_json::from_slice(page).ok()?;
    let files = page.get_mut("files")?.as_array_mut()?;
    files.retain(|file| {
        let name = file.get("filename").and_then(Value::as_str);
        name.is_some_and(|name| taken.contains(name))
    });
    serde_json::to_vec(&page).ok()
}

/// A page whose links stand on lines of their own: others are left alone.
fn html(page: &[u8], taken: &BTreeSet<String>) -> Option<Vec<u8>> {
    const LINK: &str = "<a ";
    let text = std::str::from_utf8(page).ok()?;
    let mut left = String::new();
    let mut links = 0;
    for line in text.split_inclusive('\n') {
        let Some((before, link)) = line.split_once(LINK) else {
            left.push_str(line);
            continue;
        };
        let (link, after) = link.split_once("</a>")?;
        let (_, name) = link.rsplit_once('>')?;
        if !before.trim().is_empty() || after.contains(LINK) {
            return None;
        }
        links += 1;
        if taken.contains(name.trim()) {
            left.push_str(line);
        }
    }
    (links > 0).then(|| left.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<String> {
        let taken = BTreeSet::from(["six-1.16.0-py2.py3-none-any.whl".to_owned()]);
        page(text.as_bytes(), &taken).map(|left| String::from_utf8(left).expect("text"))
    }

    #[test]
    fn files_that_were_taken_are_left() {
        let text = r#"{"meta":{"api-version":"1.1"},"name":"six","files":[{"filename":"six-1.0.tar.gz","url":"a"},
            {"filename":"six-1.16.0-py2.py3-none-any.whl","url":"b","hashes":{"sha256":"00"}}],"versions":["1.0"]}"#;
        let left = cut(text).expect("a page");
        assert!(left.contains(r#""hashes":{"sha256":"00"}"#), "{left}");
        assert!(!left.contains("six-1.0.tar.gz"), "{left}");
        assert!(left.contains(r#""api-version":"1.1""#), "{left}");
        let start = "<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for six</h1>\n";
        let one = "<a href=\"b#sha256=00\" data-requires-python=\"&gt;=2.7\" >six-1.16.0-py2.py3-none-any.whl</a><br />\n";
        let other = "<a href=\"a\">six-1.0.tar.gz</a><br />\n";
        let end = "</body>\n</html>\n";
        let html = format!("{start}{other}{one}{end}");
        assert_eq!(cut(&html), Some(format!("{start}{one}{end}")));
    }

    #[test]
    fn what_is_no_page_is_left_alone() {
        for text in [
            "",
            "<html></html>",
            "{}",
            "<p><a href='x'>x</a> <a href='y'>y</a></p>",
            "<a href='x'>",
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
    }
}
