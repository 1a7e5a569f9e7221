//! The same random calls on this provider and on duroxide's own SQLite provider, with the same answers wherever
//! the contract fixes them. A sequence that fails is shortened and printed; its seed is fixed, so it fails again.
//!
//! `DIFFERENTIAL_CASES` and `DIFFERENTIAL_SEED` make it long and different; see docs/ARCHITECTURE.md.
#![cfg(test)]

mod answers;
mod ops;
mod pair;
mod turn;

use std::time::{Duration, Instant};

use cosmos_emulator::Emulator;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::runtime::Runtime;

use ops::Op;

/// Operations of one sequence, at most.
const LONGEST: usize = 150;

/// How long a failing sequence is shortened.
const PATIENCE: Duration = Duration::from_secs(60);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn both_providers_answer_alike() {
    let runtime = Runtime::new().expect("a runtime");
    let emulator = runtime.block_on(pair::emulator());
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&setting("DIFFERENTIAL_SEED", 1).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    for case in 1..=setting("DIFFERENTIAL_CASES", 40) {
        let ops = vec(ops::op(), LONGEST / 2..LONGEST).new_tree(&mut runner).expect("a sequence").current();
        let Err(difference) = runtime.block_on(pair::compare(&emulator, &ops)) else { continue };
        let (ops, difference) = shortened(&runtime, &emulator, ops, difference);
        let list: Vec<String> = ops.iter().map(|op| format!("{op:?}")).collect();
        panic!("sequence {case} differs at {difference}\nshortened:\n{}", list.join("\n"));
    }
}

/// Leaves out what is not needed for the failure: large parts first, then smaller ones. (proptest's own way,
/// which simplifies each operation too, takes many times as many runs.)
fn shortened(
    runtime: &Runtime,
    emulator: &Emulator,
    mut ops: Vec<Op>,
    mut difference: String,
) -> (Vec<Op>, String) {
    let started = Instant::now();
    let mut size = ops.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < ops.len() && started.elapsed() < PATIENCE {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + size).min(ops.len()));
            match runtime.block_on(pair::compare(emulator, &fewer)) {
                Ok(()) => at += size,
                Err(found) => (ops, difference) = (fewer, found),
            }
        }
        size /= 2;
    }
    (ops, difference)
}
