//! What befalls an account while workflows run: storms of refusals, splits, procedures that go missing. All workflows complete, nothing is lost or done twice.

use std::sync::Arc;
use std::time::Duration;

use cosmos_emulator::{Fault, FaultRule};
use duroxide::providers::ProviderAdmin;
use duroxide_cosmos::CosmosDBProvider;

use crate::support::workload::Workload;
use crate::support::{self, Container};

/// What the service says in a storm, and when to come back.
type Refusal = (u16, u32, Option<u64>);

const PATIENCE: Duration = Duration::from_secs(60);

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
        // Workflows may just be waiting for their timers.
        while emulator.faults().applied(rule) == Some(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        emulator.faults().remove(rule);
    }
    let effects = workload.finish(PATIENCE).await;
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

/// One physical partition becomes two, then four.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_split() {
    let (emulator, config) = support::emulated(1).await;
    let provider = CosmosDBProvider::new_with_config(config.clone()).await.expect("a provider");
    let provider = Arc::new(provider);
    let mut workload = Workload::start(&provider).await;
    let (mut ranges, mut split) = (vec![0], 0);
    for round in 0..3 {
        workload.launch(4).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if round == 2 {
            break;
        }
        for range in std::mem::take(&mut ranges) {
            let (low, high) =
                emulator.split(&config.database, &config.container, range).await.expect("two of one");
            ranges.extend([low, high]);
            split += 1;
        }
    }
    assert_eq!((ranges.len(), split), (4, 3));
    let effects = workload.finish(PATIENCE).await;
    assert!(effects.values().all(|runs| *runs == 1), "{effects:?}");
    let done = provider.list_instances_by_status("Completed").await.expect("instances");
    assert_eq!(done.len(), 24, "each with a child: {done:?}");
    emulator.shutdown().await;
}

/// Somebody deletes the procedures while workflows run: they are deployed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn procedures_go_missing() {
    let (emulator, config) = support::emulated(1).await;
    let container = Container::of(&config);
    let provider = Arc::new(CosmosDBProvider::new_with_config(config).await.expect("a provider"));
    let mut workload = Workload::start(&provider).await;
    for _ in 0..3 {
        workload.launch(2).await;
        for id in container.procedures().await {
            container.delete_procedure(&id).await;
        }
    }
    let effects = workload.finish(PATIENCE).await;
    assert!(effects.values().all(|runs| *runs == 1), "{effects:?}");
    emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: cargo test --test it throttled_for_half_a_minute -- --ignored"]
async fn throttled_for_half_a_minute() {
    storm(&[(429, 3200, Some(1000))], Duration::from_secs(30)).await;
}
