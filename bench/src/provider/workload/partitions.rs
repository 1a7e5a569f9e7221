//! Many physical partitions: what looking for work in all of them adds.

use std::sync::Arc;

use crate::Error;
use crate::provider::counts::total;
use crate::provider::trial::{Cost, Trial};

use super::{Case, Limits, Row, at_once, idle};

/// The same work, then none, on so many physical partitions.
pub(super) async fn run(mut case: Case, limits: Limits) -> Vec<Row> {
    case.setting.dispatchers = at_once::FOUR;
    let (busy, idle) = match measure(case, limits).await {
        Ok((busy, idle)) => (Ok(busy), Ok(idle)),
        Err(error) => (Err(Error::Other(error.to_string())), Err(error)),
    };
    vec![
        Row::new(case, "20 chains of 10, many partitions", "step", busy),
        Row::new(case, "idle, many partitions", "second", idle),
    ]
}

async fn measure(case: Case, limits: Limits) -> Result<(Cost, Cost), Error> {
    let trial = Trial::start(case.setting, Arc::new(|_| {})).await?;
    let costs = async {
        let busy = at_once::twenty_chains(&trial, limits).await?;
        Ok((with_share(busy), with_share(idle::watch(&trial, limits).await?)))
    };
    let costs = costs.await;
    trial.stop().await;
    costs
}

/// Notes how much of it were queries: nothing but looks for work, outboxes and sessions, all partitions each.
fn with_share(mut cost: Cost) -> Cost {
    let queries = cost.by_operation.get("query").copied().unwrap_or_default();
    let share = 100.0 * queries.units / total(&cost.by_operation).units;
    cost.note = Some(format!("queries: {} requests, {share:.0} % of the RU", queries.requests));
    cost
}
