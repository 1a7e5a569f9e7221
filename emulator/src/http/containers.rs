//! `/dbs/{db}/colls`

use crate::error::ServiceError;
use crate::store::{Container, Database};
use crate::value::Value;

use super::databases::METADATA_WRITE;
use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

impl Service {
    /// The container that `path` names.
    pub(super) fn container(
        &self,
        path: ContainerPath<'_>,
    ) -> Result<std::sync::Arc<Container>, ServiceError> {
        self.account.container(path.database, path.container)
    }

    /// The container as the owner of what a request is about.
    pub(super) fn owner(&self, path: ContainerPath<'_>) -> Result<std::sync::Arc<Container>, ServiceError> {
        self.container(path).map_err(|_| ServiceError::owner_not_found())
    }

    pub(super) async fn create_container(&self, database: &str, request: &Request) -> Answer {
        let (container, durable) =
            self.account.create_container(database, &request.json()?, request.throughput()?)?;
        durable.wait().await?;
        Ok(describe(Reply::resource(201, &container.to_value()), &container).charge(METADATA_WRITE))
    }

    pub(super) fn list_containers(&self, database: &str, request: &Request) -> Answer {
        let database = self.account.database(database).map_err(|_| ServiceError::owner_not_found())?;
        self.list_feed(request, "DocumentCollections", &database.rid(), &container_values(&database))
    }

    pub(super) fn query_containers(&self, database: &str, request: &Request) -> Answer {
        let database = self.account.database(database).map_err(|_| ServiceError::owner_not_found())?;
        self.query_feed(request, "DocumentCollections", &database.rid(), &container_values(&database))
    }

    pub(super) fn read_container(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.container(path)?;
        let etag = container.meta().etag.clone();
        if request.if_none_match() == Some(&*etag) {
            return Ok(describe(Reply::empty(304).header("etag", &etag), &container));
        }
        // The index is rebuilt by the time that a changed policy is answered.
        let reply = Reply::resource(200, &container.to_value()).header(headers::INDEX_PROGRESS, "100");
        Ok(describe(reply, &container))
    }

    pub(super) async fn replace_container(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.container(path)?;
        self.account.replace_container(&container, &request.json()?, request.if_match())?.wait().await?;
        Ok(describe(Reply::resource(200, &container.to_value()), &container).charge(METADATA_WRITE))
    }

    pub(super) async fn delete_container(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        self.account.delete_container(path.database, path.container, request.if_match())?.wait().await?;
        Ok(Reply::empty(204).charge(METADATA_WRITE))
    }
}

fn container_values(database: &Database) -> Vec<Value> {
    database.containers().iter().map(|container| container.to_value()).collect()
}

/// Adds what answers about a container and its documents say about it.
pub(super) fn describe(reply: Reply, container: &Container) -> Reply {
    let count = container.document_count();
    reply
        .header(headers::OWNER_FULL_NAME, container.alt_link())
        .header(headers::OWNER_ID, &container.rid.text())
        .header(headers::SCHEMA_VERSION, "1.16")
        .header(
            headers::RESOURCE_QUOTA,
            "documentSize=51200;documentsSize=52428800;documentsCount=-1;collectionSize=52428800;",
        )
        .header(
            headers::RESOURCE_USAGE,
            &format!("documentSize=0;documentsSize=0;documentsCount={count};collectionSize=0;"),
        )
}
