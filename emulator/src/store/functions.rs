//! The user-defined functions of a container, as queries call them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use crate::error::ServiceError;
use crate::limits::MAX_OPERATION_TIME;
use crate::query::Udfs;
use crate::script::{Functions, ScriptSyntax, failure};
use crate::value::Value;

use super::container::Container;
use super::scripts::ScriptKind;

/// The functions that one query may call. Costs nothing until it calls one.
pub(crate) struct ContainerFunctions {
    container: Arc<Container>,
    /// When all calls must be over: the time of an operation is for all of them together.
    deadline: Instant,
    engine: RefCell<Option<Functions>>,
}

impl ContainerFunctions {
    /// The functions for a query that begins now.
    pub(crate) fn new(container: &Arc<Container>) -> Self {
        Self {
            container: Arc::clone(container),
            deadline: Instant::now() + MAX_OPERATION_TIME,
            engine: RefCell::default(),
        }
    }
}

impl Udfs for ContainerFunctions {
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, ServiceError> {
        let Some(script) = self.container.script(ScriptKind::Function, name) else {
            return Err(ServiceError::bad_request(format!(
                "Message: {{\"Errors\":[\"The user-defined function '{name}' does not exist.\"]}}"
            )));
        };
        script.check_blocked()?;
        let shared = self.container.shared();
        if shared.scripts.syntax == ScriptSyntax::Refuse
            && let Some(newer) = script.newer_syntax
        {
            return Err(failure::newer_syntax(newer));
        }
        let mut slot = self.engine.borrow_mut();
        let engine = match &mut *slot {
            Some(engine) => engine,
            None => slot.insert(Functions::prepare(
                self.deadline,
                shared.clock.offset_ms(),
                shared.scripts.syntax,
                Arc::clone(&shared.scripts.compiled),
            )?),
        };
        let (result, time) = engine.call(&script.record.id, &script.body, args);
        script.used(time, shared.scripts.function_charge);
        result
    }
}
