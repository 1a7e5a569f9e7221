//! The REST interface: from an HTTP request to an operation on the store, and back.

mod account;
mod batch;
mod bulk;
mod change_feed;
mod containers;
mod control;
mod databases;
mod documents;
mod faulty;
mod feed;
mod headers;
mod offers;
mod patch;
mod pkranges;
mod query;
mod query_metrics;
mod query_plan;
mod reply;
mod request;
mod route;
mod scripts;
mod server;
mod throttle;
#[cfg(feature = "tls")]
mod tls;
mod triggers;

use std::sync::OnceLock;

use bytes::Bytes;
use http::Response;

use crate::auth::{MasterKey, Signed};
use crate::error::ServiceError;
use crate::faults::{RequestLog, Rules};
use crate::limits::MAX_REQUEST_BYTES;
use crate::script::Engine;
use crate::stats::Recorder;
use crate::store::{Account, Clock};

use faulty::Trace;
use reply::{Failure, Reply};
use request::Request;
use route::{Operation, Path};

pub(crate) use server::{Listener, Server, detached};
pub(crate) use throttle::Throttle;
#[cfg(feature = "tls")]
pub(crate) use tls::Tls;

/// The account with everything that serves it.
pub(crate) struct Service {
    pub(crate) account: Account,
    pub(crate) key: MasterKey,
    pub(crate) engine: Engine,
    pub(crate) stats: Recorder,
    pub(crate) faults: Rules,
    pub(crate) requests: RequestLog,
    /// Whether there is a control endpoint.
    pub(crate) control: bool,
    pub(crate) throttle: Throttle,
    /// The address that clients are told.
    pub(crate) endpoint: OnceLock<String>,
}

/// What came of a request.
type Answer = Result<Reply, Failure>;

impl Service {
    /// Answers a request; errors become answers as well.
    pub(crate) async fn handle(&self, request: http::Request<Bytes>) -> Response<Bytes> {
        let started = std::time::Instant::now();
        let (parts, body) = request.into_parts();
        let uri = parts.uri.path().to_owned();
        let request = Request { method: parts.method, headers: parts.headers, body, refuse_after: None };
        let activity_id = match request.header(headers::ACTIVITY_ID).map(uuid::Uuid::parse_str) {
            Some(Ok(id)) => id.to_string(),
            _ => uuid::Uuid::new_v4().to_string(),
        };
        let mut trace = Trace::default();
        let asked = if self.control { control::asked(&uri) } else { None };
        let controls = asked.is_some();
        let answer = if let Some(asked) = asked {
            self.control(&request.method, &asked, &request.body).await
        } else {
            self.answer(&uri, &request, &mut trace).await
        };
        let reply = match answer {
            Ok(reply) => reply,
            Err(failure) => failure.into_reply(&activity_id, &uri),
        };
        let time = started.elapsed();
        let milliseconds = time.as_secs_f64() * 1000.0;
        let reply = reply.header(headers::REQUEST_DURATION_MS, &format!("{milliseconds:.3}"));
        let response = reply.into_response(&activity_id);
        if !controls {
            self.remember(trace, &request.method, &uri, time, &response);
        }
        response
    }

    async fn answer(&self, uri: &str, request: &Request, trace: &mut Trace) -> Answer {
        let path = Path::parse(uri)?;
        self.authorize(&path, request)?;
        let segments = path.segments();
        let operation = Operation::resolve(&segments, request);
        let procedure = match operation {
            Operation::ExecuteProcedure(_, id) => Some(id),
            _ => None,
        };
        let plan = self.faults.plan(operation.name(), procedure, uri);
        trace.operation = operation.name();
        trace.faulted = plan.is_some();
        if self.requests.is_on() {
            trace.procedure = procedure.map(str::to_owned);
        }
        let answer = if plan.is_some() {
            Box::pin(self.faulted(plan, operation, request)).await
        } else {
            self.carry_out(operation, request).await
        };
        self.stats.record(operation.name(), procedure, units(&answer));
        answer
    }

    /// Carries the operation out, within the throughput of its container.
    async fn carry_out(&self, operation: Operation<'_>, request: &Request) -> Answer {
        if request.body.len() > MAX_REQUEST_BYTES {
            return Err(ServiceError::too_large().into());
        }
        self.check_intended_container(&operation, request)?;
        let permit = self.permit_request(&operation, request)?;
        // Boxed: the futures of some operations are large.
        let answer = Box::pin(self.dispatch(operation, request)).await;
        self.settle(permit, answer.as_ref().map_or_else(Failure::units, Reply::units));
        answer
    }

