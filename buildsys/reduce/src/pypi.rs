//! Pages of Python's package index. Source: the simple repository API, JSON serialisation (PEP 691).

use std::collections::BTreeSet;

use serde_json::Value;

/// The media type of a page, without its version.
pub const PAGE: &str = "application/vnd.pypi.simple.v1+json";

/// The page of a project with those of its files alone that are among `taken`; none if it is no such page.
pub fn page(page: &[u8], taken: &BTreeSet<String>) -> Option<Vec<u8>> {
    let mut page: Value = serde_json::from_slice(page).ok()?;
    let files = page.get_mut("files")?.as_array_mut()?;
    files.retain(|file| {
        let name = file.get("filename").and_then(Value::as_str);
        name.is_some_and(|name| taken.contains(name))
    });
    serde_json::to_vec(&page).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_taken_are_left() {
        let text = r#"{"meta":{"api-version":"1.1"},"name":"six","files":[{"filename":"six-1.0.tar.gz","url":"a"},
            {"filename":"six-1.16.0-py2.py3-none-any.whl","url":"b","hashes":{"sha256":"00"}}],"versions":["1.0"]}"#;
        let taken = BTreeSet::from(["six-1.16.0-py2.py3-none-any.whl".to_owned()]);
        let left = page(text.as_bytes(), &taken).expect("a page");
        let left = String::from_utf8(left).expect("text");
        assert!(left.contains(r#""hashes":{"sha256":"00"}"#), "{left}");
        assert!(!left.contains("six-1.0.tar.gz"), "{left}");
        assert!(left.contains(r#""api-version":"1.1""#), "{left}");
        assert_eq!(page(b"<html>", &taken), None);
        assert_eq!(page(b"{}", &taken), None);
    }
}
