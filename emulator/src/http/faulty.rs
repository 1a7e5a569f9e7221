//! Requests that a fault befalls, and the record of all requests.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::error::ServiceError;
use crate::faults::{DROPPED_STATUS, Plan, RequestRecord};

use super::headers;
use super::reply::Failure;
use super::request::Request;
use super::route::Operation;
use super::{Answer, Service};

/// What is remembered of a request on its way.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) operation: &'static str,
    pub(super) procedure: Option<String>,
    pub(super) faulted: bool,
}

impl Service {
    /// Carries out a request as `plan` has it.
    pub(super) async fn faulted(&self, plan: Plan, operation: Operation<'_>, request: &Request) -> Answer {
        if let Some(offset) = plan.clock_offset_ms {
            self.account.shared().clock.set_offset_ms(offset);
        }
        if !plan.latency.is_zero() {
            tokio::time::sleep(plan.latency).await;
        }
        if plan.drop_before {
            return Err(dropped());
        }
        if let Some((status, sub_status, retry_after)) = plan.status {
            let error = ServiceError::new(status, sub_status, "A fault that was asked of the emulator.");
            let failure = Failure::from(error);
            return Err(match retry_after {
                Some(time) => failure.header(headers::RETRY_AFTER_MS, &milliseconds(time)),
                None => failure,
            });
        }
        let answer = match plan.refuse_after {
            None => self.carry_out(operation, request).await,
            Some(_) => {
                let request = Request { refuse_after: plan.refuse_after, ..request.clone() };
                self.carry_out(operation, &request).await
            }
        };
        if plan.drop_after { Err(dropped().charge(super::units(&answer))) } else { answer }
    }

    /// Keeps the record of an answered request.
    pub(super) fn remember(
        &self,
        trace: Trace,
        method: &http::Method,
        path: &str,
        time: Duration,
        response: &Response<Bytes>,
    ) {
        if !self.requests.is_on() {
            return;
        }
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        self.requests.push(RequestRecord {
            number: 0,
            method: method.to_string(),
            path: path.to_owned(),
            operation: if trace.operation.is_empty() { "unsupported" } else { trace.operation },
            procedure: trace.procedure,
            status: response.status().as_u16(),
            sub_status: header(headers::SUB_STATUS).and_then(|text| text.parse().ok()).unwrap_or(0),
            request_units: header(headers::REQUEST_CHARGE).and_then(|text| text.parse().ok()).unwrap_or(0.0),
            milliseconds: time.as_secs_f64() * 1000.0,
            activity_id: header(headers::ACTIVITY_ID).unwrap_or_default().to_owned(),
            faulted: trace.faulted,
        });
    }
}

fn dropped() -> Failure {
    Failure::from(ServiceError::new(DROPPED_STATUS, 0, "The connection was dropped.")).charge(0.0)
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}
