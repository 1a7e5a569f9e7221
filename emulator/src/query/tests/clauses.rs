use super::{check, context, json, run};
use crate::query::{Context, Query};
use crate::value::Value;

const FAMILIES: &str = r#"[
    {"id":"a","n":1,"tags":["x","y"],"kids":[{"name":"Ann","pets":[{"p":"cat"}]},{"name":"Bob"}],"team":"red"},
    {"id":"b","n":2,"tags":["y"],"kids":[],"team":"blue"},
    {"id":"c","n":null,"tags":[],"team":"red"},
    {"id":"d","n":"2","team":"red","tags":"none"}
]"#;

#[test]
fn projections() {
    check(
        r#"[{"id":"a","x":{"y":1,"z":[5]}}]"#,
        &[
            ("SELECT * FROM c", r#"[{"id":"a","x":{"y":1,"z":[5]}}]"#),
            ("SELECT c FROM c", r#"[{"c":{"id":"a","x":{"y":1,"z":[5]}}}]"#),
            ("SELECT VALUE c.x FROM c", r#"[{"y":1,"z":[5]}]"#),
            ("SELECT c.id, c.x.y FROM c", r#"[{"id":"a","y":1}]"#),
            ("SELECT c['id'], c.x['y'] AS why, c.x.y z FROM c", r#"[{"id":"a","why":1,"z":1}]"#),
            ("SELECT 1, c.id, 2, c.x.z[0] FROM c", r#"[{"$1":1,"id":"a","$2":2,"$3":5}]"#),
            ("SELECT c.missing FROM c", "[{}]"),
            ("SELECT VALUE c.missing FROM c", "[]"),
            ("SELECT {a: c.id} AS o, [c.id] AS l FROM c", r#"[{"o":{"a":"a"},"l":["a"]}]"#),
            ("SELECT 1", r#"[{"$1":1}]"#),
            ("SELECT VALUE 'x'", r#"["x"]"#),
            ("select value C.id from C where C.id = 'a'", r#"["a"]"#),
        ],
    );
}

#[test]
fn sources() {
    check(
        FAMILIES,
        &[
            ("SELECT VALUE f.id FROM Families f WHERE f.n = 1", r#"["a"]"#),
            ("SELECT VALUE f.id FROM Families AS f WHERE f.n = 2", r#"["b"]"#),
            ("SELECT VALUE root.id FROM root WHERE root.n = null", r#"["c"]"#),
            (
                "SELECT VALUE kids FROM Families.kids",
                r#"[[{"name":"Ann","pets":[{"p":"cat"}]},{"name":"Bob"}],[]]"#,
            ),
            ("SELECT VALUE k.name FROM Families.kids[0] k", r#"["Ann"]"#),
            ("SELECT VALUE k.name FROM f['kids'][1] AS k", r#"["Bob"]"#),
            ("SELECT * FROM k IN f.kids", r#"[{"name":"Ann","pets":[{"p":"cat"}]},{"name":"Bob"}]"#),
            ("SELECT VALUE t FROM t IN f.tags", r#"["x","y","y"]"#),
        ],
    );
}

#[test]
fn joins() {
    check(
        FAMILIES,
        &[
            (
                "SELECT c.id, t FROM c JOIN t IN c.tags",
                r#"[{"id":"a","t":"x"},{"id":"a","t":"y"},{"id":"b","t":"y"}]"#,
            ),
            ("SELECT VALUE c.id FROM c JOIN c.kids", r#"["a","b"]"#),
            ("SELECT VALUE c.id FROM c JOIN c.kids.nothing", "[]"),
            (
                "SELECT c.id, k.name, p.p FROM c JOIN k IN c.kids JOIN p IN k.pets",
                r#"[{"id":"a","name":"Ann","p":"cat"}]"#,
            ),
            (
                "SELECT VALUE CONCAT(t, k.name) FROM c JOIN t IN c.tags JOIN k IN c.kids",
                r#"["xAnn","xBob","yAnn","yBob"]"#,
            ),
            (
                "SELECT VALUE s FROM c JOIN (SELECT VALUE t FROM t IN c.tags WHERE t = 'y') AS s",
                r#"["y","y"]"#,
            ),
            ("SELECT VALUE s.t FROM c JOIN (SELECT t FROM t IN c.tags WHERE t = 'x') s", r#"["x"]"#),
            ("SELECT VALUE COUNT(1) FROM c JOIN (SELECT VALUE t FROM t IN c.tags)", "[3]"),
        ],
    );
}

#[test]
fn subqueries() {
    check(
        FAMILIES,
        &[
            (
                "SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = 'x')",
                r#"["a"]"#,
            ),
            ("SELECT VALUE c.id FROM c WHERE NOT EXISTS(SELECT VALUE t FROM t IN c.tags)", r#"["c","d"]"#),
            (
                "SELECT c.id, ARRAY(SELECT VALUE k.name FROM k IN c.kids) AS names FROM c WHERE c.n IN (1, 2)",
                r#"[{"id":"a","names":["Ann","Bob"]},{"id":"b","names":[]}]"#,
            ),
            (
                "SELECT c.id, (SELECT VALUE COUNT(1) FROM t IN c.tags) AS n FROM c",
                r#"[{"id":"a","n":2},{"id":"b","n":1},{"id":"c","n":0},{"id":"d","n":0}]"#,
            ),
            ("SELECT VALUE (SELECT VALUE k.name FROM k IN c.kids WHERE k.name = 'Bob') FROM c", r#"["Bob"]"#),
            ("SELECT VALUE s.id FROM (SELECT c.id, c.n FROM c WHERE c.n > 0) AS s WHERE s.n > 1", r#"["b"]"#),
            ("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.team FROM c) AS teams", "[2]"),
            ("SELECT VALUE (SELECT VALUE COUNT(1) FROM c)", "[4]"),
            (
                "SELECT VALUE (SELECT VALUE m FROM (SELECT VALUE MAX(t) FROM t IN c.tags) m) FROM c",
                r#"["y","y"]"#,
            ),
            ("SELECT VALUE EXISTS(SELECT VALUE undefined)", "[false]"),
        ],
    );
    let error = run("SELECT VALUE (SELECT VALUE t FROM t IN c.tags) FROM c", FAMILIES).unwrap_err();
    assert!(error.message.contains("scalar subquery"), "{error}");
}

#[test]
fn filters() {
    check(
        FAMILIES,
        &[
            ("SELECT VALUE c.id FROM c WHERE c.n > 0", r#"["a","b"]"#),
            ("SELECT VALUE c.id FROM c WHERE c.n != 1", r#"["b","c","d"]"#),
            ("SELECT VALUE c.id FROM c WHERE c.missing = null", "[]"),
            ("SELECT VALUE c.id FROM c WHERE c.missing != 1", "[]"),
            ("SELECT VALUE c.id FROM c WHERE NOT (c.missing = 1)", "[]"),
            ("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.kids)", r#"["c","d"]"#),
            ("SELECT VALUE c.id FROM c WHERE c.n = @one OR c.id = @name", r#"["a","b"]"#),
            ("SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(@list, c.n)", r#"["a","b"]"#),
            ("SELECT VALUE c.id FROM c WHERE 1", "[]"),
            ("SELECT VALUE c.id FROM c WHERE c.n", "[]"),
        ],
    );
}

#[test]
fn limits() {
    check(
        FAMILIES,
        &[
            ("SELECT TOP 2 VALUE c.id FROM c", r#"["a","b"]"#),
            ("SELECT TOP 0 VALUE c.id FROM c", "[]"),
            ("SELECT TOP @one c.id FROM c", r#"[{"id":"a"}]"#),
            ("SELECT VALUE c.id FROM c OFFSET 1 LIMIT 2", r#"["b","c"]"#),
            ("SELECT VALUE c.id FROM c OFFSET @one LIMIT @one", r#"["b"]"#),
            ("SELECT VALUE c.id FROM c OFFSET 9 LIMIT 2", "[]"),
            ("SELECT TOP 1 VALUE c.n FROM c ORDER BY c.id DESC", r#"["2"]"#),
            ("SELECT DISTINCT VALUE c.team FROM c", r#"["red","blue"]"#),
            ("SELECT DISTINCT TOP 1 VALUE c.team FROM c", r#"["red"]"#),
            ("SELECT DISTINCT c.team FROM c ORDER BY c.team OFFSET 1 LIMIT 1", r#"[{"team":"red"}]"#),
            ("SELECT DISTINCT VALUE {a: 1, b: c.missing} FROM c", r#"[{"a":1}]"#),
        ],
    );
}

#[test]
fn takes_no_more_documents_than_it_needs() {
    let documents: Vec<Value> = (0..10).map(|n| json(&format!("{{\"n\":{n}}}"))).collect();
    let taken = std::cell::Cell::new(0);
    let counted = documents.iter().inspect(|_| taken.set(taken.get() + 1));
    let query = Query::parse("SELECT TOP 2 VALUE c.n FROM c WHERE c.n > 2").unwrap();
    assert_eq!(query.run(counted, &context()).unwrap(), vec![Value::Number(3.0), Value::Number(4.0)]);
    assert_eq!(taken.get(), 5);
}

#[test]
fn order() {
    let mixed = r#"[{"i":1,"v":"b"},{"i":2,"v":[1]},{"i":3},{"i":4,"v":2},{"i":5,"v":null},{"i":6,"v":true},
        {"i":7,"v":{"a":1}},{"i":8,"v":"a"},{"i":9,"v":false},{"i":10,"v":-1}]"#;
    check(
        mixed,
        &[
            ("SELECT VALUE c.i FROM c ORDER BY c.v", "[3,5,9,6,10,4,8,1,2,7]"),
            ("SELECT VALUE c.i FROM c ORDER BY c.v ASC", "[3,5,9,6,10,4,8,1,2,7]"),
            ("SELECT VALUE c.i FROM c ORDER BY c.v DESC", "[7,2,1,8,4,10,6,9,5,3]"),
            ("SELECT VALUE c.i FROM c WHERE IS_NUMBER(c.v) ORDER BY c['v']", "[10,4]"),
        ],
    );
    check(
        r#"[{"a":1,"b":1},{"a":2,"b":2},{"a":1,"b":3},{"a":2,"b":4}]"#,
        &[
            ("SELECT VALUE c.b FROM c ORDER BY c.a DESC, c.b", "[2,4,1,3]"),
            ("SELECT VALUE c.b FROM c ORDER BY c.a, c.b DESC", "[3,1,4,2]"),
            // Stable within equal keys.
            ("SELECT VALUE c.b FROM c ORDER BY c.a", "[1,3,2,4]"),
        ],
    );
}

#[test]
fn aggregates() {
    let documents = r#"[{"g":"x","n":1,"s":"b"},{"g":"x","n":3},{"g":"y","n":5,"s":"a"},{"n":"7","o":[1]}]"#;
    check(
        documents,
        &[
            ("SELECT VALUE COUNT(1) FROM c", "[4]"),
            ("SELECT COUNT(1) FROM c", r#"[{"$1":4}]"#),
            ("SELECT COUNT(1) AS n, MAX(c.s) AS m FROM c", r#"[{"n":4,"m":"b"}]"#),
            ("SELECT VALUE COUNT(c.g) FROM c", "[3]"),
            ("SELECT VALUE COUNT(c.missing) FROM c", "[0]"),
            ("SELECT VALUE SUM(c.n) FROM c WHERE IS_NUMBER(c.n)", "[9]"),
            ("SELECT VALUE AVG(c.n) FROM c WHERE IS_NUMBER(c.n)", "[3]"),
            // One value of another type spoils a sum; one that is not there does not.
            ("SELECT VALUE SUM(c.n) FROM c", "[]"),
            ("SELECT VALUE AVG(c.n) FROM c", "[]"),
            ("SELECT SUM(c.n) AS s FROM c", "[{}]"),
            ("SELECT VALUE SUM(c.missing) FROM c", "[0]"),
            ("SELECT VALUE AVG(c.missing) FROM c", "[]"),
            ("SELECT VALUE MIN(c.n) FROM c", "[1]"),
            ("SELECT VALUE MAX(c.n) FROM c", "[\"7\"]"),
            ("SELECT VALUE MIN(c.o) FROM c", "[]"),
            ("SELECT VALUE MAX(c.missing) FROM c", "[]"),
            ("SELECT VALUE COUNT(1) FROM c WHERE false", "[0]"),
            ("SELECT VALUE COUNTIF(c.n > 2) FROM c", "[2]"),
            ("SELECT VALUE MAKELIST(c.g) FROM c", r#"[["x","x","y"]]"#),
            ("SELECT VALUE MAKESET(c.g) FROM c", r#"[["x","y"]]"#),
            ("SELECT VALUE {low: MIN(c.n), next: SUM(1) + 1} FROM c", r#"[{"low":1,"next":5}]"#),
            ("SELECT TOP 1 VALUE COUNT(1) FROM c", "[4]"),
        ],
    );
}

#[test]
fn groups() {
    let documents = r#"[{"g":"x","n":1,"s":"b"},{"g":"y","n":5},{"g":"x","n":3},{"n":7}]"#;
    check(
        documents,
        &[
            ("SELECT c.g, COUNT(1) AS n FROM c GROUP BY c.g", r#"[{"g":"x","n":2},{"g":"y","n":1},{"n":1}]"#),
            ("SELECT VALUE SUM(c.n) FROM c GROUP BY c.g", "[4,5,7]"),
            ("SELECT VALUE c.g FROM c GROUP BY c['g']", r#"["x","y"]"#),
            ("SELECT UPPER(c.g) AS u FROM c GROUP BY UPPER(c.g)", r#"[{"u":"X"},{"u":"Y"},{}]"#),
            ("SELECT c.g, UPPER(c.g) FROM c WHERE c.n < 5 GROUP BY c.g", r#"[{"g":"x","$1":"X"}]"#),
            ("SELECT c.g, c.s FROM c WHERE c.g = 'x' GROUP BY c.g, c.s", r#"[{"g":"x","s":"b"},{"g":"x"}]"#),
            (
                "SELECT VALUE {g: c.g, high: MAX(c.n)} FROM c WHERE IS_DEFINED(c.g) GROUP BY c.g",
                r#"[{"g":"x","high":3},{"g":"y","high":5}]"#,
            ),
            ("SELECT c.g, COUNT(1) AS n FROM c GROUP BY c.g OFFSET 1 LIMIT 1", r#"[{"g":"y","n":1}]"#),
            ("SELECT COUNT(1) AS n FROM c WHERE false GROUP BY c.g", "[]"),
        ],
    );
    check(
        r#"[{"t":["a","b","a"]}]"#,
        &[(
            "SELECT t, COUNT(1) AS n FROM c JOIN t IN c.t GROUP BY t",
            r#"[{"t":"a","n":2},{"t":"b","n":1}]"#,
        )],
    );
}

#[test]
fn shape() {
    let shape = |text: &str| Query::parse(text).unwrap().shape();
    let plain = shape("SELECT * FROM c WHERE c.a = 1");
    assert!(plain.star && plain.from && !plain.value);
    assert!(!(plain.top || plain.order_by || plain.aggregate || plain.distinct || plain.offset_limit));
    assert!(!(plain.group_by || plain.join || plain.subquery || plain.udf));
    assert!(shape("SELECT TOP 1 * FROM c").top);
    assert!(shape("SELECT * FROM c ORDER BY c.a").order_by);
    let count = shape("SELECT VALUE COUNT(1) FROM c");
    assert!(count.aggregate && count.value && !count.non_value_aggregate);
    assert!(shape("SELECT COUNT(1) FROM c").non_value_aggregate);
    assert!(shape("SELECT VALUE {n: COUNT(1)} FROM c").non_value_aggregate);
    assert!(shape("SELECT DISTINCT c.a FROM c").distinct);
    assert!(shape("SELECT * FROM c OFFSET 1 LIMIT 1").offset_limit);
    assert!(shape("SELECT c.a FROM c GROUP BY c.a").group_by);
    assert!(shape("SELECT VALUE t FROM c JOIN t IN c.t").join);
    // An aggregate of a subquery is not one of the query.
    let inner = shape("SELECT c.id, (SELECT VALUE COUNT(1) FROM t IN c.t) AS n FROM c");
    assert!(inner.subquery && !inner.aggregate);
    assert!(shape("SELECT udf.f(c.a) FROM c").udf);
    assert!(!shape("SELECT 1").from);
}

#[test]
fn round_trip() {
    for text in [
        "SELECT DISTINCT TOP 5 d.id, UPPER(d.x) AS u FROM c AS d JOIN t IN d.tags JOIN (SELECT VALUE 1) AS s",
        "SELECT VALUE c FROM c WHERE (c.a = @p) GROUP BY c ORDER BY c ASC OFFSET 1 LIMIT @n",
        "SELECT * FROM x IN c.a[0][\"b c\"] ORDER BY x.a DESC, x[\"value\"] ASC",
        "SELECT VALUE ARRAY(SELECT VALUE udf.f(t, 1) FROM t IN c.t) FROM c WHERE EXISTS(SELECT VALUE c)",
    ] {
        let printed = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string();
        assert_eq!(printed, text);
    }
}

#[test]
fn queries_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Query>();
}

#[test]
fn without_udfs_a_call_is_an_error() {
    let query = Query::parse("SELECT VALUE udf.twice(1)").unwrap();
    let error = query.run([].iter(), &Context::default()).unwrap_err();
    assert_eq!(error.status, 400);
    assert!(error.message.contains("'twice'"), "{error}");
}
