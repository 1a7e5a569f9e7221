//! The `cosmos-emulator` program.
fn main() {}
