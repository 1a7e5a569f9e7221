use super::context;
use crate::query::Query;

/// Query, code, place, and message.
const CASES: &[(&str, &str, (usize, usize), &str)] = &[
    ("SELECT TOP -1 c.name FROM c", "SC1001", (11, 12), "Syntax error, incorrect syntax near '-'."),
    (
        "SELECT c.name FROM c OFFSET -1 LIMIT 10",
        "SC1001",
        (28, 29),
        "Syntax error, incorrect syntax near '-'.",
    ),
    ("SELECT c.id FORM c", "SC1001", (17, 18), "Syntax error, incorrect syntax near 'c'."),
    ("SELECT * FROM c WHERE c.a == 1", "SC1001", (27, 28), "Syntax error, incorrect syntax near '='."),
    ("SELECT c.value FROM c", "SC1001", (9, 14), "Syntax error, incorrect syntax near 'value'."),
    ("SELECT c.id AS Value FROM c", "SC1001", (15, 20), "Syntax error, incorrect syntax near 'Value'."),
    ("SELECT c.a, FROM c", "SC1001", (12, 16), "Syntax error, incorrect syntax near 'FROM'."),
    (
        "SELECT * FROM c WHERE c.a IN (1, 2 ORDER BY c.a",
        "SC1001",
        (35, 40),
        "Syntax error, incorrect syntax near 'ORDER'.",
    ),
    ("SELECT COUNT(*) FROM c", "SC1001", (13, 14), "Syntax error, incorrect syntax near '*'."),
    ("SELECT * FROM c LIMIT 1", "SC1001", (16, 21), "Syntax error, incorrect syntax near 'LIMIT'."),
    ("SELECT * FROM c WHERE", "SC1001", (21, 21), "Syntax error, unexpected end of query."),
    ("", "SC1002", (0, 0), "Syntax error, unexpected end of query."),
    ("SELECT * FROM c;", "SC1010", (15, 16), "Syntax error, invalid token ';'."),
    ("SELECT * FROM c WHERE c.a = #", "SC1010", (28, 29), "Syntax error, invalid token '#'."),
    ("SELECT 'abc", "SC1010", (7, 11), "Syntax error, invalid string literal token ''abc'."),
    ("SELECT '\\q'", "SC1010", (7, 11), "Syntax error, invalid string literal token ''\\q''."),
    ("SELECT 12ab", "SC1012", (7, 11), "Syntax error, invalid numeric value token '12ab'."),
    ("SELECT * FROM c WHERE a.b = 1", "SC2001", (22, 23), "Identifier 'a' could not be resolved."),
    ("SELECT c.id FROM x IN c.xs", "SC2001", (7, 8), "Identifier 'c' could not be resolved."),
    ("SELECT 1 FROM c JOIN t IN d.tags", "SC2001", (26, 27), "Identifier 'd' could not be resolved."),
    ("SELECT c.id", "SC2001", (7, 8), "Identifier 'c' could not be resolved."),
    (
        "SELECT BADFUNC(r.age) FROM Root r",
        "SC2005",
        (7, 14),
        "'BADFUNC' is not a recognized built-in function name.",
    ),
    (
        "SELECT 1 FROM c JOIN c",
        "SC2011",
        (21, 22),
        "The input alias 'c' is specified more than once in the FROM clause.",
    ),
    (
        "SELECT c.a, c.b.a FROM c",
        "SC2022",
        (12, 17),
        "Property name 'a' is specified more than once in the SELECT clause.",
    ),
    ("SELECT * FROM c JOIN t IN c.t", "SC2040", (7, 8), "'SELECT *' is only valid with a single input set."),
    ("SELECT *", "SC2040", (7, 8), "'SELECT *' is not valid if FROM clause is omitted."),
    ("SELECT * FROM c GROUP BY c.a", "SC2041", (7, 8), "'SELECT *' is not allowed with GROUP BY."),
    (
        "SELECT * FROM Root r WHERE STARTSWITH(r.key, 'a', 'b', 'c')",
        "SC2050",
        (27, 59),
        "The STARTSWITH function requires 2 to 3 argument(s).",
    ),
    ("SELECT abs()", "SC2050", (7, 12), "The ABS function requires 1 argument(s)."),
    ("SELECT CONCAT('a')", "SC2050", (7, 18), "The CONCAT function requires at least 2 argument(s)."),
    ("SELECT COUNT() FROM c", "SC2050", (7, 14), "The COUNT function requires 1 argument(s)."),
    (
        "SELECT TOP 4294967296 c.name FROM c",
        "SC2060",
        (11, 21),
        "The count value provided for a TOP clause must be an integer.",
    ),
    (
        "SELECT TOP 1.5 c.name FROM c",
        "SC2060",
        (11, 14),
        "The count value provided for a TOP clause must be an integer.",
    ),
    (
        "SELECT c.name FROM c OFFSET 4294967296 LIMIT 10",
        "SC2062",
        (28, 38),
        "The OFFSET count value exceeds the maximum allowed value.",
    ),
    (
        "SELECT c.name FROM c OFFSET 1 LIMIT 4294967296",
        "SC2061",
        (36, 46),
        "The LIMIT count value exceeds the maximum allowed value.",
    ),
    (
        "SELECT VALUE MAX(MIN(r)) From r",
        "SC2101",
        (13, 24),
        "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.",
    ),
    (
        "SELECT * FROM c WHERE COUNT(1) > 1",
        "SC2101",
        (22, 30),
        "The aggregate function COUNT is only allowed in the SELECT clause.",
    ),
    (
        "SELECT c.a.b, COUNT(1) AS n FROM c",
        "SC2102",
        (7, 12),
        "Property reference 'c.a.b' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.",
    ),
    (
        "SELECT c.a FROM c GROUP BY c.b",
        "SC2102",
        (7, 10),
        "Property reference 'c.a' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.",
    ),
    (
        "SELECT VALUE c.b FROM c GROUP BY c.b ORDER BY c.a",
        "SC2103",
        (46, 49),
        "Property reference 'c.a' is invalid in the ORDER BY clause because it is not contained in either an aggregate function or the GROUP BY clause.",
    ),
    (
        "SELECT udf.f(1),udf.f(1) a,udf.f(1) b,udf.f(1) d,udf.f(1) e,udf.f(1) g,udf.f(1) h,udf.f(1) i,udf.f(1) j,udf.f(1) k,udf.f(1) l",
        "SC3005",
        (0, 125),
        "The SQL query exceeded the maximum number of user-defined function calls. The allowed limit is 10.",
    ),
    (
        "SELECT * FROM c WHERE ST_DISTANCE(c.a, c.b) < 1",
        "NotSupported",
        (22, 43),
        "The ST_DISTANCE function is not supported by this emulator.",
    ),
    (
        "SELECT VALUE SubstringAfter(c.a, 'x') FROM c",
        "NotSupported",
        (13, 37),
        "The SUBSTRINGAFTER function is not supported by this emulator.",
    ),
    (
        "SELECT * FROM c ORDER BY RANK FullTextScore(c.a, 'x')",
        "NotSupported",
        (25, 29),
        "ORDER BY RANK is not supported by this emulator.",
    ),
];

