//! Paths inside a tree.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A path inside a tree: bytes, relative, `/` between components, no `.` or `..`, no leading or trailing
/// slash; the root is empty. Ordered by components, so that a folder comes right before what is in it.
///
/// Clones share the bytes: a file's path stands in several collections at once while a layer is made.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Arc<[u8]>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as users and archives write it: leading and doubled slashes and `.` go away, `..` goes
    /// up and stops at the root. Nothing is resolved against links.
    pub fn clean(path: &[u8]) -> Self {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        Self(parts.join(&b'/').into())
    }

    /// Takes a path that is clean already; none if [`TreePath::clean`] would change it.
    pub fn from_clean(path: &[u8]) -> Option<Self> {
        let clean = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        (path.is_empty() || path.split(|byte| *byte == b'/').all(clean)).then(|| Self(path.into()))
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path with one more component, which holds no slash.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(self.as_bytes());
        if !bytes.is_empty() && !name.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// This path followed by all of `rest`.
    #[must_use]
    pub fn join_path(&self, rest: &Self) -> Self {
        self.join(&rest.0)
    }

    /// The last component; none for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.0
            .rsplit(|byte| *byte == b'/')
            .next()
            .filter(|name| !name.is_empty())
    }

    /// The folder that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|parent| Self(parent.into()))
    }

    /// The bytes of the folder that holds this path; none for the root.
    pub fn parent_bytes(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(&self.0[..end])
    }

    /// The components, first to last.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty())
    }

    /// What is left of this path below `folder`, or none if it does not lie there. A path lies below itself.
    pub fn below(&self, folder: &Self) -> Option<Self> {
        self.rest_below(folder).map(|rest| Self(rest.into()))
    }

    /// Whether this path is `folder` or lies below it.
    pub fn lies_below(&self, folder: &Self) -> bool {
        self.rest_below(folder).is_some()
    }

    fn rest_below(&self, folder: &Self) -> Option<&[u8]> {
        if folder.is_root() {
            return Some(&self.0);
        }
        match self.0.strip_prefix(folder.as_bytes())? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // Eight bytes at once: neighbours in a tree share long beginnings.
        let words = self.0.chunks_exact(8).zip(other.0.chunks_exact(8));
        let start = 8 * words.take_while(|(one, two)| one == two).count();
        // A slash sorts before every other byte: "a/b" before "a-b", and so a folder's content right after it.
        let key = |byte: &u8| {
            if *byte == b'/' {
                0
            } else {
                u16::from(*byte) + 1
            }
        };
        self.0[start..]
            .iter()
            .map(key)
            .cmp(other.0[start..].iter().map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for TreePath {
    fn from(path: &str) -> Self {
        Self::clean(path.as_bytes())
    }
}