    /// Refuses work on another container than the one that a client found under the name before.
    fn check_intended_container(
        &self,
        operation: &Operation<'_>,
        request: &Request,
    ) -> Result<(), ServiceError> {
        let Some(intended) = request.header(headers::INTENDED_COLLECTION) else { return Ok(()) };
        let Some(container) = operation.data_path().and_then(|path| self.container(path).ok()) else {
            return Ok(());
        };
        if container.rid.text() == intended.trim() {
            return Ok(());
        }
        Err(ServiceError::new(
            400,
            1024,
            format!("The container has the _rid '{}', not '{intended}'.", container.rid.text()),
        ))
    }

    fn authorize(&self, path: &Path, request: &Request) -> Result<(), ServiceError> {
        let signed = Signed {
            verb: request.method.as_str(),
            resource_type: path.resource_type(),
            links: path.signed_links(),
            authorization: request.header(http::header::AUTHORIZATION.as_str()),
            x_ms_date: request.header(headers::DATE),
            date: request.header(http::header::DATE.as_str()),
        };
        self.key.verify(&signed, Clock::machine_ms())
    }

    async fn dispatch(&self, operation: Operation<'_>, request: &Request) -> Answer {
        match operation {
            Operation::ReadAccount => self.read_account(request),
            Operation::CreateDatabase => self.create_database(request).await,
            Operation::ListDatabases => self.list_databases(request),
            Operation::QueryDatabases => self.query_databases(request),
            Operation::ReadDatabase(id) => self.read_database(id, request),
            Operation::DeleteDatabase(id) => self.delete_database(id, request).await,
            Operation::CreateContainer(database) => self.create_container(database, request).await,
            Operation::ListContainers(database) => self.list_containers(database, request),
            Operation::QueryContainers(database) => self.query_containers(database, request),
            Operation::ReadContainer(path) => self.read_container(path, request),
            Operation::ReplaceContainer(path) => self.replace_container(path, request).await,
            Operation::DeleteContainer(path) => self.delete_container(path, request).await,
            Operation::ListRanges(path) => self.list_ranges(path, request),
            Operation::CreateDocument(path) => self.create_document(path, request).await,
            Operation::UpsertDocument(path) => self.upsert_document(path, request).await,
            Operation::Batch(path) => self.batch(path, request).await,
            Operation::QueryDocuments(path) => self.query_documents(path, request),
            Operation::ListDocuments(path) => self.list_documents(path, request),
            Operation::ReadDocument(path, id) => self.read_document(path, id, request),
            Operation::ReplaceDocument(path, id) => self.replace_document(path, id, request).await,
            Operation::PatchDocument(path, id) => self.patch_document(path, id, request).await,
            Operation::DeleteDocument(path, id) => self.delete_document(path, id, request).await,
            Operation::CreateScript(kind, path) => self.create_script(kind, path, request).await,
            Operation::ListScripts(kind, path) => self.list_scripts(kind, path, request),
            Operation::QueryScripts(kind, path) => self.query_scripts(kind, path, request),
            Operation::ReadScript(kind, path, id) => self.read_script(kind, path, id, request),
            Operation::ReplaceScript(kind, path, id) => self.replace_script(kind, path, id, request).await,
            Operation::DeleteScript(kind, path, id) => self.delete_script(kind, path, id, request).await,
            Operation::ExecuteProcedure(path, id) => self.execute_procedure(path, id, request).await,
            Operation::ListOffers => self.list_offers(request),
            Operation::QueryOffers => self.query_offers(request),
            Operation::ReadOffer(id) => self.read_offer(id),
            Operation::ReplaceOffer(id) => self.replace_offer(id, request).await,
            Operation::ChangeFeed(path) => self.change_feed(path, request),
            Operation::QueryPlan(path) => self.query_plan(path, request),
            Operation::Unsupported(what) => Err(unsupported(what).into()),
            Operation::Unknown => Err(ServiceError::new(
                405,
                0,
                format!("The requested verb '{}' is not supported for this resource.", request.method),
            )
            .into()),
        }
    }
}

/// The request units of an answer.
fn units(answer: &Answer) -> f64 {
    match answer {
        Ok(reply) => reply.units(),
        Err(failure) => failure.units(),
    }
}

/// 501 for what the service has and the emulator has not.
fn unsupported(what: &str) -> ServiceError {
    ServiceError::new(501, 0, format!("The emulator does not support {what} yet."))
}
