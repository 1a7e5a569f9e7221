//! Storms of refusals over running workflows: all of them complete, nothing is lost or done twice.

use std::sync::Arc;
use std::time::Duration;

use cosmos_emulator::{Fault, FaultRule};
use duroxide_cosmos::CosmosDBProvider;

use crate::support;
use crate::support::workload::Workload;

/// What the service says in a storm, and when to come back.
type Refusal = (u16, u32, Option<u64>);

/// Workflows in all, some of them begun in each storm.
const WORKFLOWS: usize = 10;

/// Refuses every request for `long` while workflows are under way.
async fn storm(refusals: &[Refusal], long: Duration) {
    let (emulator, config) = support::emulated(2).await;
    let provider = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a provider"));
    let mut workload = Workload::start(&provider).await;
    for (status, sub_status, retry_after) in refusals {
        workload.launch(WORKFLOWS.div_ceil(refusals.len())).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let retry_after = retry_after.map(Duration::from_millis);
        let fault = Fault::Status { status: *status, sub_status: *sub_status, retry_after };
        let rule = emulator.faults().add(FaultRule::new(fault));
        tokio::time::sleep(long).await;
        assert!(emulator.faults().applied(rule) > Some(0), "the case under test");
        emulator.faults().remove(rule);
    }
    let patience = Duration::from_secs(60);
    let effects = workload.finish(patience).await;
    if long < Duration::from_secs(20) {
        // Shorter than an activity's lock.
        assert!(effects.values().all(|runs| *runs == 1), "{effects:?}");
    }
    emulator.shutdown().await;
}

/// Longer than the lock of a turn: some turns are done again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_for_seconds() {
    storm(&[(429, 3200, Some(300))], Duration::from_secs(7)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unwell_in_every_way() {
    let refusals = [
        (449, 0, None),
        (408, 0, None),
        (410, 1000, None),
        (410, 1002, None),
        (410, 1007, None),
        (410, 1008, None),
        (500, 0, None),
        (502, 0, None),
        (503, 0, None),
        (404, 1002, None),
    ];
    storm(&refusals, Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: cargo test --test it throttled_for_half_a_minute -- --ignored"]
async fn throttled_for_half_a_minute() {
    storm(&[(429, 3200, Some(1000))], Duration::from_secs(30)).await;
}
