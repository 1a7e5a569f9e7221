//! From what went wrong in a script to the answer the service gives.

use crate::error::ServiceError;
use crate::value::Value;

use super::Newer;

/// Sub-status of a script that does not compile.
const SCRIPT_COMPILE_ERROR: u32 = 0xFFFF;

/// An error of the given text in the service's envelope.
fn envelope(status: u16, sub_status: u32, text: &str) -> ServiceError {
    let text = Value::from(text).to_json();
    ServiceError::new(status, sub_status, format!("Message: {{\"Errors\":[{text}]}}"))
}

/// 408: the run took longer than its limit.
pub(crate) fn timeout() -> ServiceError {
    envelope(
        408,
        0,
        "The requested operation exceeded maximum alloted time. Learn more: https://aka.ms/cosmosdb-tsg-service-request-timeout",
    )
}

/// 400/65535 for syntax that the service's engine does not understand.
pub(crate) fn newer_syntax(newer: Newer) -> ServiceError {
    envelope(
        400,
        SCRIPT_COMPILE_ERROR,
        &format!(
            "Encountered exception while compiling Javascript. Exception = SyntaxError: {} at line {} is newer than \
             what the service's engine understands (refused by the emulator's script syntax setting)",
            newer.feature, newer.line
        ),
    )
}

/// 400 for an uncaught exception. `number` is the error's, in decimal, and becomes the sub-status.
pub(crate) fn thrown(number: &str, text: &str) -> ServiceError {
    let sub_status = number.parse().unwrap_or(0);
    envelope(400, sub_status, &format!("Encountered exception while executing function. Exception = {text}"))
}

/// 400 for a request body that is not a list of arguments.
pub(crate) fn arguments(detail: &str) -> ServiceError {
    envelope(400, 0, &format!("The stored procedure arguments are invalid: {detail}"))
}

/// 500: the emulator itself failed.
pub(crate) fn internal(detail: &str) -> ServiceError {
    envelope(500, 0, &format!("The emulator failed to run the script: {detail}"))
}

/// 400/65535 for a script that does not compile. `place` is line and column.
pub(crate) fn compile(exception: &str, place: Option<(usize, usize)>, source: &str) -> ServiceError {
    let mut text = format!("Encountered exception while compiling Javascript. Exception = {exception}");
    if let Some((line, column)) = place {
        let code = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        text.push_str(&format!(
            "\r\nSource information: line: {line}, column: {column}, source line:\n{code}"
        ));
    }
    envelope(400, SCRIPT_COMPILE_ERROR, &text)
}

/// Line and column in the first frame of a stack trace (`    at file.js:2:7`).
pub(crate) fn place_of(stack: &str) -> Option<(usize, usize)> {
    let frame = stack.lines().next()?.trim_end().trim_end_matches(')');
    let (rest, column) = frame.rsplit_once(':')?;
    let (_, line) = rest.rsplit_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}
