//! duroxide's own stress tests.

use std::sync::Arc;

use duroxide::provider_stress_tests::large_payload::{
    LargePayloadConfig, run_large_payload_test_with_config,
};
use duroxide::provider_stress_tests::parallel_orchestrations::{
    ProviderStressFactory, run_parallel_orchestrations_test_with_config,
};
use duroxide::provider_stress_tests::{StressTestConfig, StressTestResult};
use duroxide::providers::Provider;

use crate::Error;
use crate::provider::counts::since;
use crate::provider::site::Site;
use crate::provider::trial::Cost;

use super::{Case, Limits, Row};

/// The one provider that a test is given.
struct Given(Arc<dyn Provider>);

#[async_trait::async_trait]
impl ProviderStressFactory for Given {
    async fn create_provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.0)
    }
}

/// Fan-outs of five, 20 at a time.
pub(super) async fn parallel(case: Case, limits: Limits) -> Vec<Row> {
    let config = StressTestConfig { duration_secs: limits.span.as_secs(), ..StressTestConfig::default() };
    let cost = stress(case, async |given| {
        // The error is neither Send nor of use beyond its text.
        let done = run_parallel_orchestrations_test_with_config(given, config).await;
        done.map_err(Error::other)
    });
    vec![Row::new(case, "stress: parallel", "orchestration", cost.await)]
}

/// Activities and children with payloads of 10 to 100 KB, 5 parents at a time.
pub(super) async fn payload(case: Case, limits: Limits) -> Vec<Row> {
    let mut config = LargePayloadConfig::default();
    config.base.duration_secs = limits.span.as_secs();
    let cost = stress(case, async |given| {
        let done = run_large_payload_test_with_config(given, config).await;
        done.map_err(Error::other)
    });
    vec![Row::new(case, "stress: large payload", "orchestration", cost.await)]
}

async fn stress(
    case: Case,
    test: impl AsyncFnOnce(&Given) -> Result<StressTestResult, Error>,
) -> Result<Cost, Error> {
    let site = Site::start(case.setting.kind, case.setting.partitions).await?;
    let given = Given(site.address().open(case.setting.dispatchers).await?);
    let before = site.by_operation();
    let result = test(&given).await;
    let by_operation = since(&before, site.by_operation());
    drop(given);
    site.stop().await;
    let result = result?;
    if result.completed == 0 {
        return Err(Error::Other(format!("none of {} orchestrations completed", result.launched)));
    }
    // Far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let count = result.completed as f64;
    let note = format!("{} of {} completed", result.completed, result.launched);
    Ok(Cost { count, by_operation, elapsed: result.total_time, idle: None, note: Some(note) })
}
