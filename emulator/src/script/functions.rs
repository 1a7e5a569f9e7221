//! User-defined functions: called by the query engine for each document, on the thread of the query.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime};

use crate::error::ServiceError;
use crate::value::Value;

use super::bytecode::{Bytecode, Cache};
use super::session::{Intrinsics, compile, install, install_language};
use super::{ScriptSyntax, failure};

/// Memory of one query's functions.
const MEMORY_LIMIT: usize = 64 << 20;
/// Stack of the functions. Queries run on threads that others size: two megabytes are usual.
const STACK_LIMIT: usize = 256 << 10;

const FUNCTIONS: &str = include_str!("functions.js");
const FUNCTIONS_FILE: &str = "<wrapper> functions";

/// An engine for the functions of one query. It must stay on its thread.
pub(crate) struct Functions {
    // Values first and the runtime last: they are dropped in this order.
    compiled: HashMap<String, Persistent<Function<'static>>>,
    call: Persistent<Function<'static>>,
    describe: Persistent<Function<'static>>,
    context: Context,
    runtime: Runtime,
    deadline: Instant,
    cache: Arc<Cache>,
}

impl Functions {
    /// An engine whose calls must all be over at `deadline`; `cache` keeps what it compiles.
    ///
    /// # Errors
    /// 500 when the engine cannot be set up.
    pub(crate) fn prepare(
        deadline: Instant,
        clock_offset_ms: i64,
        syntax: ScriptSyntax,
        cache: Arc<Cache>,
    ) -> Result<Self, ServiceError> {
        Self::create(deadline, clock_offset_ms, syntax, cache)
            .map_err(|error| failure::internal(&error.to_string()))
    }

    fn create(
        deadline: Instant,
        clock_offset_ms: i64,
        syntax: ScriptSyntax,
        cache: Arc<Cache>,
    ) -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_max_stack_size(STACK_LIMIT);
        let context = Context::custom::<Intrinsics>(&runtime)?;
        let (call, describe) = context.with(|ctx| {
            let language = install_language(&ctx, &cache)?;
            let entry: Object<'_> = install(&ctx, &cache, FUNCTIONS_FILE, FUNCTIONS)?.call((language,))?;
            // Milliseconds of a test's clock are far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            let offset = clock_offset_ms as f64;
            let refuse = syntax == ScriptSyntax::Refuse;
            entry.get::<_, Function<'_>>("begin")?.call::<_, ()>((offset, refuse))?;
            let keep = |name: &str| {
                entry.get::<_, Function<'_>>(name).map(|function| Persistent::save(&ctx, function))
            };
            Ok::<_, rquickjs::Error>((keep("call")?, keep("describe")?))
        })?;
        runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() >= deadline)));
        runtime.set_memory_limit(MEMORY_LIMIT);
        Ok(Self { compiled: HashMap::new(), call, describe, context, runtime, deadline, cache })
    }

    /// Calls the function `id`; also tells how long it took.
    ///
    /// # Errors
    /// 400/65535 when it does not compile, 400 with the error's number for what it throws, 408 after the deadline.
    pub(crate) fn call(
        &mut self,
        id: &str,
        body: &Arc<str>,
        arguments: &[Value],
    ) -> (Result<Value, ServiceError>, Duration) {
        let started = Instant::now();
        let context = self.context.clone();
        let result = self
            .script(id, body)
            .and_then(|script| context.with(|ctx| self.call_in(&ctx, id, script.as_ref(), arguments)));
        // A function that catches the interruption must not go on with a result either.
        let result = if Instant::now() >= self.deadline { Err(failure::timeout()) } else { result };
        (result, started.elapsed())
    }

    /// The compiled form of a function that has not been called yet.
    fn script(&self, id: &str, body: &Arc<str>) -> Result<Option<Bytecode>, ServiceError> {
        if self.compiled.contains_key(id) {
            return Ok(None);
        }
        // Without a limit, because of what [`Cache::compile`] says: others get this form, too.
        self.runtime.set_memory_limit(usize::MAX);
        let script = self.context.with(|ctx| compile(&ctx, &self.cache, id, body));
        self.runtime.set_memory_limit(MEMORY_LIMIT);
        script.map(Some)
    }

    fn call_in(
        &mut self,
        ctx: &Ctx<'_>,
        id: &str,
        script: Option<&Bytecode>,
        arguments: &[Value],
    ) -> Result<Value, ServiceError> {
        let function = self.function(ctx, id, script)?;
        let texts: Vec<String> = arguments
            .iter()
            .map(|value| if matches!(value, Value::Undefined) { String::new() } else { value.to_json() })
            .collect();
        let call = self.call.clone().restore(ctx);
        let text = call.and_then(|call| call.call::<_, String>((function, texts)));
        let text = text.map_err(|error| self.thrown(ctx, id, &error))?;
        if text.is_empty() {
            return Ok(Value::Undefined);
        }
        Value::parse(text.as_bytes()).map_err(|error| failure::internal(&error.to_string()))
    }

    fn function<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        id: &str,
        script: Option<&Bytecode>,
    ) -> Result<Function<'js>, ServiceError> {
        let internal = |error: rquickjs::Error| failure::internal(&error.to_string());
        let Some(script) = script else {
            let known = self.compiled.get(id).cloned().ok_or(rquickjs::Error::Unknown);
            return known.and_then(|known| known.restore(ctx)).map_err(internal);
        };
        let function = script
            .eval(ctx)
            .and_then(|value| value.try_into_function().map_err(|_| rquickjs::Error::Unknown))
            .map_err(|error| self.thrown(ctx, id, &error))?;
        self.compiled.insert(id.to_owned(), Persistent::save(ctx, function.clone()));
        Ok(function)
    }

    fn thrown(&self, ctx: &Ctx<'_>, id: &str, error: &rquickjs::Error) -> ServiceError {
        if !error.is_exception() {
            return failure::thrown("", &error.to_string());
        }
        let value = ctx.catch();
        let describe = self.describe.clone().restore(ctx);
        let described =
            describe.and_then(|describe| describe.call::<_, Vec<String>>((value, format!("{id}.js"))));
        match described.as_deref() {
            Ok([number, text]) => failure::thrown(number, text),
            // A `toString` that itself throws.
            _ => {
                ctx.catch();
                failure::thrown("", "unknown")
            }
        }
    }
}
