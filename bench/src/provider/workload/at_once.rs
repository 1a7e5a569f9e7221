//! Many things at the same time.

use std::sync::Arc;

use futures_util::future::try_join_all;

use crate::Error;
use crate::provider::code;
use crate::provider::site::Dispatchers;
use crate::provider::trial::{Cost, Setting, Trial};

use super::{Case, Limits, Row};

/// Activities of one turn.
pub(super) async fn fan_out(case: Case, width: u32, limits: Limits) -> Vec<Row> {
    let cost = one(case, code::FAN_OUT, width, limits).await;
    vec![Row::new(case, format!("fan-out of {width}"), "activity", cost)]
}

/// A parent with 5 children, each of one activity.
pub(super) async fn children(case: Case, limits: Limits) -> Vec<Row> {
    let cost = one(case, code::CHILDREN, 5, limits).await;
    vec![Row::new(case, "parent of 5", "child", cost)]
}

async fn one(case: Case, orchestration: &str, width: u32, limits: Limits) -> Result<Cost, Error> {
    let trial = Trial::start(case.setting, Arc::new(|_| {})).await?;
    let run = trial.complete("one", orchestration, width.into(), limits.workload);
    let cost = trial.cost(width.into(), run).await;
    trial.stop().await;
    cost
}

/// Dispatchers of a runtime with much to do at once.
pub(super) const FOUR: Dispatchers = Dispatchers { orchestration: 4, worker: 4 };

/// 20 chains of 10 with 4 dispatchers of each sort.
pub(super) async fn chains(mut case: Case, limits: Limits) -> Vec<Row> {
    case.setting.dispatchers = FOUR;
    vec![Row::new(case, "20 chains of 10", "step", concurrent(case.setting, limits).await)]
}

async fn concurrent(setting: Setting, limits: Limits) -> Result<Cost, Error> {
    let trial = Trial::start(setting, Arc::new(|_| {})).await?;
    let cost = twenty_chains(&trial, limits).await;
    trial.stop().await;
    cost
}

/// 20 chains of 10, from their starts to their ends.
pub(super) async fn twenty_chains(trial: &Trial, limits: Limits) -> Result<Cost, Error> {
    let names: Vec<String> = (0..20).map(|number| format!("chain-{number}")).collect();
    let all = names.iter().map(|name| trial.complete(name, code::CHAIN, 10, limits.workload));
    trial.cost(200.0, async { try_join_all(all).await.map(drop) }).await
}
