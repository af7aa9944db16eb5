//! What a server wants to know of us. Source: RFC 9110, section 11.6.1 (WWW-Authenticate).

/// One way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token that `realm` gives out.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the values of WWW-Authenticate headers. Ways that we do not know are left out.
    pub(super) fn parse_all<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        headers.into_iter().flat_map(Self::parse).collect()
    }

    fn parse(header: &str) -> Vec<Self> {
        let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for word in split(header) {
            let word = word.trim();
            // `Scheme key=value` begins a challenge, `key=value` goes on with it.
            let equals = word.find('=').unwrap_or(word.len());
            let parameter = match word[..equals].trim_end().rsplit_once(' ') {
                Some((scheme, _)) => {
                    found.push((scheme.trim().to_ascii_lowercase(), Vec::new()));
                    &word[scheme.len()..]
                }
                None if equals == word.len() => {
                    found.push((word.to_ascii_lowercase(), Vec::new()));
                    ""
                }
                None => word,
            };
            if let Some((key, value)) = parameter.split_once('=')
                && let Some((_, parameters)) = found.last_mut()
            {
                parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        found
            .into_iter()
            .filter_map(|(scheme, parameters)| {
                let get = |name: &str| {
                    let found = parameters.iter().find(|(key, _)| key == name);
                    found.map(|(_, value)| value.clone())
                };
                match scheme.as_str() {
                    "basic" => Some(Self::Basic),
                    "bearer" => Some(Self::Bearer {
                        realm: get("realm")?,
                        service: get("service"),
                        scope: get("scope"),
                    }),
                    _ => None,
                }
            })
            .collect()
    }
}

/// Splits at commas that stand outside of quotes.
fn split(header: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&header[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&header[start..]);
    parts
}

fn unquote(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn what_registries_send() {
        let cases = [
            ("Basic realm=\"Registry Realm\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://auth.example.com/token\",service=\"registry.example.com\",scope=\"repository:a/b:pull,push\"",
                vec![bearer(
                    "https://auth.example.com/token",
                    Some("registry.example.com"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                "Negotiate, Bearer realm=https://a.test/t , service = x, Basic realm=\"a\\\"b, c\"",
                vec![
                    bearer("https://a.test/t", Some("x"), None),
                    Challenge::Basic,
                ],
            ),
            ("Bearer service=\"no realm\"", vec![]),
            ("", vec![]),
        ];
        for (header, wanted) in cases {
            assert_eq!(Challenge::parse_all([header]), wanted, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read(header in ".{0,80}") {
            Challenge::parse_all([header.as_str()]);
        }

        #[test]
        fn quoted_values_come_back(realm in "[ -~]{0,40}", scope in "[ -~]{0,40}") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!(
                "Basic realm=\"x\", Bearer realm=\"{}\",scope=\"{}\"",
                quote(&realm),
                quote(&scope)
            );
            let wanted = vec![Challenge::Basic, bearer(&realm, None, Some(&scope))];
            proptest::prop_assert_eq!(Challenge::parse_all([header.as_str()]), wanted);
        }
    }
}
