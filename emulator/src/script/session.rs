//! One run of a script in an engine that knows nothing of the runs before.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rquickjs::context::intrinsic;
use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, Type, Value};
use serde_json::json;

use super::bytecode::{Bytecode, Cache, Keep};
use super::heap::{Heap, Lease};
use super::host::{Host, SharedCollection};
use super::{Call, Role, ScriptSyntax, failure};
use crate::error::ServiceError;

/// Memory of one run. A page of 4 MB is about ten times that as JavaScript values.
const MEMORY_LIMIT: usize = 128 << 20;
/// Garbage in cycles is collected beyond this: after most runs there is no need to.
const COLLECT_ABOVE: usize = 8 << 20;
/// Stack of the scripts; the threads have more, as document operations run on top of it.
const STACK_LIMIT: usize = 1 << 20;
/// The response limit, counted in UTF-16 units.
const MAX_BODY: usize = 4 << 20;
/// The limit of the log header, counted in UTF-16 units.
const MAX_LOG: usize = 16 << 10;

const LANGUAGE: &str = include_str!("language.js");
const PRELUDE: &str = include_str!("prelude.js");
const QUERY_API: &str = include_str!("query_api.js");
// Names that no script has, and that stack traces are cleaned of.
const LANGUAGE_FILE: &str = "<wrapper> language";
const PRELUDE_FILE: &str = "<wrapper>";
const QUERY_API_FILE: &str = "<wrapper> query api";
/// Where the entry points wait between preparing a session and running it.
const ENTRY: &str = "__docDbEntry";

/// What JavaScript may use: all of the language, but no performance clock and no weak references.
pub(super) type Intrinsics = (
    intrinsic::Eval,
    intrinsic::Date,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

/// What a run yields.
pub(super) struct Finished {
    pub(super) result: Result<String, ServiceError>,
    pub(super) logs: Option<String>,
    pub(super) cpu: Duration,
}

/// An engine with the server-side API in place, good for one run, and after [`Session::renew`] for another:
/// globals, pending promises and memory of one call can never reach the next.
pub(super) struct Session {
    // Values first, then the context, then the runtime: they are dropped in this order.
    _function: Persistent<Function<'static>>,
    context: Context,
    runtime: Runtime,
    heap: Rc<Heap>,
    host: Rc<Host>,
    /// In force while the script runs.
    pub(super) memory_limit: usize,
}

impl Session {
    /// An engine ready to run one script.
    pub(super) fn prepare(cache: &Cache) -> rquickjs::Result<Self> {
        let heap = Heap::new();
        let runtime = Runtime::new_with_alloc(Lease(Rc::clone(&heap)))?;
        runtime.set_max_stack_size(STACK_LIMIT);
        let host = Rc::new(Host::default());
        let watched = Rc::clone(&host);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.stopped())));
        let context = Context::custom::<Intrinsics>(&runtime)?;
        // What Rust owns must not die with a run that lets go of it.
        let function = context.with(|ctx| {
            let install = |file, source| install(&ctx, cache, file, source);
            let language: Object<'_> = install_language(&ctx, cache)?;
            let function = host.function(&ctx)?;
            let entry: Object<'_> = install(PRELUDE_FILE, PRELUDE)?.call((function.clone(), language))?;
            // Compiled here, where memory is not limited yet, and loaded when a script needs it.
            host.offer_query_api(wrapper(&ctx, cache, QUERY_API_FILE, QUERY_API)?);
            ctx.globals().set(ENTRY, entry)?;
            Ok::<_, rquickjs::Error>(Persistent::save(&ctx, function))
        })?;
        runtime.run_gc();
        runtime.set_gc_threshold(COLLECT_ABOVE);
        if !heap.keep() {
            return Err(rquickjs::Error::Allocation);
        }
        Ok(Self { _function: function, context, runtime, heap, host, memory_limit: MEMORY_LIMIT })
    }

    /// Makes the engine what it was after `prepare`. None when the last run broke more than its own state.
    #[allow(unsafe_code)]
    pub(super) fn renew(self) -> Option<Self> {
        if self.host.poisoned() {
            return None;
        }
        // SAFETY: `self` is ours alone, so nobody is inside of the context. Values cannot leave `Context::with`
        // except as `Persistent`, of which there is the one made before `keep`, still here.
        unsafe { self.heap.restore() };
        Some(self)
    }

    /// Runs `call` on `collection`, which nothing here keeps afterwards. To be called once before `renew`.
    pub(super) fn run(&self, cache: &Cache, call: &Call, collection: SharedCollection) -> Finished {
        let started = Instant::now();
        let settings = {
            let collection = collection.borrow();
            let (role, operation, response, quota, usage) = match &call.role {
                Role::Procedure => ("procedure", "", "", "", ""),
                Role::PreTrigger { operation } => ("pre", *operation, "", "", ""),
                Role::PostTrigger { operation, response, quota, usage } => {
                    ("post", *operation, response.as_str(), quota.as_str(), usage.as_str())
                }
            };
            json!({
                "file": format!("{}.js", call.script_id),
                "selfLink": collection.self_link(),
                "altLink": collection.alt_link(),
                "partitionKey": collection.partition_key_definition(),
                "logging": call.enable_logging,
                "clockOffset": call.clock_offset_ms,
                "maxBody": MAX_BODY,
                "maxLog": MAX_LOG,
                "refuseNewer": call.syntax == ScriptSyntax::Refuse,
                "role": role,
                "operation": operation,
                "response": response,
                "quota": quota,
                "usage": usage,
            })
            .to_string()
        };
        self.host.begin(call, collection);
        let script = self.context.with(|ctx| compile(&ctx, cache, &call.script_id, &call.body));
        self.runtime.set_memory_limit(self.memory_limit);
        self.heap.limit(2 * self.memory_limit);
        let result = script.and_then(|script| {
            self.context.with(|ctx| {
                let run = Run { ctx: &ctx, host: &self.host, call };
                let result = run.execute(&settings, &script);
                run.judge(result)
            })
        });
        self.host.end();
        Finished { result, logs: self.host.take_logs(), cpu: started.elapsed() }
    }
}

