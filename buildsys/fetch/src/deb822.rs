//! Control files: stanzas of fields (Debian policy, section 5.1), read as a stream.

use std::io::{self, BufRead};

/// One stanza: fields in order. A value keeps its line breaks, each continuation line without its first
/// character (the space or tab that makes it one).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stanza(Vec<(String, String)>);

impl Stanza {
    /// The value of a field; names are compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self
            .0
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }

    /// The words of a field; none if it is missing.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).unwrap_or_default().split_whitespace()
    }

    /// The value of a field as one of yes and no.
    pub fn is_yes(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    }
}

/// The stanzas of a control file.
pub struct Stanzas<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> Stanzas<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    fn read(&mut self) -> io::Result<Option<Stanza>> {
        let mut stanza = Stanza::default();
        loop {
            self.line.clear();
            if self.reader.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(Some(stanza).filter(|stanza| !stanza.0.is_empty()));
            }
            let text = String::from_utf8_lossy(&self.line);
            let line = text.trim_end_matches(['\n', '\r']);
            if line.trim().is_empty() {
                if stanza.0.is_empty() {
                    continue;
                }
                return Ok(Some(stanza));
            }
            if line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix([' ', '\t']) {
                let Some((_, value)) = stanza.0.last_mut() else {
                    return Err(malformed(line));
                };
                value.push('\n');
                value.push_str(rest);
            } else {
                let (name, value) = line.split_once(':').ok_or_else(|| malformed(line))?;
                stanza
                    .0
                    .push((name.trim_end().to_owned(), value.trim().to_owned()));
            }
        }
    }
}

impl<R: BufRead> Iterator for Stanzas<R> {
    type Item = io::Result<Stanza>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn malformed(line: &str) -> io::Error {
    let shown: String = line.chars().take(60).collect();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{shown:?} is no field of a control file"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> io::Result<Vec<Stanza>> {
        Stanzas::new(text.as_bytes()).collect()
    }

    #[test]
    fn reads_fields_continuations_comments_and_stanzas() {
        let stanzas = all(
            "\n# note\nPackage: a\nDescription: short\n long\n .\n\tend\n\n\n \nPackage:b\r\nX:\n",
        )
        .unwrap();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].get("description"), Some("short\nlong\n.\nend"));
        assert_eq!(stanzas[1].get("Package"), Some("b"));
        assert_eq!(stanzas[1].get("x"), Some(""));
        assert_eq!(stanzas[1].get("y"), None);
    }

    #[test]
    fn refuses_what_is_no_field() {
        assert!(all("Package: a\nnonsense\n").is_err());
        assert!(all(" continued\n").is_err());
    }
}
