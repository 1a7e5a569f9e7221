//! The one native function scripts reach, through the prelude: document operations and the run's bookkeeping.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use rquickjs::function::Rest;
use rquickjs::{Array, Ctx, Exception, Function, IntoJs};

use super::bytecode::Bytecode;
use super::{Call, Collection, DocRef, PageOptions, ReadResult};
use crate::error::ServiceError;
use crate::value::Value;

/// Operations are refused (`isAccepted === false`) once this share of the time limit is used, so that a
/// script which stops then ends in time.
const ACCEPT_SHARE: f64 = 0.8;

/// A transaction while a script uses it.
pub(super) type SharedCollection = Rc<RefCell<dyn Collection>>;

/// The state of the current run, shared by the native function, the interrupt handler and the session.
#[derive(Default)]
pub(super) struct Host {
    collection: RefCell<Option<SharedCollection>>,
    /// When the run must be over; none outside of a run.
    deadline: Cell<Option<Instant>>,
    accept_until: Cell<Option<Instant>>,
    refuse_after: Cell<Option<u64>>,
    accepted: Cell<u64>,
    /// Sticky, so that a script that catches the interruption cannot go on.
    timed_out: Cell<bool>,
    aborted: RefCell<Option<(String, String)>>,
    /// Set while the collection works: still set after the run, it panicked. The engine turns a panic in the
    /// native function into a JavaScript exception, which a script could swallow.
    in_operation: Cell<bool>,
    logs: RefCell<Option<String>>,
    /// State of `Math.random`. The engine's own would be the same in every run.
    random: Cell<u64>,
    query_api: RefCell<Option<Bytecode>>,
}

impl Host {
    /// Starts the clock of a run. Nothing of an earlier one is left.
    pub(super) fn begin(&self, call: &Call, shared: SharedCollection) {
        // By name, so that no field is forgotten.
        let Self {
            collection,
            deadline,
            accept_until,
            refuse_after,
            accepted,
            timed_out,
            aborted,
            in_operation,
            logs,
            random,
            query_api: _,
        } = self;
        let now = Instant::now();
        collection.replace(Some(shared));
        deadline.set(now.checked_add(call.time_limit));
        accept_until.set(now.checked_add(call.time_limit.mul_f64(ACCEPT_SHARE)));
        refuse_after.set(call.refuse_after);
        accepted.set(0);
        timed_out.set(false);
        aborted.replace(None);
        in_operation.set(false);
        logs.replace(call.enable_logging.then(String::new));
        random.set(uuid::Uuid::new_v4().as_u64_pair().1);
    }

    /// Has the JavaScript query API at hand for a script that uses it.
    pub(super) fn offer_query_api(&self, script: Bytecode) {
        self.query_api.replace(Some(script));
    }

    /// Lets go of the transaction.
    pub(super) fn end(&self) {
        self.collection.replace(None);
    }

    /// Whether the time is up. Once it is, it stays so.
    pub(super) fn timed_out(&self) -> bool {
        if !self.timed_out.get() && self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            self.timed_out.set(true);
        }
        self.timed_out.get()
    }

    /// Whether no more JavaScript may run: time is up or the script called `abort`.
    pub(super) fn stopped(&self) -> bool {
        self.timed_out() || self.aborted.borrow().is_some()
    }

    /// Number and text of the error given to `abort`.
    pub(super) fn abort_reason(&self) -> Option<(String, String)> {
        self.aborted.borrow().clone()
    }

    /// Whether an operation of the collection panicked.
    pub(super) fn poisoned(&self) -> bool {
        self.in_operation.get()
    }

    /// What was logged.
    pub(super) fn take_logs(&self) -> Option<String> {
        self.logs.take()
    }

    /// The function for the prelude.
    pub(super) fn function<'js>(self: &Rc<Self>, ctx: &Ctx<'js>) -> rquickjs::Result<Function<'js>> {
        let host = Rc::clone(self);
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, arguments: Rest<String>| {
            host.call(&ctx, &arguments.0)
        })
    }

    fn call<'js>(&self, ctx: &Ctx<'js>, arguments: &[String]) -> rquickjs::Result<rquickjs::Value<'js>> {
        if self.stopped() {
            return Err(Exception::throw_message(ctx, "The script has ended."));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments.as_slice() {
            ["accept"] => self.accept().into_js(ctx),
            ["random"] => self.random().into_js(ctx),
            ["guid"] => uuid::Uuid::new_v4().to_string().into_js(ctx),
            ["queryApi"] => {
                let script = self.query_api.borrow().clone();
                script.ok_or(rquickjs::Error::Unknown)?.eval(ctx)
            }
            ["log", text] => {
                if let Some(logs) = self.logs.borrow_mut().as_mut() {
                    *logs = (*text).to_owned();
                }
                Ok(rquickjs::Value::new_undefined(ctx.clone()))
            }
            ["abort", number, text] => {
                self.aborted.replace(Some(((*number).to_owned(), (*text).to_owned())));
                Err(Exception::throw_message(ctx, "The script was aborted."))
            }
            operation => self.operate(operation)?.into_js(ctx),
        }
    }

    fn accept(&self) -> bool {
        let accepted = self.accepted.get();
        let refused = self.refuse_after.get().is_some_and(|most| accepted >= most)
            || self.accept_until.get().is_some_and(|until| Instant::now() >= until);
        if !refused {
            self.accepted.set(accepted + 1);
        }
        !refused
    }

    /// From 0 to below 1, by SplitMix64.
    fn random(&self) -> f64 {
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // A double has 53 bits.
        #[allow(clippy::cast_precision_loss)]
        let bits = ((mixed ^ (mixed >> 31)) >> 11) as f64;
        bits / (1_u64 << 53) as f64
    }

    fn operate(&self, operation: &[&str]) -> rquickjs::Result<Reply> {
        let Some(collection) = self.collection.borrow().clone() else {
            return Err(rquickjs::Error::Unknown);
        };
        let Ok(mut collection) = collection.try_borrow_mut() else {
            return Err(rquickjs::Error::Unknown);
        };
        self.in_operation.set(true);
        let result = perform(&mut *collection, operation);
        self.in_operation.set(false);
        match result {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(error)) => Ok(Reply::failure(&error)),
            None => Err(rquickjs::Error::Unknown),
        }
    }
}

