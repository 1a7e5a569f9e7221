//! `/offers`: the provisioned throughput of containers. It is reported, not enforced.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::ServiceError;
use crate::store::Container;
use crate::value::Value;

use super::reply::Reply;
use super::request::Request;
use super::{Answer, Service};

impl Service {
    pub(super) fn list_offers(&self, request: &Request) -> Answer {
        self.list_feed(request, "Offers", "", &self.offers())
    }

    pub(super) fn query_offers(&self, request: &Request) -> Answer {
        self.query_feed(request, "Offers", "", &self.offers())
    }

    pub(super) fn read_offer(&self, id: &str) -> Answer {
        let offers = self.offers();
        let offer = offers.iter().find(|offer| offer.get("id").as_str() == Some(id));
        Ok(Reply::resource(200, offer.ok_or_else(ServiceError::not_found)?))
    }

    fn offers(&self) -> Vec<Value> {
        let databases = self.account.databases();
        databases
            .iter()
            .flat_map(|database| database.containers())
            .filter_map(|container| Value::parse(offer(&container).to_string().as_bytes()).ok())
            .collect()
    }
}

fn offer(container: &Container) -> serde_json::Value {
    let meta = container.meta();
    let id = offer_id(container);
    serde_json::json!({
        "id": id,
        "_rid": id,
        "_self": format!("offers/{id}/"),
        "_etag": meta.etag,
        "_ts": meta.ts,
        "resource": container.self_link(),
        "offerResourceId": container.rid.text(),
        "offerType": "Invalid",
        "offerVersion": "V2",
        "content": { "offerThroughput": meta.throughput, "offerIsRUPerMinuteThroughputEnabled": false },
    })
}

/// Four characters, as the service's.
fn offer_id(container: &Container) -> String {
    let number = (container.rid.database << 12) ^ container.rid.container;
    STANDARD.encode(&number.to_be_bytes()[1..]).replace('/', "-")
}
