//! The `fizz` command.
fn main() {}