/// Runs one document operation; none if the prelude and this file disagree.
fn perform(collection: &mut dyn Collection, operation: &[&str]) -> Option<Result<Reply, ServiceError>> {
    Some(match *operation {
        ["read", kind, key, etag] => {
            collection.read(&document(kind, key), given(etag)).map(|found| match found {
                ReadResult::Document(text) => Reply::new(200, text),
                ReadResult::NotModified => Reply::new(304, String::new()),
            })
        }
        ["feed", size, continuation] => collection.read_feed(&page(size, continuation)).map(Reply::page),
        ["query", text, parameters, size, continuation] => match parse_parameters(parameters) {
            Ok(parameters) => collection.query(text, parameters, &page(size, continuation)).map(Reply::page),
            Err(error) => Err(error),
        },
        ["create", body] => collection.create(body).map(|text| Reply::new(201, text)),
        ["upsert", body, etag] => collection.upsert(body, given(etag)).map(|text| Reply::new(200, text)),
        ["replace", kind, key, body, etag] => {
            collection.replace(&document(kind, key), body, given(etag)).map(|text| Reply::new(200, text))
        }
        ["delete", kind, key, etag] => {
            collection.delete(&document(kind, key), given(etag)).map(|()| Reply::new(204, String::new()))
        }
        _ => return None,
    })
}

fn document(kind: &str, key: &str) -> DocRef {
    if kind == "rid" { DocRef::Rid(key.to_owned()) } else { DocRef::Id(key.to_owned()) }
}

/// The prelude passes only strings; the empty one means "not given".
fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn page(size: &str, continuation: &str) -> PageOptions {
    PageOptions { page_size: size.parse().ok(), continuation: given(continuation).map(str::to_owned) }
}

fn parse_parameters(json: &str) -> Result<Vec<(String, Value)>, ServiceError> {
    let malformed =
        || ServiceError::bad_request("Message: {\"Errors\":[\"The query parameters are invalid.\"]}");
    let Ok(Value::Array(items)) = Value::parse(json.as_bytes()) else {
        return Err(malformed());
    };
    items
        .iter()
        .map(|item| {
            let name = item.get("name").as_str().ok_or_else(malformed)?;
            Ok((name.to_owned(), item.get("value").clone()))
        })
        .collect()
}

/// What an operation answers to the prelude: `[status, text, continuation]`.
struct Reply {
    status: u16,
    text: String,
    continuation: String,
}

impl Reply {
    fn new(status: u16, text: String) -> Self {
        Self { status, text, continuation: String::new() }
    }

    fn page(page: super::Page) -> Self {
        Self { status: 200, text: page.rows, continuation: page.continuation.unwrap_or_default() }
    }

    /// Scripts see the error's body without the wire's `Message: ` and activity id.
    fn failure(error: &ServiceError) -> Self {
        let body = error.message.split("\r\nActivityId").next().unwrap_or_default();
        let text = match body.strip_prefix("Message: ") {
            Some(json) => json.to_owned(),
            None => format!("{{\"Errors\":[{}]}}", Value::from(body).to_json()),
        };
        Self::new(error.status, text)
    }
}

impl<'js> IntoJs<'js> for Reply {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<rquickjs::Value<'js>> {
        let array = Array::new(ctx.clone())?;
        array.set(0, self.status)?;
        array.set(1, self.text)?;
        array.set(2, self.continuation)?;
        Ok(array.into_value())
    }
}
