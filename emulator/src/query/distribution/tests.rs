//! Query plans; the expected forms are facts of the service's own answers (the .NET SDK's query plan baselines).

use super::super::Query;
use super::super::tests::context;
use super::KeyFilter;
use crate::value::Value;

fn paths(texts: &[&str]) -> Vec<Vec<String>> {
    texts.iter().map(|text| text.split('.').map(str::to_owned).collect()).collect()
}

fn info(query: &str) -> Value {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    query.distribution(&paths(&["key"]), &context()).unwrap().to_value()
}

#[track_caller]
fn rewritten(query: &str, expected: &str) {
    assert_eq!(info(query).get("rewrittenQuery").as_str(), Some(expected), "{query}");
}

#[test]
fn queries_that_partitions_can_run_as_they_are() {
    for query in [
        "SELECT * FROM c",
        "SELECT 5",
        "SELECT TOP 5 * FROM c",
        "SELECT DISTINCT c.a FROM c",
        "SELECT * FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2",
        "SELECT c.name, s FROM c JOIN (SELECT VALUE x FROM x IN c.scores GROUP BY x) s",
    ] {
        rewritten(query, "");
    }
    assert_eq!(info("SELECT TOP 5 * FROM c").get("top"), &Value::Number(5.0));
    assert_eq!(info("SELECT TOP @one * FROM c").get("top"), &Value::Number(1.0));
    assert_eq!(info("SELECT TOP 2 5").get("top"), &Value::Null);
    assert_eq!(info("SELECT DISTINCT c.a FROM c").get("distinctType").as_str(), Some("Unordered"));
    assert_eq!(info("SELECT * FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2").get("offset"), &Value::Null);
}

