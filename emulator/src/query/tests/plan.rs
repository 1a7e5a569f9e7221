use super::{NOW_MS, context, json};
use crate::query::{Limit, Predicate, Query, Test};
use crate::value::Value;

fn sargable(filter: &str) -> Vec<Predicate> {
    Query::parse(&format!("SELECT * FROM c WHERE {filter}")).unwrap().sargable(&context())
}

fn predicate(path: &[&str], test: Test) -> Predicate {
    Predicate { path: path.iter().map(|name| (*name).to_owned()).collect(), test }
}

fn limit(value: impl Into<Value>, inclusive: bool) -> Option<Limit> {
    Some(Limit { value: value.into(), inclusive })
}

#[test]
fn predicates() {
    let eq = |path: &[&str], value: &str| predicate(path, Test::Eq(json(value)));
    let range = |path: &[&str], min, max| predicate(path, Test::Range { min, max });
    for (filter, expected) in [
        (
            "c.type = 'a' AND c.readyAt <= @one",
            vec![eq(&["type"], "\"a\""), range(&["readyAt"], None, limit(1.0, true))],
        ),
        ("c.t <= GetCurrentTimestampStatic()", vec![range(&["t"], None, limit(NOW_MS, true))]),
        ("'a' = c.a.b", vec![eq(&["a", "b"], "\"a\"")]),
        ("5 < c.a", vec![range(&["a"], limit(5.0, false), None)]),
        ("c.a > 1 AND c.a <= 2 + 3 AND (c.a >= 1)", vec![range(&["a"], limit(1.0, false), limit(5.0, true))]),
        ("c.a BETWEEN 1 AND 2", vec![range(&["a"], limit(1.0, true), limit(2.0, true))]),
        ("c.a IN (1, @one)", vec![predicate(&["a"], Test::In(vec![json("1"), json("1")]))]),
        ("c['x y'] = null", vec![eq(&["x y"], "null")]),
        ("IS_NULL(c.a)", vec![eq(&["a"], "null")]),
        ("c.flag", vec![eq(&["flag"], "true")]),
        ("IS_DEFINED(c.a)", vec![predicate(&["a"], Test::Defined)]),
        ("STARTSWITH(c.a, 'ab')", vec![range(&["a"], limit("ab", true), limit("ac", false))]),
        (
            "STARTSWITH(c.a, 'a\u{10ffff}')",
            vec![range(&["a"], limit("a\u{10ffff}", true), limit("b", false))],
        ),
        ("c.a = {x: [1]}", vec![eq(&["a"], r#"{"x":[1]}"#)]),
        (
            "c.a = 1 OR c.a IN (2, 3) OR c.a = null",
            vec![predicate(&["a"], Test::In(vec![json("1"), json("2"), json("3"), json("null")]))],
        ),
        ("c.a = 1 OR (c.a = 2 AND c.b = 3)", vec![]),
        ("c.a = 1 OR c.a > 2", vec![]),
        // None of these narrows anything down safely.
        ("c.a = 1 OR c.b = 2", vec![]),
        ("NOT (c.a = 1)", vec![]),
        ("c.a != 1", vec![]),
        ("c.a NOT IN (1)", vec![]),
        ("c.a = c.b", vec![]),
        ("c.a[0] = 1", vec![]),
        ("c = 1", vec![]),
        ("c.a = undefined", vec![]),
        ("c.a = @unknown", vec![]),
        ("c.a = RAND()", vec![]),
        ("c.a = udf.twice(1)", vec![]),
        ("c.a = (SELECT VALUE 1)", vec![]),
        ("STARTSWITH(c.a, 'ab', true)", vec![]),
        ("c.a IN (1, c.b)", vec![]),
    ] {
        assert_eq!(sargable(filter), expected, "{filter}");
    }
}

#[test]
fn only_over_documents() {
    for query in
        ["SELECT * FROM x IN c.xs WHERE x.a = 1", "SELECT * FROM c.x WHERE x.a = 1", "SELECT 1 WHERE 1 = 1"]
    {
        assert_eq!(Query::parse(query).unwrap().sargable(&context()), [], "{query}");
    }
    let joined = Query::parse("SELECT t FROM c JOIN t IN c.ts WHERE c.a = 1 AND t.b = 2").unwrap();
    assert_eq!(joined.sargable(&context()), [predicate(&["a"], Test::Eq(json("1")))]);
}

#[test]
fn aggregates_of_properties() {
    let paths = |text: &str| {
        let paths = Query::parse(text).unwrap().aggregated_paths()?;
        Some(
            [paths.filtered, paths.values]
                .map(|paths| paths.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" ")),
        )
    };
    for (query, filtered, values) in [
        ("SELECT VALUE COUNT(1) FROM c", "", ""),
        ("SELECT VALUE COUNT(1) FROM c WHERE c.a = 'x' AND IS_DEFINED(c.b)", "a b", ""),
        ("SELECT VALUE SUM(c.n.m) FROM c WHERE c.a IN (1, 2) OR NOT c.b > @one", "a b", "n.m"),
        ("SELECT MAX(c.n) AS most, COUNT(c.m) AS n FROM c WHERE STARTSWITH(c.a, 'x')", "a", "n m"),
        ("SELECT AVG(c.n) FROM c WHERE c.a BETWEEN 1 AND 2 AND c.b != null", "a b", "n"),
    ] {
        assert_eq!(paths(query), Some([filtered.to_owned(), values.to_owned()]), "{query}");
    }
    for documents_needed in [
        "SELECT VALUE c.a FROM c",
        "SELECT VALUE COUNT(1) FROM c WHERE CONTAINS(c.a, 'x')",
        "SELECT VALUE COUNT(1) FROM c WHERE UPPER(c.a) = 'X'",
        "SELECT VALUE COUNT(1) FROM c WHERE c.a[0] = 1",
        "SELECT VALUE COUNT(1) FROM c WHERE c.a + 1 = 2",
        "SELECT VALUE SUM(c.a + 1) FROM c",
        "SELECT VALUE COUNT(1) FROM c JOIN t IN c.ts",
        "SELECT COUNT(1) AS n FROM c GROUP BY c.a",
    ] {
        assert_eq!(paths(documents_needed), None, "{documents_needed}");
    }
}

#[test]
fn order_and_limit() {
    let order = |text: &str| Query::parse(text).unwrap().order_by_paths();
    let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        order("SELECT * FROM c ORDER BY c.a.b, c['d'] DESC"),
        Some(vec![(path(&["a", "b"]), false), (path(&["d"]), true)])
    );
    for none in ["SELECT * FROM c", "SELECT * FROM c ORDER BY c.a[0]", "SELECT * FROM x IN c.a ORDER BY x.b"]
    {
        assert_eq!(order(none), None, "{none}");
    }
    let rows = |text: &str| Query::parse(text).unwrap().row_limit(&context());
    assert_eq!(rows("SELECT * FROM c"), None);
    assert_eq!(rows("SELECT TOP 5 * FROM c"), Some(5));
    assert_eq!(rows("SELECT TOP @one * FROM c"), Some(1));
    assert_eq!(rows("SELECT * FROM c OFFSET 3 LIMIT 4"), Some(7));
    assert_eq!(rows("SELECT TOP @name * FROM c"), None);
}

/// Whether a value passes a test, in the widest reading the store may take.
fn passes(test: &Test, value: &Value) -> bool {
    match test {
        Test::Eq(expected) => value == expected,
        Test::In(values) => values.contains(value),
        Test::Defined => !value.is_undefined(),
        Test::Range { min, max } => {
            let typed = |limit: &Limit| limit.value.type_rank() == value.type_rank();
            let above = |limit: &Limit| {
                let order = value.total_cmp(&limit.value);
                typed(limit) && (order.is_gt() || order.is_eq() && limit.inclusive)
            };
            let below = |limit: &Limit| {
                let order = value.total_cmp(&limit.value);
                typed(limit) && (order.is_lt() || order.is_eq() && limit.inclusive)
            };
            min.as_ref().is_none_or(above) && max.as_ref().is_none_or(below)
        }
    }
}

/// No predicate may rule out a document the query returns.
#[test]
fn predicates_never_lose_a_row() {
    let values =
        ["undefined", "null", "true", "false", "-1", "1", "2", "''", "'a'", "'ab'", "'b'", "[1]", "{x:1}"];
    let operators = ["=", "!=", "<", "<=", ">", ">="];
    let mut state = 7_u64;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    let mut documents = Vec::new();
    for a in values {
        for b in values {
            let text = format!("SELECT VALUE {{a: {a}, n: {{b: {b}}}}}");
            documents.extend(Query::parse(&text).unwrap().run([].iter(), &context()).unwrap());
        }
    }
    let (mut kept, mut checked) = (0, 0);
    for _ in 0..1_500 {
        let mut term = || {
            let path = ["c.a", "c.n.b"][next(2)];
            let (one, two) = (values[next(values.len())], values[next(values.len())]);
            match next(10) {
                0 => format!("{path} IN ({one}, {two})"),
                1 => format!("{path} BETWEEN {one} AND {two}"),
                2 => format!("STARTSWITH({path}, {one})"),
                3 => format!("IS_DEFINED({path})"),
                4 => path.to_owned(),
                5 => format!("NOT ({path} = {one})"),
                6 => format!("{one} {} {path}", operators[next(6)]),
                _ => format!("{path} {} {one}", operators[next(6)]),
            }
        };
        let (first, second, third) = (term(), term(), term());
        let join = ["AND", "OR"];
        let filter = format!("{first} {} ({second} {} {third})", join[next(2)], join[next(2)]);
        let query = Query::parse(&format!("SELECT * FROM c WHERE {filter}")).unwrap();
        let predicates = query.sargable(&context());
        for document in query.run(documents.iter(), &context()).unwrap() {
            kept += 1;
            for Predicate { path, test } in &predicates {
                let value = path.iter().fold(&document, |value, name| value.get(name));
                assert!(passes(test, value), "{filter}: {path:?} {test:?} rules out {document}");
                checked += 1;
            }
        }
    }
    assert!(kept > 10_000 && checked > 5_000, "{kept} rows, {checked} checks");
}