#[test]
fn located_errors() {
    for (query, code, (start, end), message) in CASES {
        let error = Query::parse(query).unwrap_err();
        assert_eq!((error.status, error.sub_status), (400, 0), "{query}");
        let body = error.message.strip_prefix("Message: ").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let first = &body["errors"][0];
        assert_eq!(first["severity"], "Error", "{query}");
        assert_eq!(first["message"], *message, "{query}");
        assert_eq!(first["code"], *code, "{query}");
        assert_eq!(
            (&first["location"]["start"], &first["location"]["end"]),
            (&(*start).into(), &(*end).into()),
            "{query}"
        );
    }
}

#[test]
fn exact_wire_form() {
    let error = Query::parse("SELECT BADFUNC(r.age) FROM Root r").unwrap_err();
    assert_eq!(
        error.message,
        r#"Message: {"errors":[{"severity":"Error","location":{"start":7,"end":14},"code":"SC2005","message":"'BADFUNC' is not a recognized built-in function name."}]}"#
    );
}

#[test]
fn hints_help_a_reader() {
    for (query, hint) in [
        ("SELECT TOP -1 c.name FROM c", "expected a number or a parameter"),
        ("SELECT c.value FROM c", "in a path it is written [\\\"value\\\"]"),
        ("SELECT * FROM c WHERE (c.a = 1", "expected ')'"),
        ("SELECT * FROM c WHERE", "expected an expression"),
    ] {
        let error = Query::parse(query).unwrap_err();
        assert!(error.message.contains(hint), "{query}: {error}");
    }
}