#[test]
fn order_by_brings_what_rows_are_merged_by() {
    rewritten(
        "SELECT * FROM Root r ORDER BY r.blah",
        "SELECT r._rid, [{\"item\": r.blah}] AS orderByItems, r AS payload\nFROM Root AS r\n\
         WHERE ({documentdb-formattableorderbyquery-filter})\nORDER BY r.blah ASC",
    );
    rewritten(
        "SELECT TOP 10 c.a, c.b FROM c WHERE c.d = 'x' ORDER BY c.e DESC, c.f",
        "SELECT TOP 10 c._rid, [{\"item\": c.e}, {\"item\": c.f}] AS orderByItems, {\"a\": c.a, \"b\": c.b} AS \
         payload\nFROM c\nWHERE ((c.d = \"x\") AND ({documentdb-formattableorderbyquery-filter}))\n\
         ORDER BY c.e DESC, c.f ASC",
    );
    rewritten(
        "SELECT VALUE r.a FROM r WHERE r.d = true ORDER BY r.b",
        "SELECT r._rid, [{\"item\": r.b}] AS orderByItems, r.a AS payload\nFROM r\n\
         WHERE (((r.d = true) AND ({documentdb-formattableorderbyquery-filter})) AND IS_DEFINED(r.a))\n\
         ORDER BY r.b ASC",
    );
    rewritten(
        "SELECT DISTINCT VALUE c.blah FROM c ORDER BY c.blah OFFSET 1 LIMIT 2",
        "SELECT c._rid, [{\"item\": c.blah}] AS orderByItems, c.blah AS payload\nFROM c\n\
         WHERE (({documentdb-formattableorderbyquery-filter}) AND IS_DEFINED(c.blah))\nORDER BY c.blah ASC",
    );
    let plan = info("SELECT DISTINCT VALUE c.blah FROM c ORDER BY c.blah");
    assert_eq!(plan.get("distinctType").as_str(), Some("Ordered"));
    let plan = info("SELECT c.a FROM c ORDER BY c.e DESC, c.f");
    assert_eq!(plan.get("orderBy").to_json(), r#"["Descending","Ascending"]"#);
    assert_eq!(plan.get("orderByExpressions").to_json(), r#"["c.e","c.f"]"#);
}

#[test]
fn offset_and_limit_become_one_limit() {
    rewritten("SELECT * FROM c OFFSET 1 LIMIT 2", "SELECT *\nFROM c\nOFFSET 0 LIMIT 3");
    rewritten(
        "SELECT c.name FROM c WHERE c.blah = 5 OFFSET @one LIMIT 10",
        "SELECT c.name\nFROM c\nWHERE (c.blah = 5)\nOFFSET 0 LIMIT 11",
    );
    rewritten("SELECT DISTINCT TOP 5 VALUE c.name FROM c", "SELECT DISTINCT VALUE c.name\nFROM c");
    rewritten(
        "SELECT DISTINCT * FROM c WHERE c.key = 5 OFFSET 1 LIMIT 2",
        "SELECT DISTINCT *\nFROM c\nWHERE (c.key = 5)",
    );
    // The client does not apply them for one key, so they have to stay.
    rewritten(
        "SELECT * FROM c WHERE c.key = 5 ORDER BY c.a OFFSET 1 LIMIT 2",
        "SELECT c._rid, [{\"item\": c.a}] AS orderByItems, c AS payload\nFROM c\n\
         WHERE ((c.key = 5) AND ({documentdb-formattableorderbyquery-filter}))\nORDER BY c.a ASC\nOFFSET 1 LIMIT 2",
    );
}

#[test]
fn aggregates_become_partial_results() {
    for (call, partial) in [
        ("COUNT(1)", r#"{"item": COUNT(1)}"#),
        ("SUM(c.x)", r#"{"item": SUM(c.x)}"#),
        ("AVG(c.x)", r#"{"item": {"sum": SUM(c.x), "count": COUNT(c.x)}}"#),
        ("MIN(c.x)", r#"{"item": MIN(c.x), "item2": {"min": MIN(c.x), "count": COUNT(c.x)}}"#),
        (
            "MAX(c.x + 1)",
            r#"{"item": MAX((c.x + 1)), "item2": {"max": MAX((c.x + 1)), "count": COUNT((c.x + 1))}}"#,
        ),
    ] {
        rewritten(
            &format!("SELECT TOP 10 VALUE {call} FROM c"),
            &format!("SELECT VALUE [{partial}]\nFROM c"),
        );
        rewritten(
            &format!("SELECT {call} FROM c WHERE c.a > 1"),
            &format!("SELECT {{\"$1\": {partial}}} AS payload\nFROM c\nWHERE (c.a > 1)"),
        );
    }
    let plan = info("SELECT VALUE AVG(c.x) FROM c");
    assert_eq!(plan.get("aggregates").to_json(), r#"["Average"]"#);
    assert_eq!(plan.get("hasSelectValue"), &Value::Bool(true));
    let plan = info("SELECT MAX(c.x) AS most FROM c");
    assert_eq!(plan.get("aggregates").to_json(), "[]");
    assert_eq!(plan.get("groupByAliasToAggregateType").to_json(), r#"{"most":"Max"}"#);
    for query in ["SELECT VALUE {'sum': SUM(r)} FROM r", "SELECT VALUE FLOOR(AVG(r.a)) FROM r"] {
        let error = Query::parse(query).unwrap().distribution(&[], &context()).unwrap_err();
        assert!(error.message.contains("Compositions of aggregates"), "{}", error.message);
    }
}

#[test]
fn groups_come_with_their_keys() {
    rewritten(
        "SELECT c.team, COUNT(1) AS n, UPPER(c.team) FROM c GROUP BY c.team OFFSET 1 LIMIT 2",
        "SELECT [{\"item\": c.team}] AS groupByItems, {\"team\": c.team, \"n\": {\"item\": COUNT(1)}, \"$1\": \
         UPPER(c.team)} AS payload\nFROM c\nGROUP BY c.team",
    );
    rewritten(
        "SELECT TOP 5 VALUE AVG(c.age) FROM c WHERE c.key = 5 GROUP BY c.age, c.name",
        "SELECT [{\"item\": c.age}, {\"item\": c.name}] AS groupByItems, [{\"item\": {\"sum\": SUM(c.age), \
         \"count\": COUNT(c.age)}}] AS payload\nFROM c\nWHERE (c.key = 5)\nGROUP BY c.age, c.name",
    );
    let plan = info("SELECT c.team, AVG(c.age) AS age FROM c GROUP BY c.team");
    assert_eq!(plan.get("groupByExpressions").to_json(), r#"["c.team"]"#);
    assert_eq!(plan.get("groupByAliases").to_json(), r#"["team","age"]"#);
    assert_eq!(plan.get("groupByAliasToAggregateType").to_json(), r#"{"team":null,"age":"Average"}"#);
}

#[test]
fn a_count_of_distinct_values_is_left_to_the_client() {
    let plan = info("SELECT COUNT(1) AS n FROM (SELECT DISTINCT VALUE c.x FROM c WHERE c.a = 1)");
    assert_eq!(plan.get("dCountInfo").get("dCountAlias").as_str(), Some("n"));
    assert_eq!(
        plan.get("rewrittenQuery").as_str(),
        Some("SELECT DISTINCT VALUE c.x\nFROM c\nWHERE (c.a = 1)")
    );
    assert_eq!(plan.get("distinctType").as_str(), Some("Unordered"));
}

#[test]
fn features_name_what_the_client_has_to_do() {
    for (query, features) in [
        ("SELECT * FROM c", vec![]),
        ("SELECT VALUE AVG(c.x) FROM c", vec!["Aggregate", "CompositeAggregate"]),
        ("SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a", vec!["GroupBy", "NonValueAggregate"]),
        ("SELECT TOP 1 * FROM c ORDER BY c.a, c.b", vec!["MultipleOrderBy", "OrderBy", "Top"]),
    ] {
        let info = Query::parse(query).unwrap().distribution(&paths(&["key"]), &context()).unwrap();
        assert_eq!(info.features(), features, "{query}");
    }
}

fn keys(key_paths: &[&str], filter: &str) -> KeyFilter {
    let query = Query::parse(&format!("SELECT * FROM c WHERE {filter}")).unwrap();
    query.distribution(&paths(key_paths), &context()).unwrap().keys().clone()
}

#[test]
fn filters_leave_partition_keys() {
    let found = |json: &str| match Value::parse(json.as_bytes()).unwrap() {
        Value::Array(keys) => KeyFilter::Keys(
            keys.iter()
                .map(|key| (0..).map(|at| key.at(at).clone()).take_while(|v| !v.is_undefined()).collect())
                .collect(),
        ),
        other => panic!("{other}"),
    };
    for (filter, expected) in [
        ("c.key = 5", "[[5]]"),
        ("'x' = c.key AND c.other > 3", r#"[["x"]]"#),
        ("c.key = null", "[[null]]"),
        ("c.key", "[[true]]"),
        ("NOT c.key", "[[false]]"),
        ("c.key IN (1, 'a', true)", r#"[[1],["a"],[true]]"#),
        ("c.key = @one OR c.key = @name", r#"[[1],["b"]]"#),
        ("ARRAY_CONTAINS(@list, c.key)", "[[1],[2],[3]]"),
        ("IS_BOOL(c.key)", "[[false],[true]]"),
        ("c.key IN (1, 2) AND c.key IN (2, 3)", "[[2]]"),
    ] {
        assert_eq!(keys(&["key"], filter), found(expected), "{filter}");
    }
    for filter in
        ["c.key > 1", "c.key != 1", "c.key = 1 OR c.a = 1", "NOT (c.key = 1)", "c.other = 1", "true"]
    {
        assert_eq!(keys(&["key"], filter), KeyFilter::Any, "{filter}");
    }
    for filter in ["false", "c.key = 1 AND c.key = 2", "c.a = 1 AND 1 > 2"] {
        assert_eq!(keys(&["key"], filter), KeyFilter::Nowhere, "{filter}");
    }
    let paths = &["a.b", "c"];
    assert_eq!(keys(paths, "c.c = false AND c.a.b = null"), found("[[null,false]]"));
    assert_eq!(keys(paths, "c.a.b = 1"), found("[[1]]"));
    assert_eq!(keys(paths, "c.c = 1"), KeyFilter::Any);
    assert_eq!(keys(paths, "c.a.b IN (1, 2) AND c.c = 3"), found("[[1,3],[2,3]]"));
}
