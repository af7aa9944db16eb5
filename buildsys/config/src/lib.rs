//! tbuild.toml: parsed with spans, checked, and resolved by profile.
