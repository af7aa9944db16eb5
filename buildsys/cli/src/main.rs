//! The `tbuild` program.
fn main() {}
