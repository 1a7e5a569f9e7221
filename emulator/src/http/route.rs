//! What a request is about: its resource, and the operation on it.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::ServiceError;
use crate::rid;
use crate::store::ScriptKind;

use super::headers;
use super::request::Request;

/// The resource that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Decoded segments: `dbs`, `<id>`, `colls`, `<id>` and so on.
    segments: Vec<String>,
}

impl Path {
    /// Decodes a path.
    ///
    /// # Errors
    /// 400 when it is not valid UTF-8, or has an empty segment.
    pub(crate) fn parse(path: &str) -> Result<Self, ServiceError> {
        let trimmed = path.strip_prefix('/').unwrap_or(path);
        // The Python SDK ends its paths in a slash.
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        if trimmed.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        let malformed = || ServiceError::bad_request(format!("The request path '{path}' is not valid."));
        let segments = trimmed
            .split('/')
            .map(|segment| {
                let segment = percent_decode_str(segment).decode_utf8().map_err(|_| malformed())?;
                if segment.is_empty() { Err(malformed()) } else { Ok(segment.into_owned()) }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// The resource type that a signature names.
    pub(crate) fn resource_type(&self) -> &str {
        let count = self.segments.len();
        // An even number ends in an id, whose type precedes it.
        let at = if count.is_multiple_of(2) { count.checked_sub(2) } else { count.checked_sub(1) };
        at.and_then(|at| self.segments.get(at)).map_or("", String::as_str)
    }

    /// The links that a signature may name: by names, and by the `_rid` alone where the path is made of them.
    pub(crate) fn signed_links(&self) -> Vec<String> {
        let owner = &self.segments[..self.segments.len() / 2 * 2];
        let mut links = vec![owner.join("/")];
        let by_rid = matches!(&self.segments[..], [first, ..] if first == "offers")
            || owner.get(1).is_some_and(|database| rid::parse(database).is_some());
        if by_rid && let Some(last) = owner.last() {
            links.push(last.to_lowercase());
        }
        links
    }

    /// The segments.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

/// An operation of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    ReadAccount,
    CreateDatabase,
    ListDatabases,
    QueryDatabases,
    ReadDatabase(&'a str),
    DeleteDatabase(&'a str),
    CreateContainer(&'a str),
    ListContainers(&'a str),
    QueryContainers(&'a str),
    ReadContainer(ContainerPath<'a>),
    ReplaceContainer(ContainerPath<'a>),
    DeleteContainer(ContainerPath<'a>),
    ListRanges(ContainerPath<'a>),
    CreateDocument(ContainerPath<'a>),
    UpsertDocument(ContainerPath<'a>),
    Batch(ContainerPath<'a>),
    QueryDocuments(ContainerPath<'a>),
    QueryPlan(ContainerPath<'a>),
    ListDocuments(ContainerPath<'a>),
    ChangeFeed(ContainerPath<'a>),
    ReadDocument(ContainerPath<'a>, &'a str),
    ReplaceDocument(ContainerPath<'a>, &'a str),
    PatchDocument(ContainerPath<'a>, &'a str),
    DeleteDocument(ContainerPath<'a>, &'a str),
    CreateScript(ScriptKind, ContainerPath<'a>),
    ListScripts(ScriptKind, ContainerPath<'a>),
    QueryScripts(ScriptKind, ContainerPath<'a>),
    ReadScript(ScriptKind, ContainerPath<'a>, &'a str),
    ReplaceScript(ScriptKind, ContainerPath<'a>, &'a str),
    DeleteScript(ScriptKind, ContainerPath<'a>, &'a str),
    ExecuteProcedure(ContainerPath<'a>, &'a str),
    ListOffers,
    QueryOffers,
    ReadOffer(&'a str),
    ReplaceOffer(&'a str),
    /// Known to the service but not to the emulator.
    Unsupported(&'static str),
    Unknown,
}

/// The names (or `_rid`s) of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContainerPath<'a> {
    pub(crate) database: &'a str,
    pub(crate) container: &'a str,
}

impl<'a> Operation<'a> {
    /// The operation that method, path and headers ask for.
    pub(crate) fn resolve(segments: &[&'a str], request: &Request) -> Self {
        let method = &request.method;
        let query = request.is_query();
        match *segments {
            [] if method == Method::GET => Self::ReadAccount,
            ["dbs"] => feed(method, query, Self::ListDatabases, Self::CreateDatabase, Self::QueryDatabases),
            ["dbs", id] => match *method {
                Method::GET => Self::ReadDatabase(id),
                Method::DELETE => Self::DeleteDatabase(id),
                _ => Self::Unknown,
            },
            ["dbs", id, "colls"] => feed(
                method,
                query,
                Self::ListContainers(id),
                Self::CreateContainer(id),
                Self::QueryContainers(id),
            ),
            ["dbs", _, "users", ..] => Self::Unsupported("users and permissions"),
            ["dbs", _, "clientencryptionkeys", ..] => Self::Unsupported("client encryption keys"),
            ["dbs", database, "colls", container, ref rest @ ..] => {
                Self::in_container(ContainerPath { database, container }, rest, request)
            }
            ["offers"] if method == Method::POST && !query => Self::Unsupported("creating offers"),
            ["offers"] => feed(method, query, Self::ListOffers, Self::Unknown, Self::QueryOffers),
            ["offers", id] if method == Method::GET => Self::ReadOffer(id),
            ["offers", id] if method == Method::PUT => Self::ReplaceOffer(id),
            ["operations", ..] => Self::Unsupported("distributed transactions"),
            _ => Self::Unknown,
        }
    }

    fn in_container(path: ContainerPath<'a>, rest: &[&'a str], request: &Request) -> Self {
        let method = &request.method;
        let query = request.is_query();
        match *rest {
            [] => match *method {
                Method::GET => Self::ReadContainer(path),
                Method::PUT => Self::ReplaceContainer(path),
                Method::DELETE => Self::DeleteContainer(path),
                _ => Self::Unknown,
            },
            ["pkranges"] if method == Method::GET => Self::ListRanges(path),
            ["docs"] => match *method {
                Method::GET if request.header(headers::A_IM).is_some() => Self::ChangeFeed(path),
                Method::GET => Self::ListDocuments(path),
                Method::POST if request.flag(headers::IS_QUERY_PLAN) => Self::QueryPlan(path),
                Method::POST if query => Self::QueryDocuments(path),
                Method::POST if request.flag(headers::IS_BATCH) => Self::Batch(path),
                Method::POST if request.flag(headers::IS_UPSERT) => Self::UpsertDocument(path),
                Method::POST => Self::CreateDocument(path),
                Method::DELETE => Self::Unsupported("deleting all documents of a partition key"),
                _ => Self::Unknown,
            },
            ["docs", id] => match *method {
                Method::GET => Self::ReadDocument(path, id),
                Method::PUT => Self::ReplaceDocument(path, id),
                Method::PATCH => Self::PatchDocument(path, id),
                Method::DELETE => Self::DeleteDocument(path, id),
                _ => Self::Unknown,
            },
            ["docs", _, "attachments", ..] => Self::Unsupported("attachments"),
            ["sprocs", id] if method == Method::POST => Self::ExecuteProcedure(path, id),
            ["sprocs", ref rest @ ..] => Self::script(ScriptKind::Procedure, path, rest, request),
            ["triggers", ref rest @ ..] => Self::script(ScriptKind::Trigger, path, rest, request),
            ["udfs", ref rest @ ..] => Self::script(ScriptKind::Function, path, rest, request),
            ["conflicts", ..] => Self::Unsupported("conflicts"),
            _ => Self::Unknown,
        }
    }

    fn script(kind: ScriptKind, path: ContainerPath<'a>, rest: &[&'a str], request: &Request) -> Self {
        match (rest, &request.method) {
            ([], method) => feed(
                method,
                request.is_query(),
                Self::ListScripts(kind, path),
                Self::CreateScript(kind, path),
                Self::QueryScripts(kind, path),
            ),
            ([id], &Method::GET) => Self::ReadScript(kind, path, id),
            ([id], &Method::PUT) => Self::ReplaceScript(kind, path, id),
            ([id], &Method::DELETE) => Self::DeleteScript(kind, path, id),
            _ => Self::Unknown,
        }
    }

    /// The container whose documents the operation works on, and whose throughput it uses.
    pub(crate) fn data_path(&self) -> Option<ContainerPath<'a>> {
        match *self {
            Self::CreateDocument(path)
            | Self::UpsertDocument(path)
            | Self::Batch(path)
            | Self::QueryDocuments(path)
            | Self::ListDocuments(path)
            | Self::ChangeFeed(path)
            | Self::ReadDocument(path, _)
            | Self::ReplaceDocument(path, _)
            | Self::PatchDocument(path, _)
            | Self::DeleteDocument(path, _)
            | Self::ExecuteProcedure(path, _) => Some(path),
            _ => None,
        }
    }

    /// The name under which the operation is counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ReadAccount => "account.read",
            Self::CreateDatabase => "database.create",
            Self::ListDatabases => "database.list",
            Self::QueryDatabases => "database.query",
            Self::ReadDatabase(_) => "database.read",
            Self::DeleteDatabase(_) => "database.delete",
            Self::CreateContainer(_) => "container.create",
            Self::ListContainers(_) => "container.list",
            Self::QueryContainers(_) => "container.query",
            Self::ReadContainer(_) => "container.read",
            Self::ReplaceContainer(_) => "container.replace",
            Self::DeleteContainer(_) => "container.delete",
            Self::ListRanges(_) => "pkranges.list",
            Self::CreateDocument(_) => "document.create",
            Self::UpsertDocument(_) => "document.upsert",
            Self::Batch(_) => "document.batch",
            Self::QueryDocuments(_) => "document.query",
            Self::QueryPlan(_) => "document.queryplan",
            Self::ListDocuments(_) => "document.list",
            Self::ChangeFeed(_) => "document.changefeed",
            Self::ReadDocument(..) => "document.read",
            Self::ReplaceDocument(..) => "document.replace",
            Self::PatchDocument(..) => "document.patch",
            Self::DeleteDocument(..) => "document.delete",
            Self::CreateScript(kind, _) => by_kind(*kind, ["sproc.create", "trigger.create", "udf.create"]),
            Self::ListScripts(kind, _) => by_kind(*kind, ["sproc.list", "trigger.list", "udf.list"]),
            Self::QueryScripts(kind, _) => by_kind(*kind, ["sproc.query", "trigger.query", "udf.query"]),
            Self::ReadScript(kind, ..) => by_kind(*kind, ["sproc.read", "trigger.read", "udf.read"]),
            Self::ReplaceScript(kind, ..) => {
                by_kind(*kind, ["sproc.replace", "trigger.replace", "udf.replace"])
            }
            Self::DeleteScript(kind, ..) => by_kind(*kind, ["sproc.delete", "trigger.delete", "udf.delete"]),
            Self::ExecuteProcedure(..) => "sproc.execute",
            Self::ListOffers => "offer.list",
            Self::QueryOffers => "offer.query",
            Self::ReadOffer(_) => "offer.read",
            Self::ReplaceOffer(_) => "offer.replace",
            Self::Unsupported(_) | Self::Unknown => "unsupported",
        }
    }
}

fn by_kind(kind: ScriptKind, names: [&'static str; 3]) -> &'static str {
    match kind {
        ScriptKind::Procedure => names[0],
        ScriptKind::Trigger => names[1],
        ScriptKind::Function => names[2],
    }
}

/// The three operations of a feed.
fn feed<'a>(
    method: &Method,
    is_query: bool,
    list: Operation<'a>,
    create: Operation<'a>,
    query: Operation<'a>,
) -> Operation<'a> {
    match *method {
        Method::GET => list,
        Method::POST if is_query => query,
        Method::POST => create,
        _ => Operation::Unknown,
    }
}
