//! One binary for all integration tests of the provider. Each test has a container of its own, on an emulator
//! in this process or, with `COSMOS_ENDPOINT` and `COSMOS_KEY` set (or in `.env`), on that account.

// A panic is how a test fails.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod support;

mod answers;
mod bad_input;
mod clocks;
mod deletion;
mod delivery;
mod faults;
mod hand_off;
mod lengths;
mod locks;
mod outage;
mod processes;
mod prune;
mod queues;
mod refusals;
mod round_trips;
mod scale;
mod scenarios;
mod session;
mod shutdown;
mod sizes;
mod staged;
mod start_up;
mod starvation;
mod storms;
mod validation;
mod workflows;
