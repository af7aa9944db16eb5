//! TOML values that know where they stand.

use std::collections::BTreeMap;
use std::ops::Range;

use tbuild_dockerfile::Diagnostic;
use toml::de::{DeTable, DeValue};

use crate::problem::at;

/// Bytes of the text.
pub type Span = Range<usize>;

/// A value and where it stands; values of `--set` stand at 0..0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub kind: Kind,
    pub span: Span,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Array(Vec<Value>),
    Table(Table),
}

/// Keys with where they stand.
pub(crate) type Table = BTreeMap<String, (Span, Value)>;

impl Kind {
    /// What it is called in messages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Table, Diagnostic> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        at(span, error.message().to_owned())
    })?;
    table_of(table.into_inner())
}

fn table_of(table: DeTable<'_>) -> Result<Table, Diagnostic> {
    table
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            let name = key.into_inner().into_owned();
            let place = value.span();
            Ok((name, (span, value_of(value.into_inner(), place)?)))
        })
        .collect()
}

fn value_of(value: DeValue<'_>, span: Span) -> Result<Value, Diagnostic> {
    let wrong = |what: &str| at(span.clone(), format!("{what} cannot be read"));
    let kind = match value {
        DeValue::String(text) => Kind::String(text.into_owned()),
        DeValue::Integer(number) => Kind::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| wrong("the integer"))?,
        ),
        DeValue::Float(number) => {
            Kind::Float(number.as_str().parse().map_err(|_| wrong("the number"))?)
        }
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Datetime(_) => {
            return Err(at(span, "a date is not expected here").with_hint("quote it"));
        }
        DeValue::Array(values) => {
            let values = values.into_iter().map(|value| {
                let place = value.span();
                value_of(value.into_inner(), place)
            });
            Kind::Array(values.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Kind::Table(table_of(table)?),
    };
    Ok(Value { kind, span })
}

impl Value {
    /// The value as JSON, for chart values.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            Kind::String(text) => text.clone().into(),
            Kind::Integer(number) => (*number).into(),
            Kind::Float(number) => (*number).into(),
            Kind::Bool(value) => (*value).into(),
            Kind::Array(values) => values.iter().map(Self::to_json).collect(),
            Kind::Table(table) => table
                .iter()
                .map(|(name, (_, value))| (name.clone(), value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}