/// What one of the wrapper's files evaluates to.
pub(super) fn install<'js>(
    ctx: &Ctx<'js>,
    cache: &Cache,
    file: &str,
    source: &str,
) -> rquickjs::Result<Function<'js>> {
    wrapper(ctx, cache, file, source)?.eval(ctx)?.try_into_function().map_err(|_| rquickjs::Error::Unknown)
}

/// The compiled form of one of our own files.
fn wrapper(ctx: &Ctx<'_>, cache: &Cache, file: &str, source: &str) -> rquickjs::Result<Bytecode> {
    cache.compile(ctx, file, &Arc::default(), Keep::Places, || source.to_owned())
}

/// Shapes the language, and gives what the other files need of it.
pub(super) fn install_language<'js>(ctx: &Ctx<'js>, cache: &Cache) -> rquickjs::Result<Object<'js>> {
    install(ctx, cache, LANGUAGE_FILE, LANGUAGE)?.call(())
}

/// Compiles a script. Its source is spliced in as an expression, so that named and anonymous
/// functions and arrows all work.
pub(super) fn compile(
    ctx: &Ctx<'_>,
    cache: &Cache,
    id: &str,
    body: &Arc<str>,
) -> Result<Bytecode, ServiceError> {
    let source =
        || format!("(function __docDbMain() {{ var fn = {body}\n; return fn.apply(null, arguments); }})");
    // A file name with a NUL would be refused by the engine.
    let file = format!("{id}.js").replace('\0', "");
    cache.compile(ctx, &file, body, Keep::Source, source).map_err(|error| {
        let source = source();
        if !error.is_exception() {
            return failure::compile(&format!("SyntaxError: {error}"), None, &source);
        }
        let exception = ctx.catch();
        let Some(exception) = exception.as_exception() else {
            return failure::compile("SyntaxError", None, &source);
        };
        let name = exception.as_object().get::<_, String>("name").unwrap_or_else(|_| "Error".to_owned());
        let place = exception.stack().as_deref().and_then(failure::place_of);
        let message = exception.message().unwrap_or_default();
        failure::compile(&format!("{name}: {message}"), place, &source)
    })
}