#[test]
fn order_by_needs_a_document_path() {
    let message = |query: &str| Query::parse(query).unwrap_err().message;
    let unmapped = message("SELECT * FROM root WHERE root.key = \"key\" ORDER BY LOWER(root.field) ASC");
    assert_eq!(
        unmapped,
        r#"Message: {"errors":[{"severity":"Error","code":2206,"message":"Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a document path."}]}"#
    );
    let correlated = message("SELECT c.id FROM c JOIN t IN c.tags ORDER BY t.x");
    assert_eq!(
        correlated,
        r#"Message: {"Errors":["Order-by over correlated collections is not supported."]}"#
    );
}

#[test]
fn parameters_are_checked_when_run() {
    // Recorded from the service: a parameter without a value is `undefined`, not an error.
    super::check(
        "[{\"a\":1}]",
        &[("SELECT @missing AS x FROM c", "[{}]"), ("SELECT VALUE 1 FROM c WHERE c.a = @missing", "[]")],
    );
    for (query, code) in [
        ("SELECT TOP @name * FROM c", "SC2060"),
        ("SELECT * FROM c OFFSET @nothing LIMIT 1", "SC2062"),
        ("SELECT * FROM c OFFSET 1 LIMIT @list", "SC2061"),
    ] {
        let error = Query::parse(query).unwrap().run([].iter(), &context()).unwrap_err();
        assert!(error.message.contains(code), "{error}");
    }
}

#[test]
fn no_input_panics() {
    let pieces = [
        "SELECT", "VALUE", "*", "FROM", "c", ".", "[", "]", "(", ")", "{", "}", ",", "1", "'a'", "\"", "'",
        "\\", "@p", "@", "WHERE", "NOT", "IN", "AND", "OR", "BETWEEN", "LIKE", "ESCAPE", "ORDER", "BY",
        "GROUP", "OFFSET", "LIMIT", "TOP", "JOIN", "EXISTS", "ARRAY", "udf", "?", "??", ":", "||", "-", "=",
        "COUNT(", "ABS(", "é", "😀", "\u{0}", "1e", "0x", "/*", "--", "\n",
    ];
    // A fixed pseudo-random walk: the same sequences every time.
    let mut state = 12_345_u64;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    let documents = [super::json("{\"a\":[1,\"x\",null]}")];
    for _ in 0..20_000 {
        let mut text = String::from("SELECT ");
        for _ in 0..next(12) {
            text.push_str(pieces[next(pieces.len())]);
            if next(3) > 0 {
                text.push(' ');
            }
        }
        if let Ok(query) = Query::parse(&text) {
            let _ = query.run(documents.iter(), &context());
            let _ = query.sargable(&context());
            assert_eq!(
                Query::parse(&query.to_string()).map(|again| again.to_string()),
                Ok(query.to_string())
            );
        }
    }
}
