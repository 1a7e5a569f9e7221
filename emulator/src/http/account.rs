//! `GET /`: where the account is and what it offers.

use super::reply::Reply;
use super::request::Request;
use super::{Answer, Service};

impl Service {
    pub(super) fn read_account(&self, request: &Request) -> Answer {
        // In-process there is no endpoint of its own; the one that was asked leads back here.
        let host = request.header(http::header::HOST.as_str()).unwrap_or("localhost");
        let endpoint = self.endpoint.get().cloned().unwrap_or_else(|| format!("http://{host}"));
        let location =
            serde_json::json!([{ "name": "Emulator", "databaseAccountEndpoint": format!("{endpoint}/") }]);
        let policy = serde_json::json!({
            "asyncReplication": false,
            "minReplicaSetSize": 1,
            "maxReplicasetSize": 4,
        });
        let account = serde_json::json!({
            "_self": "",
            "id": "localhost",
            "_rid": "localhost",
            "media": "//media/",
            "addresses": "//addresses/",
            "_dbs": "//dbs/",
            "writableLocations": location,
            "readableLocations": location,
            "enableMultipleWriteLocations": false,
            "continuousBackupEnabled": false,
            "enableNRegionSynchronousCommit": false,
            "enablePerPartitionFailoverBehavior": false,
            "userReplicationPolicy": policy,
            "userConsistencyPolicy": { "defaultConsistencyLevel": "Session" },
            "systemReplicationPolicy": policy,
            "readPolicy": { "primaryReadCoefficient": 1, "secondaryReadCoefficient": 1 },
            "queryEngineConfiguration": QUERY_ENGINE,
        });
        Ok(Reply::json(200, account.to_string()))
    }
}

/// Limits that SDKs read before they plan queries, as a JSON text.
const QUERY_ENGINE: &str = concat!(
    r#"{"maxSqlQueryInputLength":524288,"maxJoinsPerSqlQuery":10,"maxLogicalAndPerSqlQuery":2000,"#,
    r#""maxLogicalOrPerSqlQuery":2000,"maxUdfRefPerSqlQuery":10,"maxInExpressionItemsCount":16000,"#,
    r#""queryMaxInMemorySortDocumentCount":500,"maxQueryRequestTimeoutFraction":0.9,"#,
    r#""sqlAllowNonFiniteNumbers":false,"sqlAllowAggregateFunctions":true,"sqlAllowSubQuery":true,"#,
    r#""sqlAllowScalarSubQuery":true,"allowNewKeywords":true,"sqlAllowLike":true,"#,
    r#""sqlAllowGroupByClause":true,"maxSpatialQueryCells":12,"spatialMaxGeometryPointCount":256,"#,
    r#""sqlDisableOptimizationFlags":0,"sqlAllowTop":true,"enableSpatialIndexing":true}"#
);
