//! Key manifests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tbuild_digest::{ActionKey, ContentHash, Encoder, TreeDigest};

/// Everything that decides a node's outputs, field by field, in an order fixed by the node's kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyManifest {
    /// What the fields mean, with the version of that meaning: `step.run/1`.
    pub schema: String,
    /// The fields in order.
    pub fields: Vec<Field>,
}

/// One thing that the key covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, in words that users know: `command`, `COPY source app/`, `base`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A text.
    Text(String),
    /// Several texts in order.
    List(Vec<String>),
    /// Texts by name.
    Map(BTreeMap<String, String>),
    /// The digest of a tree of files. Which file it was that changed, a listing kept by digest tells.
    Files(TreeDigest),
}

impl KeyManifest {
    /// A manifest with no fields yet.
    pub fn new(schema: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            fields: Vec::new(),
        }
    }

    /// Adds a text.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers hand over what they just made"
    )]
    pub fn text(self, name: impl Into<String>, value: impl ToString) -> Self {
        self.field(name, Value::Text(value.to_string()))
    }

    /// Adds a list.
    #[must_use]
    pub fn list<T: ToString>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        self.field(
            name,
            Value::List(values.into_iter().map(|value| value.to_string()).collect()),
        )
    }

    /// Adds a map.
    #[must_use]
    pub fn map(self, name: impl Into<String>, values: BTreeMap<String, String>) -> Self {
        self.field(name, Value::Map(values))
    }

    /// Adds files by digest.
    #[must_use]
    pub fn files(self, name: impl Into<String>, digest: TreeDigest) -> Self {
        self.field(name, Value::Files(digest))
    }

    /// Adds any value.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: Value) -> Self {
        self.fields.push(Field {
            name: name.into(),
            value,
        });
        self
    }

    /// The key: the hash of all of it.
    pub fn key(&self) -> ActionKey {
        ActionKey(self.content_digest())
    }
}

impl ContentHash for KeyManifest {
    fn hash_content(&self, encoder: &mut Encoder) {
        self.schema.hash_content(encoder);
        self.fields.hash_content(encoder);
    }
}

impl ContentHash for Field {
    fn hash_content(&self, encoder: &mut Encoder) {
        self.name.hash_content(encoder);
        self.value.hash_content(encoder);
    }
}

impl ContentHash for Value {
    fn hash_content(&self, encoder: &mut Encoder) {
        match self {
            Self::Text(text) => {
                encoder.tag(0);
                text.hash_content(encoder);
            }
            Self::List(values) => {
                encoder.tag(1);
                values.hash_content(encoder);
            }
            Self::Map(values) => {
                encoder.tag(2);
                values.hash_content(encoder);
            }
            Self::Files(digest) => {
                encoder.tag(3);
                digest.hash_content(encoder);
            }
        }
    }
}
