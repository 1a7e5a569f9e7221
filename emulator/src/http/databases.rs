//! `/dbs`

use crate::value::Value;

use super::reply::Reply;
use super::request::Request;
use super::{Answer, Service};

/// Request units of a change of metadata; the service's are of this order.
pub(super) const METADATA_WRITE: f64 = 4.95;

impl Service {
    pub(super) async fn create_database(&self, request: &Request) -> Answer {
        let (database, durable) = self.account.create_database(&request.json()?, request.throughput()?)?;
        durable.wait().await?;
        Ok(Reply::resource(201, &database.to_value()).charge(METADATA_WRITE))
    }

    pub(super) fn list_databases(&self, request: &Request) -> Answer {
        self.list_feed(request, "Databases", "", &self.database_values())
    }

    pub(super) fn query_databases(&self, request: &Request) -> Answer {
        self.query_feed(request, "Databases", "", &self.database_values())
    }

    fn database_values(&self) -> Vec<Value> {
        self.account.databases().iter().map(|database| database.to_value()).collect()
    }

    pub(super) fn read_database(&self, id: &str, request: &Request) -> Answer {
        let database = self.account.database(id)?;
        if request.if_none_match() == Some(&*database.etag()) {
            return Ok(Reply::empty(304).header("etag", &database.etag()));
        }
        Ok(Reply::resource(200, &database.to_value()))
    }

    pub(super) async fn delete_database(&self, id: &str, request: &Request) -> Answer {
        self.account.delete_database(id, request.if_match())?.wait().await?;
        Ok(Reply::empty(204).charge(METADATA_WRITE))
    }
}
