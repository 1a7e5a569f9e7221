//! The service's error answers: status, sub-status, code and message.

/// An answer other than success, as it goes over the wire.
///
/// One type for all layers: the store, the query engine and the script host decide the status the real
/// service gives, and the HTTP layer only writes it out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}/{sub_status} {code}: {message}")]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// `x-ms-substatus`; 0 when the service sends none.
    pub sub_status: u32,
    /// The `code` member of the JSON body, such as `NotFound`.
    pub code: &'static str,
    /// The `message` member of the JSON body.
    pub message: String,
}

impl ServiceError {
    /// An error of any status; `code` follows from the status.
    #[must_use]
    pub fn new(status: u16, sub_status: u32, message: impl Into<String>) -> Self {
        Self { status, sub_status, code: code_of(status), message: message.into() }
    }

    /// 400 without a sub-status.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, 0, message)
    }

    /// 404 for a document, procedure or other leaf resource.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            404,
            0,
            "Message: {\"Errors\":[\"Resource Not Found. Learn more: https://aka.ms/cosmosdb-tsg-not-found\"]}",
        )
    }

    /// 404/1003: the container or database the resource would live in does not exist.
    #[must_use]
    pub fn owner_not_found() -> Self {
        Self::new(404, 1003, "Message: {\"Errors\":[\"Owner resource does not exist\"]}")
    }

    /// 409 for an id that is taken.
    #[must_use]
    pub fn conflict() -> Self {
        Self::new(409, 0, "Message: {\"Errors\":[\"Resource with specified id or name already exists.\"]}")
    }

    /// 412 for an etag that no longer matches.
    #[must_use]
    pub fn precondition_failed() -> Self {
        Self::new(
            412,
            0,
            "Message: {\"Errors\":[\"One of the specified pre-condition is not met. Learn more: https://aka.ms/CosmosDB/sql/errors/precondition-failed\"]}",
        )
    }

    /// 413 for a body above the request or document limit.
    #[must_use]
    pub fn too_large() -> Self {
        Self::new(413, 0, "Message: {\"Errors\":[\"Request size is too large\"]}")
    }
}

/// The `code` the service puts into the body for a status.
fn code_of(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        408 => "RequestTimeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "PreconditionFailed",
        413 => "RequestEntityTooLarge",
        429 => "TooManyRequests",
        449 => "RetryWith",
        501 => "NotImplemented",
        503 => "ServiceUnavailable",
        _ => "InternalServerError",
    }
}
