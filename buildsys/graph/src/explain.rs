//! Why a key differs: the first differences between two manifests, in the order that the hash walks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tbuild_digest::TreeDigest;

use crate::{KeyManifest, Value};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Another meaning altogether (another instruction, or a tbuild that keys differently).
    Schema {
        /// What it was.
        old: String,
        /// What it is.
        new: String,
    },
    /// A field that was not there.
    Added {
        /// The field.
        field: String,
    },
    /// A field that is gone.
    Removed {
        /// The field.
        field: String,
    },
    /// A text differs.
    Text {
        /// The field, with the member for lists and maps.
        field: String,
        /// What it was; none if it was not there.
        old: Option<String>,
        /// What it is; none if it is gone.
        new: Option<String>,
    },
    /// Files differ. Which ones, the listings tell.
    Files {
        /// The field.
        field: String,
        /// The tree of then.
        old: TreeDigest,
        /// The tree of now.
        new: TreeDigest,
    },
}

/// The differences from `old` to `new`, in the order of the key; empty if and only if the keys are equal.
pub fn explain(old: &KeyManifest, new: &KeyManifest) -> Vec<Change> {
    if old.schema != new.schema {
        return vec![Change::Schema {
            old: old.schema.clone(),
            new: new.schema.clone(),
        }];
    }
    let mut changes = Vec::new();
    let (before, after) = (numbered(old), numbered(new));
    // A field whose name stands twice is compared with the one in the same place among those.
    let values: BTreeMap<_, _> = before.iter().copied().collect();
    for (name, value) in &after {
        match values.get(name) {
            None => changes.push(Change::Added {
                field: name.0.to_owned(),
            }),
            Some(old) => compare(name.0, old, value, &mut changes),
        }
    }
    let left: BTreeSet<_> = after.iter().map(|(name, _)| *name).collect();
    for (name, _) in before {
        if !left.contains(&name) {
            changes.push(Change::Removed {
                field: name.0.to_owned(),
            });
        }
    }
    if changes.is_empty() && old.key() != new.key() {
        // Same fields in another order.
        changes.push(Change::Text {
            field: "order of fields".to_owned(),
            old: None,
            new: None,
        });
    }
    changes
}

/// The fields in order, each named by its name and by how many of that name stand before it.
fn numbered(manifest: &KeyManifest) -> Vec<((&str, usize), &Value)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let fields = manifest.fields.iter();
    fields
        .map(|field| {
            let count = counts.entry(&field.name).or_default();
            *count += 1;
            ((field.name.as_str(), *count - 1), &field.value)
        })
        .collect()
}

fn compare(field: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let text = |field: String, old: Option<&String>, new: Option<&String>| Change::Text {
        field,
        old: old.cloned(),
        new: new.cloned(),
    };
    match (old, new) {
        (Value::Text(old), Value::Text(new)) => {
            if old != new {
                changes.push(text(field.to_owned(), Some(old), Some(new)));
            }
        }
        (Value::List(old), Value::List(new)) => {
            for at in 0..old.len().max(new.len()) {
                if old.get(at) != new.get(at) {
                    changes.push(text(format!("{field}[{at}]"), old.get(at), new.get(at)));
                }
            }
        }
        (Value::Map(old), Value::Map(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                if old.get(name) != new.get(name) {
                    changes.push(text(
                        format!("{field} {name}"),
                        old.get(name),
                        new.get(name),
                    ));
                }
            }
        }
        (Value::Files(old), Value::Files(new)) => {
            if old != new {
                changes.push(Change::Files {
                    field: field.to_owned(),
                    old: *old,
                    new: *new,
                });
            }
        }
        _ => changes.push(Change::Added {
            field: field.to_owned(),
        }),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema { old, new } => write!(f, "it was {old}, now it is {new}"),
            Self::Added { field } => write!(f, "{field} is new"),
            Self::Removed { field } => write!(f, "{field} is gone"),
            Self::Text {
                field,
                old: Some(old),
                new: Some(new),
            } => write!(f, "{field} changed: {old:?} -> {new:?}"),
            Self::Text {
                field,
                old: None,
                new: Some(new),
            } => write!(f, "{field} is new: {new:?}"),
            Self::Text {
                field,
                old: Some(old),
                new: None,
            } => write!(f, "{field} is gone: {old:?}"),
            Self::Text {
                field,
                old: None,
                new: None,
            } => write!(f, "{field} changed"),
            Self::Files { field, .. } => write!(f, "{field}: its files changed"),
        }
    }
}
