//! Parser directives: `# name=value` before anything else in a file.

/// Names of directives. Any other name ends them.
const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// Reads what stands behind the comment sign as a directive: its name in lower case, and its value.
pub(crate) fn read(comment: &str) -> Option<(String, &str)> {
    let (name, value) = comment.trim_start().split_once('=')?;
    let name = name.trim_end().to_ascii_lowercase();
    if !NAMES.contains(&name.as_str()) || value.is_empty() {
        return None;
    }
    match value.trim() {
        // White space alone is a value, of which nothing good can come.
        "" => Some((name, &value[value.len() - 1..])).filter(|_| value.is_ascii()),
        trimmed => Some((name, trimmed)),
    }
}

/// Finds a directive without parsing the file, in the form of comments that start with `sign`. A line `#!` at
/// the very start is passed over. Gives the value and its offset.
fn find<'a>(text: &'a str, sign: &str, wanted: &str) -> Option<(usize, &'a str)> {
    let mut seen: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = if number == 0 {
            line.trim_start_matches('\u{feff}')
        } else {
            line
        };
        if number == 0 && line.starts_with("#!") {
            continue;
        }
        let (name, value) = read(line.strip_prefix(sign)?)?;
        if seen.contains(&name) {
            return None;
        }
        if name == wanted {
            return Some((value.as_ptr() as usize - text.as_ptr() as usize, value));
        }
        seen.push(name);
    }
    None
}

/// The front end that a file asks for: `# syntax=`, `// syntax=`, or a whole file of JSON with that key.
pub(crate) fn front_end(text: &str) -> Option<(usize, String)> {
    let found = find(text, "#", "syntax").or_else(|| find(text, "//", "syntax"));
    if let Some((at, value)) = found {
        return Some((at, value.to_owned()));
    }
    if !text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('{')
    {
        return None;
    }
    let json: serde_json::Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    Some((0, json.get("syntax")?.as_str()?.to_owned()))
}

/// What `# check=` says, wherever its line may stand for it.
pub(crate) fn check(text: &str) -> Option<(usize, &str)> {
    find(text, "#", "check")
}
