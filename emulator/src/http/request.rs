//! A request as the handlers see it.

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::binary_json;
use crate::epk;
use crate::error::ServiceError;
use crate::store::{LogPosition, PartitionKey, PartitionKeyDefinition, Throughput};
use crate::value::Value;

use super::headers;

/// Rows of a page when the client does not say: what the service gives, whose documentation has 100.
const DEFAULT_PAGE_ROWS: usize = 1000;

/// The value of the header for autoscale; more may be in it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutoscaleSettings {
    max_throughput: u64,
}

/// A request with its body read.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// A fault: operations of a stored procedure are refused after this many.
    pub(crate) refuse_after: Option<u64>,
}

impl Request {
    /// A header's text; one that is not text counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether a header says `True`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.header(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Whether a POST on a feed is a query.
    pub(crate) fn is_query(&self) -> bool {
        let content_type = self.header(http::header::CONTENT_TYPE.as_str()).unwrap_or_default();
        self.flag(headers::IS_QUERY)
            || content_type.trim().to_ascii_lowercase().starts_with("application/query+json")
    }

    /// The etag of `If-Match`.
    pub(crate) fn if_match(&self) -> Option<&str> {
        self.header(http::header::IF_MATCH.as_str()).map(str::trim)
    }

    /// The etag of `If-None-Match`.
    pub(crate) fn if_none_match(&self) -> Option<&str> {
        self.header(http::header::IF_NONE_MATCH.as_str()).map(str::trim)
    }

    /// Whether a write is answered without the document.
    pub(crate) fn wants_minimal(&self) -> bool {
        self.header("prefer").is_some_and(|value| value.to_ascii_lowercase().contains("return=minimal"))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// 400 when it is not one value.
    pub(crate) fn json(&self) -> Result<Value, ServiceError> {
        if binary_json::is_binary(&self.body) {
            return binary_json::decode(&self.body);
        }
        Value::parse(&self.body).map_err(|error| {
            ServiceError::bad_request(format!(
                "Message: {{\"Errors\":[\"The request payload is invalid. Ensure to provide a valid request payload: \
                 {error}.\"]}}"
            ))
        })
    }

    /// Rows of a page; with -1 as many as fit one.
    ///
    /// # Errors
    /// 400 for anything but a number from -1.
    pub(crate) fn page_rows(&self) -> Result<usize, ServiceError> {
        match self.header(headers::MAX_ITEM_COUNT).map(str::trim) {
            None | Some("" | "0") => Ok(DEFAULT_PAGE_ROWS),
            Some("-1") => Ok(usize::MAX),
            Some(text) => text.parse().map_err(|_| {
                ServiceError::bad_request(format!(
                    "The input PageSize {text} is invalid. Ensure to pass a valid page size which must be a positive \
                     integer or -1 for a dynamic page size."
                ))
            }),
        }
    }

    /// The continuation to go on from.
    pub(crate) fn continuation(&self) -> Option<&str> {
        self.header(headers::CONTINUATION).map(str::trim).filter(|token| !token.is_empty())
    }

    /// RU/s of a new database or container.
    ///
    /// # Errors
    /// 400 when it is malformed or cannot be provisioned, or both manual and automatic.
    pub(crate) fn throughput(&self) -> Result<Option<Throughput>, ServiceError> {
        let given = |name| self.header(name).map(str::trim).filter(|text| !text.is_empty());
        let invalid =
            |text: &str| ServiceError::bad_request(format!("The offer throughput '{text}' is not valid."));
        match (given(headers::OFFER_THROUGHPUT), given(headers::OFFER_AUTOSCALE)) {
            (None, None) => Ok(None),
            (Some(text), None) => {
                let value = text.parse().map_err(|_| invalid(text))?;
                Throughput::Manual(value).checked().map(Some)
            }
            (None, Some(text)) => {
                let settings: AutoscaleSettings = serde_json::from_str(text).map_err(|_| invalid(text))?;
                Throughput::Autoscale { max: settings.max_throughput }.checked().map(Some)
            }
            (Some(_), Some(_)) => Err(ServiceError::bad_request(
                "Manual throughput and autoscale settings cannot be given together.",
            )),
        }
    }

    /// Refuses a read whose session has seen more of the log than there is, such as that of a container which
    /// has been created again.
    ///
    /// # Errors
    /// 404/1002.
    pub(crate) fn check_session(&self, position: LogPosition) -> Result<(), ServiceError> {
        let Some(token) = self.header(headers::SESSION_TOKEN) else { return Ok(()) };
        // `<range>:<version>#<lsn>[#<region>=<lsn>]`, or `<range>:<lsn>`; several are separated by commas.
        let ahead =
            token.split(',').filter_map(|part| part.trim().split_once(':')).any(|(range, progress)| {
                let lsn = progress.split('#').nth(1).unwrap_or(progress);
                range == position.range.to_string() && lsn.parse().is_ok_and(|lsn: u64| lsn > position.lsn)
            });
        if ahead {
            return Err(ServiceError::new(
                404,
                1002,
                "The read session is not available for the input session token.",
            ));
        }
        Ok(())
    }

    /// The partition key that an operation on one partition needs.
    ///
    /// # Errors
    /// 400 when it is missing, malformed or has another number of components than the container has paths.
    pub(crate) fn partition_key(
        &self,
        definition: &PartitionKeyDefinition,
    ) -> Result<PartitionKey, ServiceError> {
        match self.partition_key_components()? {
            Some(components) => definition.key(&components),
            None => Err(ServiceError::bad_request("PartitionKey value must be supplied for this operation.")),
        }
    }

    /// The components of the partition key header; `None` without one, or with an empty one.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub(crate) fn partition_key_components(&self) -> Result<Option<Vec<epk::Component>>, ServiceError> {
        let Some(value) = self.headers.get(headers::PARTITION_KEY) else { return Ok(None) };
        // Clients escape what is not ASCII; raw UTF-8 is understood as well.
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
            ServiceError::bad_request(format!("The header {} is not valid text.", headers::PARTITION_KEY))
        })?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(epk::parse_header(text)?).filter(|components| !components.is_empty()))
    }
}
