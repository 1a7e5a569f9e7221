//! Compiled scripts, so that source is parsed once and not at every call.
//!
//! The bindings have no safe way to load a compiled script, so this module calls the engine itself. Loading is not
//! validated by the engine, which is why a [`Bytecode`] can be made by [`compile`] alone and never comes from a
//! disk or a network.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rquickjs::{Ctx, Error, Value, qjs};

/// Source above this is not worth keeping the compiled form of.
const CACHED_BYTES: usize = 64 << 20;

/// What a compiled script keeps of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it, for `toString` of its functions.
    Source,
    /// File and lines, for stack traces.
    Places,
}

/// A script compiled by this process.
#[derive(Clone)]
pub(super) struct Bytecode(Arc<[u8]>);

/// The compiled form of the scripts that ran, by file name and source.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    scripts: HashMap<(String, Arc<str>), Bytecode>,
    bytes: usize,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// The compiled form of a script in sloppy mode; `source` makes the text to compile from `body` if it is
    /// not known yet.
    ///
    /// The context must have no memory limit: when the engine runs out of memory here it may write a
    /// truncated form and call it a success.
    pub(super) fn compile(
        &self,
        ctx: &Ctx<'_>,
        file: &str,
        body: &Arc<str>,
        keep: Keep,
        source: impl FnOnce() -> String,
    ) -> rquickjs::Result<Bytecode> {
        let key = (file.to_owned(), Arc::clone(body));
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).scripts.get(&key).cloned();
        if let Some(bytecode) = known {
            return Ok(bytecode);
        }
        let bytecode = compile(ctx, file, keep, source())?;
        let size = bytecode.0.len() + body.len();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Containers have few procedures; a test that makes thousands just starts over.
        if cached.bytes + size > CACHED_BYTES {
            *cached = Cached::default();
        }
        cached.bytes += size;
        cached.scripts.insert(key, bytecode.clone());
        Ok(bytecode)
    }
}

impl Bytecode {
    /// Runs the script in `ctx`, for the value of its last expression.
    pub(super) fn eval<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let raw = ctx.as_raw().as_ptr();
        let (bytes, length) = (self.0.as_ptr(), self.0.len() as qjs::size_t);
        // SAFETY: the bytes were written by the same engine in this process and are only read here.
        // `JS_EvalFunction` takes the function over, so it must not be wrapped in an owner before.
        unsafe {
            let function = qjs::JS_ReadObject(raw, bytes, length, qjs::JS_READ_OBJ_BYTECODE as c_int);
            if qjs::JS_IsException(function) {
                return Err(Error::Exception);
            }
            owned(ctx, qjs::JS_EvalFunction(raw, function))
        }
    }
}

/// Compiles without running. `Error::Exception` leaves the `SyntaxError` to `ctx.catch()`.
fn compile(ctx: &Ctx<'_>, file: &str, keep: Keep, source: String) -> rquickjs::Result<Bytecode> {
    let source = CString::new(source)?;
    let file = CString::new(file)?;
    let flags = qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY;
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: `raw` is alive and locked as long as `ctx` is; both strings end in NUL and outlive the call.
    let function = unsafe {
        let length = source.as_bytes().len() as qjs::size_t;
        owned(ctx, qjs::JS_Eval(raw, source.as_ptr(), length, file.as_ptr(), flags as c_int))?
    };
    let mut length: qjs::size_t = 0;
    // SAFETY: `function` is a compiled script of this context. The engine returns `length` bytes that belong
    // to the caller, or null; they are copied before they are freed, once.
    unsafe {
        let flags = match keep {
            Keep::Source => qjs::JS_WRITE_OBJ_BYTECODE,
            Keep::Places => qjs::JS_WRITE_OBJ_BYTECODE | qjs::JS_WRITE_OBJ_STRIP_SOURCE,
        };
        let bytes = qjs::JS_WriteObject(raw, &mut length, function.as_raw(), flags as c_int);
        if bytes.is_null() {
            return Err(Error::Exception);
        }
        let copy = Arc::from(std::slice::from_raw_parts(bytes, length as usize));
        qjs::js_free(raw, bytes.cast());
        Ok(Bytecode(copy))
    }
}

/// Takes over what the engine returned, unless it is the mark of an exception.
///
/// # Safety
/// `value` must come from `ctx` and belong to the caller.
unsafe fn owned<'js>(ctx: &Ctx<'js>, value: qjs::JSValue) -> rquickjs::Result<Value<'js>> {
    // SAFETY: promised by the caller.
    unsafe {
        if qjs::JS_IsException(value) {
            return Err(Error::Exception);
        }
        Ok(Value::from_raw(ctx.clone(), value))
    }
}