/// A run in progress, inside its context.
struct Run<'a, 'js> {
    ctx: &'a Ctx<'js>,
    host: &'a Host,
    call: &'a Call,
}

/// The functions the prelude hands to the host.
struct Entry<'js> {
    start: Function<'js>,
    pump: Function<'js>,
    finish: Function<'js>,
    describe: Function<'js>,
}

impl<'js> Run<'_, 'js> {
    fn execute(&self, settings: &str, script: &Bytecode) -> Result<String, ServiceError> {
        let entry = self.enter(settings).map_err(|error| failure::internal(&error.to_string()))?;
        let arguments = self.arguments()?;
        let describe = |error| self.thrown(&entry, error);
        let main = script.eval(self.ctx).map_err(describe)?;
        entry.start.call::<_, ()>((main, arguments)).map_err(describe)?;
        loop {
            // Promises settle before the next operation, as they would between turns of an event loop.
            while !self.host.stopped() && self.ctx.execute_pending_job() {}
            if self.host.stopped() || !entry.pump.call::<_, bool>(()).map_err(describe)? {
                break;
            }
        }
        entry.finish.call(()).map_err(describe)
    }

    /// What happened behind the script's back counts more than how it ended.
    fn judge(&self, result: Result<String, ServiceError>) -> Result<String, ServiceError> {
        if self.host.poisoned() {
            return Err(failure::internal("an operation panicked"));
        }
        if let Some((number, text)) = self.host.abort_reason() {
            return Err(failure::thrown(&number, &text));
        }
        if self.host.timed_out() {
            return Err(failure::timeout());
        }
        result
    }

    /// Takes the entry points out of the script's sight and gives the prelude the call's settings.
    fn enter(&self, settings: &str) -> rquickjs::Result<Entry<'js>> {
        let globals = self.ctx.globals();
        let entry: Object<'js> = globals.get(ENTRY)?;
        globals.remove(ENTRY)?;
        entry.get::<_, Function<'js>>("begin")?.call::<_, ()>((settings,))?;
        Ok(Entry {
            start: entry.get("start")?,
            pump: entry.get("pump")?,
            finish: entry.get("finish")?,
            describe: entry.get("describe")?,
        })
    }

    /// The HTTP body as the value that is applied to the script: an object, or nothing.
    fn arguments(&self) -> Result<Value<'js>, ServiceError> {
        let Ok(text) = std::str::from_utf8(&self.call.arguments) else {
            return Err(failure::arguments("not UTF-8"));
        };
        if text.trim().is_empty() {
            return Ok(Value::new_undefined(self.ctx.clone()));
        }
        let Ok(value) = self.ctx.json_parse(text) else {
            self.ctx.catch();
            return Err(failure::arguments("not JSON"));
        };
        match value.type_of() {
            Type::Null | Type::Object | Type::Array => Ok(value),
            other => Err(failure::arguments(&format!("a {other} instead of an array"))),
        }
    }

    fn thrown(&self, entry: &Entry<'js>, error: rquickjs::Error) -> ServiceError {
        if !error.is_exception() {
            return failure::thrown("", &error.to_string());
        }
        let value = self.ctx.catch();
        match entry.describe.call::<_, Vec<String>>((value,)).as_deref() {
            Ok([number, text]) => failure::thrown(number, text),
            // A `toString` that itself throws.
            _ => {
                self.ctx.catch();
                failure::thrown("", "unknown")
            }
        }
    }
}
