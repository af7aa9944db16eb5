//! TOML values that know where they stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use tbuild_dockerfile::{Diagnostic, Origin, Span};
use toml::Spanned as TomlSpanned;
use toml::de::{DeString, DeTable, DeValue};

/// Where something stands: in tbuild.toml, or in the text of a flag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Bytes of tbuild.toml, or of `origin`'s text.
    pub span: Span,
    /// The flag, if it does not stand in the file.
    pub origin: Option<Arc<Origin>>,
}

impl Place {
    /// In tbuild.toml.
    pub fn file(span: impl Into<Span>) -> Self {
        Self {
            span: span.into(),
            origin: None,
        }
    }

    /// An error about what stands here.
    pub fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.locate(Diagnostic::error(code, self.span, message))
    }

    /// A warning about what stands here.
    pub fn warning(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.locate(Diagnostic::warning(code, self.span, message))
    }

    fn locate(&self, diagnostic: Diagnostic) -> Diagnostic {
        match &self.origin {
            Some(origin) => diagnostic.in_text(Origin::clone(origin)),
            None => diagnostic,
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Spanned<T> {
    /// Puts them together.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }

    /// The same place with another value.
    pub(crate) fn map<U>(self, map: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: map(self.value),
            place: self.place,
        }
    }
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value of TOML. Numbers and dates keep their spelling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    String(String),
    /// Spelling, underscores left out, and radix.
    Integer(String, u32),
    Float(String),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, for "takes a string, not …".
    pub fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(..) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// A value with its place.
pub(crate) type Node = Spanned<Value>;

/// A value of a table, and where its key stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub key: Place,
    pub node: Node,
}

/// A table by key.
pub(crate) type Table = BTreeMap<String, Entry>;

/// Takes over what the TOML parser gives; `place` says where a range of its text stands.
pub(crate) fn table(table: DeTable<'_>, place: &dyn Fn(std::ops::Range<usize>) -> Place) -> Table {
    let entries = table.into_iter().map(|(key, value)| {
        let entry = Entry {
            key: place(key.span()),
            node: node(value, place),
        };
        (DeString::into_owned(key.into_inner()), entry)
    });
    entries.collect()
}

/// The same for one value.
pub(crate) fn node(
    value: TomlSpanned<DeValue<'_>>,
    place: &dyn Fn(std::ops::Range<usize>) -> Place,
) -> Node {
    let at = place(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(number.as_str().to_owned(), number.radix()),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| node(item, place)).collect())
        }
        DeValue::Table(items) => Value::Table(table(items, place)),
    };
    Spanned::new(value, at)
}
