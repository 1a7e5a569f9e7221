//! `include_dir!` notices edits to files it knows, not new ones: have Cargo watch the folders.

fn main() {
    println!("cargo::rerun-if-changed=sprocs");
    println!("cargo::rerun-if-changed=migrations");
}
