//! `/dbs/{db}/colls/{coll}/pkranges`

use crate::rid::Leaf;
use crate::store::next_range_id;

use super::headers;
use super::reply::Reply;
use super::request::Request;
use super::route::ContainerPath;
use super::{Answer, Service};

impl Service {
    pub(super) fn list_ranges(&self, path: ContainerPath<'_>, request: &Request) -> Answer {
        let container = self.container(path)?;
        let meta = container.meta();
        let mut ranges = container.ranges();
        // A range never changes after it was made: the number of the next one tells the version of the feed.
        let version = next_range_id(&ranges);
        let etag = format!("\"{version}\"");
        if request.if_none_match() == Some(&*etag) {
            return Ok(Reply::empty(304).header("etag", &etag));
        }
        // At most some thousands: exact.
        #[allow(clippy::cast_precision_loss)]
        let fraction = 1.0 / ranges.len() as f64;
        if request.header(headers::A_IM).is_some() {
            let known: Option<u32> =
                request.if_none_match().and_then(|etag| etag.trim_matches('"').parse().ok());
            ranges.retain(|range| range.id >= known.unwrap_or(0));
        }
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
                    "parents": range.parents.iter().map(u32::to_string).collect::<Vec<_>>(),
                })
            })
            .collect();
        let body = serde_json::json!({
            "_rid": container.rid.text(),
            "PartitionKeyRanges": list,
            "_count": ranges.len(),
        });
        Ok(Reply::json(200, body.to_string())
            .header("etag", &etag)
            .header(headers::ITEM_COUNT, &ranges.len().to_string()))
    }
}
