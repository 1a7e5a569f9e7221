//! A fixed number of cases of each target.

use super::{headers, procedures, sql};

/// Bytes of a case: enough for the largest that the generators make of them.
const CASE_BYTES: usize = 400;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not '{text}'")))
}

/// Prints how to run the case again if it panics.
struct Case {
    target: &'static str,
    seed: u64,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, seed } = self;
            eprintln!(
                "again: COSMOS_FUZZ_SEED={seed} COSMOS_FUZZ_CASES=1 cargo test -p cosmos-emulator --lib fuzz::tests::{target}"
            );
        }
    }
}

/// SplitMix64: the same bytes for the same seed, and seeds that follow each other have nothing in common.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..CASE_BYTES / 8).flat_map(|_| next()).collect()
}

/// Runs a target, and counts the cases that the target says got somewhere.
fn run(target: &'static str, cases: u64, case: impl Fn(&[u8]) -> bool) {
    let (cases, first) =
        (setting("COSMOS_FUZZ_CASES").unwrap_or(cases), setting("COSMOS_FUZZ_SEED").unwrap_or(0));
    let mut useful = 0;
    for seed in first..first.saturating_add(cases) {
        let named = Case { target, seed };
        useful += u64::from(case(&bytes(seed)));
        drop(named);
    }
    // Else the generator is no good.
    assert!(cases < 100 || useful > cases / 5, "{target}: only {useful} of {cases} cases got somewhere");
}

#[test]
fn sql_parser() {
    run("sql_parser", 6_000, sql);
}

#[test]
fn header_parsing() {
    run("header_parsing", 500, headers);
}

#[test]
fn procedure_host() {
    run("procedure_host", 200, procedures);
}
