//! `/dbs/{db}/colls/{coll}/pkranges`

use crate::rid::Leaf;

use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

/// The ranges of a container never change, so there is one version of the feed.
const ETAG: &str = "\"0\"";

impl Service {
    pub(super) fn list_ranges(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.container(path)?;
        if request.if_none_match() == Some(ETAG) {
            return Ok(Reply::empty(304).header("etag", ETAG));
        }
        let meta = container.meta();
        let ranges = container.ranges();
        // At most some thousands: exact.
        #[allow(clippy::cast_precision_loss)]
        let fraction = 1.0 / ranges.len() as f64;
        let list: Vec<_> = ranges
            .iter()
            .map(|range| {
                serde_json::json!({
                    "id": range.id.to_string(),
                    "_rid": container.rid.leaf(Leaf::PartitionKeyRange, u64::from(range.id)),
                    "_self": format!("{}pkranges/{}/", container.self_link(),
                        container.rid.leaf(Leaf::PartitionKeyRange, u64::from(range.id))),
                    "_etag": meta.etag,
                    "_ts": meta.ts,
                    "_lsn": range.lsn,
                    "minInclusive": range.min.to_string(),
                    "maxExclusive": range.max.to_string(),
                    "ridPrefix": range.id,
                    "throughputFraction": fraction,
                    "status": "online",
                    "parents": [],
                })
            })
            .collect();
        let body = serde_json::json!({
            "_rid": container.rid.text(),
            "PartitionKeyRanges": list,
            "_count": ranges.len(),
        });
        Ok(Reply::json(200, body.to_string())
            .header("etag", ETAG)
            .header(headers::ITEM_COUNT, &ranges.len().to_string()))
    }
}
