//! Query plans over HTTP: what SDKs ask for, and running what the plan says.

use serde_json::{Value as Json, json};

use crate::support::{Client, start, start_with};

const PLAN: (&str, &str) = ("x-ms-cosmos-is-query-plan-request", "True");
const FEATURES: &str = "x-ms-cosmos-supported-query-features";
const ALL: (&str, &str) = (
    FEATURES,
    "NonValueAggregate,Aggregate,Distinct,MultipleOrderBy,OffsetAndLimit,OrderBy,Top,CompositeAggregate,GroupBy,\
     MultipleAggregates,DCount",
);

async fn plan(client: &Client, sql: &str) -> Json {
    client.query(sql, &[PLAN, ALL]).await.expect(200).json()
}

#[tokio::test]
async fn the_plan_of_a_plain_query() {
    let (_emulator, client) = start().await;
    client.setup().await;
    let info = json!({
        "distinctType": "None", "top": null, "offset": null, "limit": null, "orderBy": [], "orderByExpressions": [],
        "groupByExpressions": [], "groupByAliases": [], "aggregates": [], "groupByAliasToAggregateType": {},
        "rewrittenQuery": "", "hasSelectValue": false, "dCountInfo": null, "hasNonStreamingOrderBy": false,
    });
    let everywhere = json!([{"min": "", "max": "FF", "isMinInclusive": true, "isMaxInclusive": false}]);
    assert_eq!(
        plan(&client, "SELECT * FROM c").await,
        json!({
            "partitionedQueryExecutionInfoVersion": 2, "queryInfo": info, "queryRanges": everywhere,
            "hybridSearchQueryInfo": null,
        })
    );
}

#[tokio::test]
async fn ranges_come_from_partition_keys() {
    let (_emulator, client) = start().await;
    client.setup().await;
    let ranges =
        plan(&client, "SELECT * FROM c WHERE c.pk IN ('', 'partitionKey', '')").await["queryRanges"].clone();
    let point = |epk: &str| json!({"min": epk, "max": epk, "isMinInclusive": true, "isMaxInclusive": true});
    let expected = ["013AEFCF77FA271571CF665A58C933F1", "32E9366E637A71B4E710384B2F4970A0"];
    assert_eq!(ranges, json!(expected.map(point)));
    assert_eq!(plan(&client, "SELECT * FROM c WHERE false").await["queryRanges"], json!([point("")]));
}

#[tokio::test]
async fn prefixes_of_hierarchical_keys_are_ranges() {
    let (_emulator, client) = start().await;
    client
        .setup_with(json!({"partitionKey": {"paths": ["/a", "/b"], "kind": "MultiHash", "version": 2}}))
        .await;
    let prefix = "32E9366E637A71B4E710384B2F4970A0";
    assert_eq!(
        plan(&client, "SELECT * FROM c WHERE c.a = ''").await["queryRanges"],
        json!([{"min": prefix, "max": format!("{prefix}FF"), "isMinInclusive": true, "isMaxInclusive": false}])
    );
    let whole = format!("{prefix}378867E4430E67857ACE5C908374FE16");
    assert_eq!(
        plan(&client, "SELECT * FROM c WHERE c.a = '' AND c.b = null").await["queryRanges"],
        json!([{"min": whole, "max": whole, "isMinInclusive": true, "isMaxInclusive": true}])
    );
}

#[tokio::test]
async fn features_that_a_client_lacks_are_refused() {
    let (_emulator, client) = start().await;
    client.setup().await;
    let refused = client.query("SELECT VALUE COUNT(1) FROM c", &[PLAN]).await.expect(400);
    assert!(refused.text.contains("Query contains 1 or more unsupported features."), "{}", refused.text);
    assert!(refused.text.contains("Query contained Aggregate, which the calling client does not support."));
    let some = (FEATURES, "Aggregate, CompositeAggregate");
    client.query("SELECT VALUE AVG(c.n) FROM c", &[PLAN, some]).await.expect(200);
    client.query("SELECT AVG(c.n) FROM c", &[PLAN, some]).await.expect(400);
}

/// What a client does: the rewritten query on each physical partition.
#[tokio::test]
async fn partitions_run_what_the_plan_says() {
    let (_emulator, client) = start_with(cosmos_emulator::Emulator::builder().partitions(4)).await;
    client.setup().await;
    for at in 0..20 {
        client
            .create(json!({"id": format!("{at}"), "pk": format!("{at}"), "n": at, "mod": at % 3}))
            .await
            .expect(201);
    }
    let ordered = plan(&client, "SELECT VALUE c.n FROM c WHERE c.n > 2 ORDER BY c.n DESC").await;
    let rewritten = ordered["queryInfo"]["rewrittenQuery"].as_str().unwrap();
    let mut all = Vec::new();
    for range in ["0", "1", "2", "3"] {
        // Also as a client goes on behind a row of another partition.
        let sql = rewritten.replace("{documentdb-formattableorderbyquery-filter}", "c.n < 15");
        let range = ("x-ms-documentdb-partitionkeyrangeid", range);
        let rows = client.query_all(&sql, &[range]).await;
        assert!(
            rows.iter()
                .all(|row| row["_rid"].is_string() && row["orderByItems"][0]["item"] == row["payload"])
        );
        all.extend(rows.iter().map(|row| row["payload"].as_i64().unwrap()));
    }
    all.sort_unstable();
    assert_eq!(all, (3..15).collect::<Vec<_>>());

    let grouped = plan(&client, "SELECT c.mod, MAX(c.n) AS most FROM c GROUP BY c.mod").await;
    let rewritten = grouped["queryInfo"]["rewrittenQuery"].as_str().unwrap().to_owned();
    let mut most = [0; 3];
    for range in ["0", "1", "2", "3"] {
        let rows = client.query_all(&rewritten, &[("x-ms-documentdb-partitionkeyrangeid", range)]).await;
        for row in rows {
            let group = usize::try_from(row["groupByItems"][0]["item"].as_u64().unwrap()).unwrap();
            let value = &row["payload"]["most"];
            assert_eq!(value["item"], value["item2"]["max"]);
            most[group] = most[group].max(value["item"].as_i64().unwrap());
        }
    }
    assert_eq!(most, [18, 19, 17]);
}
