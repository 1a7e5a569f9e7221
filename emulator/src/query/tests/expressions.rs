use super::{check, check_values, context, run};
use crate::query::Query;

#[test]
fn literals() {
    check_values(
        "null",
        &[
            ("1", "1"),
            ("-1.5e2", "-150"),
            (".5", "0.5"),
            ("0xff", "255"),
            ("'a\"b'", r#""a\"b""#),
            (r#""a'b""#, r#""a'b""#),
            (r"'\u0041\n\t\'\\'", r#""A\n\t'\\""#),
            (r"'\ud83d\ude00'", "\"😀\""),
            ("true", "true"),
            ("FALSE", "false"),
            ("null", "null"),
            ("undefined", ""),
            ("[1, 'a', [], undefined, null]", "[1,\"a\",[],null,null]"),
            ("{a: 1, 'b c': {d: undefined, e: null}}", r#"{"a":1,"b c":{"e":null}}"#),
            ("{}", "{}"),
            ("@name", "\"b\""),
            ("@list[1]", "2"),
            ("1 -- the rest is a comment\n + 1", "2"),
        ],
    );
}

#[test]
fn precedence() {
    for (text, canonical) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("(1 + 2) * 3", "((1 + 2) * 3)"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("-1 + ~2", "((-1) + (~2))"),
        ("1 | 2 ^ 3 & 4 << 5 + 6", "(1 | (2 ^ (3 & (4 << (5 + 6)))))"),
        ("1 = 2 AND 3 = 4 OR NOT 5 = 6", "(((1 = 2) AND (3 = 4)) OR (NOT (5 = 6)))"),
        ("1 AND 2 AND 3", "(1 AND 2 AND 3)"),
        ("1 ?? 2 ?? 3", "((1 ?? 2) ?? 3)"),
        ("1 ? 2 : 3 ? 4 : 5", "(1 ? 2 : (3 ? 4 : 5))"),
        ("1 ?? 2 ? 3 : 4", "((1 ?? 2) ? 3 : 4)"),
        ("'a' || 'b' || 'c' = 'abc'", "((\"a\" || \"b\" || \"c\") = \"abc\")"),
        ("1 BETWEEN 0 AND 2 AND true", "((1 BETWEEN 0 AND 2) AND true)"),
        ("1 NOT BETWEEN 0 AND 2", "(1 NOT BETWEEN 0 AND 2)"),
        ("1 NOT IN (1, 2)", "(1 NOT IN (1, 2))"),
        ("'a' NOT LIKE 'b%' ESCAPE '!'", "(\"a\" NOT LIKE \"b%\" ESCAPE \"!\")"),
        ("1 <> 2", "(1 != 2)"),
        ("[1, 2][0]", "[1, 2][0]"),
        ("upper('a')", "UPPER(\"a\")"),
        ("{a: 1}.a", "{\"a\": 1}.a"),
    ] {
        let query = Query::parse(&format!("SELECT VALUE {text}")).unwrap();
        let printed = query.to_string();
        assert_eq!(printed, format!("SELECT VALUE {canonical}"), "{text}");
        assert_eq!(Query::parse(&printed).unwrap().to_string(), printed, "{text}");
    }
}

#[test]
fn equality_and_order() {
    check_values(
        "null",
        &[
            ("1 = 1.0", "true"),
            ("'a' = 'A'", "false"),
            ("null = null", "true"),
            ("[1, {a: 2}] = [1, {a: 2}]", "true"),
            ("{a: 1, b: 2} = {b: 2, a: 1}", "true"),
            ("{a: 1} = {a: 1, b: 2}", "false"),
            // Different types are unequal, as `c.x != null` is used to find values.
            ("1 = '1'", "false"),
            ("1 != '1'", "true"),
            ("null != 1", "true"),
            ("undefined = undefined", ""),
            ("undefined != 1", ""),
            ("null = undefined", ""),
            ("1 < 2", "true"),
            ("'a' < 'b'", "true"),
            ("'B' < 'a'", "true"),
            ("false < true", "true"),
            ("null <= null", "true"),
            // Order needs one type, and a primitive one.
            ("1 < '2'", ""),
            ("null < 1", ""),
            ("[1] < [2]", ""),
            ("{} >= {}", ""),
            ("1 < undefined", ""),
            ("2 BETWEEN 1 AND 3", "true"),
            ("2 BETWEEN 3 AND 1", "false"),
            ("2 NOT BETWEEN 3 AND 1", "true"),
            ("'2' BETWEEN 1 AND 3", ""),
            ("1 IN (3, 2, 1)", "true"),
            ("1 IN ('1', 2)", "false"),
            ("1 NOT IN ('1', 2)", "true"),
            ("undefined IN (1)", ""),
            ("1 IN (undefined, 1)", "true"),
            ("1 IN (undefined, 2)", ""),
        ],
    );
}

#[test]
fn three_valued_logic() {
    check_values(
        "null",
        &[
            ("true AND true", "true"),
            ("true AND false", "false"),
            ("false AND undefined", "false"),
            ("undefined AND false", "false"),
            ("true AND undefined", ""),
            ("true AND 1", ""),
            ("true AND null", ""),
            ("false OR false", "false"),
            ("undefined OR true", "true"),
            ("1 OR true", "true"),
            ("false OR undefined", ""),
            ("NOT true", "false"),
            ("NOT undefined", ""),
            ("NOT null", ""),
            ("NOT 0", ""),
            ("true ? 1 : 2", "1"),
            ("false ? 1 : 2", "2"),
            ("undefined ? 1 : 2", "2"),
            ("'true' ? 1 : 2", "2"),
            ("undefined ?? 1", "1"),
            ("null ?? 1", "null"),
            ("1 ?? 2", "1"),
        ],
    );
}

#[test]
fn arithmetic() {
    check_values(
        "null",
        &[
            ("1 + 2", "3"),
            ("7 % 4", "3"),
            ("-7 % 4", "-3"),
            ("7 / 2", "3.5"),
            ("1 / 0", ""),
            ("0 / 0", ""),
            ("1 + '1'", ""),
            ("1 + null", ""),
            ("1 + undefined", ""),
            ("-'1'", ""),
            ("+1", "1"),
            ("- -1", "1"),
            ("6 & 3", "2"),
            ("6 | 3", "7"),
            ("6 ^ 3", "5"),
            ("~5", "-6"),
            ("1 << 4", "16"),
            ("-16 >> 2", "-4"),
            ("-1 >>> 28", "15"),
            ("'a' || 'b'", "\"ab\""),
            ("'a' || 1", ""),
        ],
    );
}

#[test]
fn like() {
    check_values(
        "null",
        &[
            ("'Azure' LIKE 'A%'", "true"),
            ("'Azure' LIKE '%zur%'", "true"),
            ("'Azure' LIKE 'azure'", "false"),
            ("'Azure' LIKE 'Az_re'", "true"),
            ("'Azure' LIKE 'A_'", "false"),
            ("'' LIKE '%'", "true"),
            ("'abc' LIKE '%b%c'", "true"),
            ("'aXbXc' LIKE 'a%X_'", "true"),
            ("'b2' LIKE '[a-c][0-9]'", "true"),
            ("'d2' LIKE '[^a-c]2'", "true"),
            ("'a2' LIKE '[^a-c]2'", "false"),
            ("'20%' LIKE '20!%' ESCAPE '!'", "true"),
            ("'200' LIKE '20!%' ESCAPE '!'", "false"),
            ("'a' NOT LIKE 'b'", "true"),
            ("1 LIKE '1'", ""),
            ("'a' LIKE undefined", ""),
        ],
    );
}

#[test]
fn paths() {
    let document = r#"[{"a":{"b":[10,{"c":20}]},"value":1,"n":null,"k":"a"}]"#;
    check_values(
        document,
        &[
            ("c.a.b[0]", "10"),
            ("c.a.b[1].c", "20"),
            ("c['a']['b'][1]['c']", "20"),
            ("c[\"value\"]", "1"),
            ("c[c.k].b[0]", "10"),
            ("c.a.b[5]", ""),
            ("c.a.b[-1]", ""),
            ("c.a.b[0.5]", ""),
            ("c.missing.deeper", ""),
            ("c.n.x", ""),
            ("c.n", "null"),
            ("{x: c.missing, y: c.n}", "{\"y\":null}"),
            ("udf.twice(c['value'])", "2"),
            ("udf.twice(c.n)", ""),
        ],
    );
}

#[test]
fn long_chains_and_deep_nesting() {
    let many = |piece: &str, count: usize| vec![piece; count].join(" OR ");
    check("[{\"x\":1}]", &[(&format!("SELECT VALUE c.x FROM c WHERE {}", many("c.x = 1", 3000)), "[1]")]);
    let list = vec!["1"; 6000].join(",");
    check("[{\"x\":1}]", &[(&format!("SELECT VALUE c.x FROM c WHERE c.x IN ({list})"), "[1]")]);
    let deep =
        |open: &str, close: &str, n: usize| format!("SELECT VALUE {}1{}", open.repeat(n), close.repeat(n));
    assert!(run(&deep("(", ")", 50), "[]").is_ok());
    for query in [
        deep("(", ")", 100_000),
        deep("[", "]", 100_000),
        deep("- ", "", 100_000),
        deep("NOT ", "", 100_000),
        deep("ABS(", ")", 100_000),
        deep("(SELECT VALUE ", ")", 10_000),
        deep("EXISTS(SELECT VALUE ", ")", 10_000),
        deep("1 + ", "", 100_000),
        deep("1 ? 2 : ", "", 100_000),
        format!("SELECT VALUE c{} FROM c", ".a".repeat(100_000)),
        format!("SELECT VALUE 1 FROM {}c{}", "(SELECT VALUE 1 FROM ".repeat(10_000), ")".repeat(10_000)),
    ] {
        let error = run(&query, "[]").unwrap_err();
        assert_eq!(error.status, 400, "{}", query.get(..40).unwrap());
        assert!(error.message.contains("nested too deeply"), "{}", error.message);
    }
}

/// The worst the parser lets through fits a small stack, even unoptimized.
#[test]
fn deepest_queries_fit_a_small_stack() {
    let worst = || {
        let chain = |unit: &str| vec![unit; 240].join(" + ");
        let around = |open: &str, n: usize, inner: &str, close: &str| {
            format!("SELECT VALUE {}{inner}{}", open.repeat(n), close.repeat(n))
        };
        for (query, expected) in [
            (around("(SELECT VALUE ABS(", 7, "1", "))"), "[1]"),
            (around("(SELECT VALUE x FROM (SELECT VALUE x FROM (SELECT VALUE ", 3, "1", ") x) x)"), "[1]"),
            (around("(SELECT VALUE COUNT(1) FROM (SELECT VALUE ", 4, "1", ") x GROUP BY x)"), "[1]"),
            (around("[", 60, "1", "][0]"), "[1]"),
            (around("IIF(true, ", 60, "1", ", 0)"), "[1]"),
            (around("NOT ", 60, "true", ""), "[true]"),
            (around("", 0, &chain("1"), ""), "[240]"),
            (around("(SELECT VALUE ", 7, &chain("1"), ")"), "[240]"),
            (format!("SELECT VALUE c{} FROM c", "['a']".repeat(250)), "[]"),
        ] {
            check("[{}]", &[(&query, expected)]);
        }
        // Every binding power on every level.
        let steep = "1 ?? 1 OR 1 AND 1 = 1 || 1 | 1 ^ 1 & 1 << 1 + 1 * (";
        let error = run(&around(steep, 60, "1", ")"), "[]").unwrap_err();
        assert!(error.message.contains("nested too deeply"), "{error}");
        let filter = around(steep, 11, "1", ")").replace("SELECT VALUE", "SELECT * FROM c WHERE c.a =");
        let query = Query::parse(&filter).unwrap();
        assert!(query.sargable(&context()).is_empty());
        // Printing is recursive too.
        assert!(query.to_string().len() > filter.len());
        assert!(query.run([].iter(), &context()).unwrap().is_empty());
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(worst).unwrap().join().unwrap();
}
