//! `/offers`: the provisioned throughput of databases and containers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::ServiceError;
use crate::limits::{MIN_AUTOSCALE_THROUGHPUT, MIN_THROUGHPUT};
use crate::rid::ContainerRid;
use crate::store::{Container, Database, Offer, Throughput};
use crate::value::Value;

use super::databases::METADATA_WRITE;
use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::{Answer, Service};

/// What throughput is provisioned for.
enum Owner {
    Database(Arc<Database>),
    Container(Arc<Container>),
}

/// An offer with its owner.
struct Owned {
    owner: Owner,
    offer: Offer,
}

impl Service {
    pub(super) fn list_offers(&self, request: &Request) -> Answer {
        self.list_feed(request, "Offers", "", &self.offer_values())
    }

    pub(super) fn query_offers(&self, request: &Request) -> Answer {
        self.query_feed(request, "Offers", "", &self.offer_values())
    }

    pub(super) fn read_offer(&self, id: &str) -> Answer {
        let owned = self.offer(id)?;
        Ok(describe(Reply::resource(200, &owned.to_value()), owned.offer.throughput))
    }

    /// Changes the throughput, or turns it into the other kind where a header asks for that.
    pub(super) async fn replace_offer(&self, id: &str, request: &Request) -> Answer {
        let owned = self.offer(id)?;
        if request.if_match().is_some_and(|etag| etag != "*" && etag != owned.offer.etag) {
            return Err(ServiceError::precondition_failed().into());
        }
        let throughput = replacement(owned.offer.throughput, &request.json()?, request)?;
        let durable = match &owned.owner {
            Owner::Database(database) => self.account.replace_database_offer(database, throughput)?,
            Owner::Container(container) => container.replace_offer(throughput)?,
        };
        durable.wait().await?;
        let new = self.offer(id)?;
        let reply = Reply::resource(200, &new.to_value()).charge(METADATA_WRITE);
        Ok(describe(reply, new.offer.throughput))
    }

    fn offer(&self, id: &str) -> Result<Owned, ServiceError> {
        // Signed by the lower-case id, but addressed by the id as it is.
        self.offers().into_iter().find(|owned| owned.owner.id() == id).ok_or_else(ServiceError::not_found)
    }

    fn offer_values(&self) -> Vec<Value> {
        self.offers().iter().map(Owned::to_value).collect()
    }

    fn offers(&self) -> Vec<Owned> {
        let mut offers = Vec::new();
        for database in self.account.databases() {
            for container in database.containers() {
                if let Some(offer) = container.meta().offer.clone() {
                    offers.push(Owned { owner: Owner::Container(container), offer });
                }
            }
            if let Some(offer) = database.offer() {
                offers.push(Owned { owner: Owner::Database(database), offer });
            }
        }
        offers
    }
}

/// What an offer becomes.
fn replacement(old: Throughput, body: &Value, request: &Request) -> Result<Throughput, ServiceError> {
    let content = body.get("content");
    let number = |value: &Value| match value {
        // In range by the guard.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Value::Number(number) if (0.0..1e15).contains(number) && number.fract() == 0.0 => {
            Some(*number as u64)
        }
        _ => None,
    };
    let maximum = number(content.get("offerAutopilotSettings").get("maxThroughput"));
    if request.flag(headers::MIGRATE_TO_AUTOSCALE) {
        // The service takes the maximum from what was provisioned.
        let max = old.limit().next_multiple_of(MIN_AUTOSCALE_THROUGHPUT).max(MIN_AUTOSCALE_THROUGHPUT);
        return Ok(Throughput::Autoscale { max });
    }
    if request.flag(headers::MIGRATE_TO_MANUAL) {
        return Ok(Throughput::Manual(old.limit()));
    }
    match (old, maximum, number(content.get("offerThroughput"))) {
        (Throughput::Autoscale { .. }, Some(max), _) => Ok(Throughput::Autoscale { max }),
        (Throughput::Manual(_), None, Some(value)) => Ok(Throughput::Manual(value)),
        _ => Err(ServiceError::bad_request(
            "The offer's content does not fit its kind: manual throughput needs 'offerThroughput', autoscale \
             'offerAutopilotSettings' with 'maxThroughput'.",
        )),
    }
}

fn describe(reply: Reply, throughput: Throughput) -> Reply {
    let least = match throughput {
        Throughput::Manual(_) => MIN_THROUGHPUT,
        Throughput::Autoscale { .. } => MIN_AUTOSCALE_THROUGHPUT,
    };
    reply.header(headers::OFFER_REPLACE_PENDING, "false").header(headers::MIN_THROUGHPUT, &least.to_string())
}

impl Owned {
    fn to_value(&self) -> Value {
        let id = self.owner.id();
        let (link, rid) = match &self.owner {
            Owner::Database(database) => (format!("dbs/{}/", database.rid()), database.rid()),
            Owner::Container(container) => (container.self_link().to_owned(), container.rid.text()),
        };
        let mut content = serde_json::json!({
            "offerThroughput": self.offer.throughput.current(),
            "offerIsRUPerMinuteThroughputEnabled": false,
            "offerMinimumThroughputParameters": {
                "maxThroughputEverProvisioned": self.offer.throughput.limit(),
                "maxConsumedStorageEverInKB": 0,
            },
        });
        if let Throughput::Autoscale { max } = self.offer.throughput {
            content["offerAutopilotSettings"] = serde_json::json!({ "maxThroughput": max });
        }
        let json = serde_json::json!({
            "id": id,
            "_rid": id,
            "_self": format!("offers/{id}/"),
            "_etag": self.offer.etag,
            "_ts": self.offer.ts,
            "resource": link,
            "offerResourceId": rid,
            "offerType": "Invalid",
            "offerVersion": "V2",
            "content": content,
        });
        Value::parse(json.to_string().as_bytes()).unwrap_or(Value::Null)
    }
}

impl Owner {
    /// Four characters, as the service's.
    fn id(&self) -> String {
        let rid = match self {
            Owner::Database(database) => ContainerRid { database: database.number(), container: 0 },
            Owner::Container(container) => container.rid,
        };
        let number = (rid.database << 12) ^ rid.container;
        STANDARD.encode(&number.to_be_bytes()[1..]).replace('/', "-")
    }
}
