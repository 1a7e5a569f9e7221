//! Tests only: the official Rust SDK against the emulator.
