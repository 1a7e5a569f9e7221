//! `GET …/docs` with `A-IM`: the change feed, pulled page by page.

use std::time::UNIX_EPOCH;

use crate::charge::{self, QueryWork};
use crate::epk::Epk;
use crate::error::ServiceError;
use crate::store::{ChangeFeed, Changes, Container, Document, LogPosition, Scope};

use super::headers;
use super::query::{Target, target};
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service, unsupported};

/// The format with the system's part apart from the document, as newer SDKs ask for it.
const SEPARATE_METADATA: &str = "2021-09-15";

impl Service {
    /// Answers with what was written since the etag in `If-None-Match`; `*` there means from now on, nothing from
    /// the beginning. 304 when there is nothing, with an etag to go on from.
    pub(super) fn change_feed(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let mode = request.header(headers::A_IM).unwrap_or_default().trim();
        if mode.eq_ignore_ascii_case("Full-Fidelity Feed") {
            return Err(unsupported("the change feed of all versions and deletes").into());
        }
        if !mode.eq_ignore_ascii_case("Incremental Feed") {
            return Err(ServiceError::bad_request(format!("The A-IM value '{mode}' is not valid.")).into());
        }
        let separate = match request.header(headers::CHANGE_FEED_FORMAT).map(str::trim) {
            None | Some("") => false,
            Some(SEPARATE_METADATA) => true,
            Some(other) => {
                let message = format!("The change feed format '{other}' is not supported.");
                return Err(ServiceError::bad_request(message).into());
            }
        };
        let container = self.owner(path)?;
        let (range, scope) = place(&container, request)?;
        let start = request.if_none_match().or_else(|| request.continuation());
        let feed = ChangeFeed {
            container: &container,
            range,
            scope,
            first: first_commit(start)?,
            since: modified_since(request)?,
            page_rows: request.page_rows()?,
        };
        let (changes, position) = feed.read().ok_or_else(gone)?;
        request.check_session(position)?;
        Ok(page(&container, &changes, position, separate))
    }
}

/// A page, or 304 for an empty one.
fn page(container: &Container, changes: &Changes, position: LogPosition, separate: bool) -> Reply {
    let etag = format!("\"{}\"", changes.last);
    if changes.documents.is_empty() {
        return Reply::empty(304).header("etag", &etag).at(position);
    }
    let rows: Vec<String> = changes
        .documents
        .iter()
        .map(|document| if separate { with_metadata(document) } else { with_lsn(document) })
        .collect();
    let body = format!(
        "{{\"_rid\":\"{}\",\"Documents\":[{}],\"_count\":{}}}",
        container.rid.text(),
        rows.join(","),
        rows.len()
    );
    let work = QueryWork { documents: rows.len(), bytes_returned: body.len(), ..QueryWork::default() };
    Reply::json(200, body)
        .charge(charge::query(work))
        .at(position)
        .header("etag", &etag)
        .header(headers::ITEM_COUNT, &rows.len().to_string())
        .header(headers::OWNER_FULL_NAME, container.alt_link())
        .header(headers::OWNER_ID, &container.rid.text())
}

/// The document with the number of its commit among its members.
fn with_lsn(document: &Document) -> String {
    let mut json = document.value.to_json();
    // A document has members, so there is a comma to write.
    json.truncate(json.len().saturating_sub(1));
    json.push_str(&format!(",\"_lsn\":{}}}", document.lsn()));
    json
}

fn with_metadata(document: &Document) -> String {
    format!(
        "{{\"current\":{},\"metadata\":{{\"lsn\":{},\"crts\":{}}}}}",
        document.value.to_json(),
        document.lsn(),
        document.ts.unwrap_or_default()
    )
}

/// The physical partition that a request reads, and the part of it.
fn place(container: &Container, request: &Request) -> Result<(u32, Scope), ServiceError> {
    let ranges = container.ranges();
    let scope = match (target(container, request)?, &ranges[..]) {
        (Some(Target::Partition(scope) | Target::Part(scope)), _) => scope,
        // A container that is not divided needs no address.
        (_, [only]) => Scope::Range { min: only.min.clone(), max: only.max.clone() },
        _ => {
            return Err(ServiceError::bad_request(format!(
                "The change feed is read for each physical partition: set {}, or {}.",
                headers::PARTITION_KEY_RANGE_ID,
                headers::PARTITION_KEY
            )));
        }
    };
    let (first, _) = scope.first();
    let range = ranges.iter().rev().find(|range| range.min <= *first.epk()).ok_or_else(gone)?;
    if end(&scope).is_some_and(|end| *end > range.max) {
        return Err(gone());
    }
    Ok((range.id, scope))
}

fn end(scope: &Scope) -> Option<&Epk> {
    match scope {
        Scope::Partition(_) => None,
        Scope::Range { max, .. } => Some(max),
    }
}

/// More than one physical partition now: clients look the ranges up again and read each.
fn gone() -> ServiceError {
    ServiceError::new(410, 1002, "The partition key range of the change feed is gone.")
}

/// The first commit to read, behind the one of a continuation.
fn first_commit(continuation: Option<&str>) -> Result<u64, ServiceError> {
    match continuation {
        None => Ok(0),
        Some("*") => Ok(u64::MAX),
        Some(etag) => {
            let number = etag.trim_start_matches("W/").trim_matches('"');
            number.parse().map(|last: u64| last.saturating_add(1)).map_err(|_| {
                ServiceError::bad_request(format!("The change feed continuation '{etag}' is not valid."))
            })
        }
    }
}

/// The second of `If-Modified-Since`.
fn modified_since(request: &Request) -> Result<Option<i64>, ServiceError> {
    let Some(text) = request.header(http::header::IF_MODIFIED_SINCE.as_str()) else { return Ok(None) };
    let time = httpdate::parse_http_date(text.trim()).map_err(|_| {
        ServiceError::bad_request(format!("The If-Modified-Since value '{text}' is not an HTTP date."))
    })?;
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Some(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
