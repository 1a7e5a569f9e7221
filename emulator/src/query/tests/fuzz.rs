//! Generated queries: whatever comes in, there is no panic, and what parses holds together. The seeds are fixed,
//! so that every run sees the same cases.

use super::{context, json};
use crate::query::{KeyFilter, Query};
use crate::value::Value;

/// A linear congruential generator: enough for choices, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

fn expr(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random
            .one(&[
                "c",
                "c.a",
                "c.pk",
                "c.n.b",
                "c[\"a\"]",
                "c.list[0]",
                "1",
                "-2.5",
                "'x'",
                "\"y\"",
                "true",
                "null",
                "undefined",
                "@one",
                "@list",
                "@missing",
                "[]",
                "{}",
                "0x1F",
                "1e3",
            ])
            .to_owned();
    }
    let part = |random: &mut Random| expr(random, depth - 1);
    match random.below(16) {
        0..=3 => {
            let operator = random.one(&[
                "=", "!=", "<", ">=", "+", "-", "*", "/", "%", "||", "??", "AND", "OR", "&", "|", "^", "<<",
                ">>>",
            ]);
            format!("{} {operator} {}", part(random), part(random))
        }
        4 => format!("({})", part(random)),
        5 => format!("NOT {}", part(random)),
        6 => format!("{} ? {} : {}", part(random), part(random), part(random)),
        7 => format!("{} IN ({}, {})", part(random), part(random), part(random)),
        8 => format!("{} BETWEEN {} AND {}", part(random), part(random), part(random)),
        9 => format!("{} LIKE {}", part(random), part(random)),
        10 => format!("[{}, {}]", part(random), part(random)),
        11 => format!("{{\"a\": {}, b: {}}}", part(random), part(random)),
        12 => {
            let name = random.one(&["UPPER", "IS_DEFINED", "ABS", "ARRAY_LENGTH", "TOSTRING", "IS_NULL"]);
            format!("{name}({})", part(random))
        }
        13 => format!("ARRAY_CONTAINS({}, {})", part(random), part(random)),
        14 => format!("EXISTS(SELECT VALUE x FROM x IN c.list WHERE x = {})", part(random)),
        _ => format!("ARRAY(SELECT VALUE {} FROM x IN c.list)", part(random)),
    }
}

fn column(random: &mut Random) -> String {
    let depth = random.below(3);
    let inner = expr(random, depth);
    match random.below(4) {
        0 => {
            let name = random.one(&["COUNT", "SUM", "AVG", "MIN", "MAX", "COUNTIF", "MAKELIST", "MAKESET"]);
            format!("{name}({inner})")
        }
        _ => inner,
    }
}

fn query(random: &mut Random) -> String {
    let mut text = String::from("SELECT ");
    if random.below(5) == 0 {
        text.push_str("DISTINCT ");
    }
    if random.below(5) == 0 {
        text.push_str(random.one(&["TOP 2 ", "TOP @one ", "TOP 0 "]));
    }
    match random.below(5) {
        0 => text.push('*'),
        1 | 2 => text.push_str(&format!("VALUE {}", column(random))),
        3 => text.push_str(&format!("{} AS x", column(random))),
        _ => text.push_str(&format!("{} AS x, {} AS y", column(random), column(random))),
    }
    text.push_str(random.one(&[
        " FROM c",
        " FROM c",
        " FROM root AS c",
        " FROM c JOIN t IN c.list",
        " FROM c JOIN (SELECT VALUE x FROM x IN c.list) t",
        " FROM (SELECT DISTINCT VALUE d.a FROM d) c",
    ]));
    if random.below(2) == 0 {
        let depth = random.below(4);
        text.push_str(&format!(" WHERE {}", expr(random, depth)));
    }
    if random.below(4) == 0 {
        text.push_str(random.one(&[" GROUP BY c.a", " GROUP BY c.a, c.n.b", " GROUP BY UPPER(c.a)"]));
    }
    if random.below(4) == 0 {
        text.push_str(random.one(&[" ORDER BY c.a", " ORDER BY c.a DESC", " ORDER BY c.a, c.n.b DESC"]));
    }
    if random.below(5) == 0 {
        text.push_str(random.one(&[" OFFSET 1 LIMIT 2", " OFFSET @one LIMIT 1", " OFFSET 0 LIMIT 0"]));
    }
    text
}

fn documents() -> Vec<Value> {
    let all = json(
        r#"[{"pk":"x","a":1,"n":{"b":2},"list":[1,"x",null]}, {"pk":1,"a":"x","list":[[],{}]}, {"pk":null,"a":true},
            {"a":[1],"n":{"b":null},"list":[]}, {"pk":true,"a":-2.5,"n":7}, {}]"#,
    );
    (0..6).map(|at| all.at(at).clone()).collect()
}

#[test]
fn generated_queries_hold_together() {
    let mut random = Random(1);
    let documents = documents();
    let paths = [vec!["pk".to_owned()]];
    let (mut ran, mut rewritten) = (0, 0);
    for _ in 0..3_000 {
        let text = query(&mut random);
        let query = match Query::parse(&text) {
            Ok(query) => query,
            Err(error) => {
                assert_eq!(error.status, 400, "{text}");
                continue;
            }
        };
        let canonical = query.to_string();
        assert_eq!(Query::parse(&canonical).map(|again| again.to_string()), Ok(canonical), "{text}");
        let _ =
            (query.sargable(&context()), query.order_by_paths(), query.row_limit(&context()), query.shape());
        let result = query.run(documents.iter(), &context());
        ran += usize::from(result.is_ok());
        let Ok(info) = query.distribution(&paths, &context()) else { continue };
        let sent = info.to_value().get("rewrittenQuery").as_str().unwrap().to_owned();
        if sent.is_empty() {
            continue;
        }
        rewritten += 1;
        let sent = sent.replace("{documentdb-formattableorderbyquery-filter}", "true");
        let partial = Query::parse(&sent).unwrap_or_else(|error| panic!("{text}\n{sent}\n{error}"));
        let rows = partial.run(documents.iter(), &context());
        assert_eq!(rows.is_ok(), result.is_ok(), "{text}\n{sent}");
    }
    // Else the generator is no good.
    assert!(ran > 1_500 && rewritten > 500, "{ran} ran, {rewritten} rewritten");
}

#[test]
fn mangled_queries_do_not_panic() {
    let mut random = Random(2);
    let documents = documents();
    let odd =
        ["'", "\"", "\\", "é", "😀", "\u{0}", "\u{feff}", "(", "[", "--", "@", ".", "1e", "0x", "{", ";"];
    for _ in 0..3_000 {
        let mut chars: Vec<char> = query(&mut random).chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(chars.len().max(1));
            match random.below(3) {
                0 if at < chars.len() => {
                    chars.remove(at);
                }
                0 => {}
                1 => chars.truncate(at + 1),
                _ => {
                    let piece = random.one(&odd);
                    chars.splice(at..at, piece.chars());
                }
            }
        }
        let text: String = chars.into_iter().collect();
        if let Ok(query) = Query::parse(&text) {
            let _ = query.run(documents.iter(), &context());
        }
    }
}

/// The key of every row's document is among those that the filter leaves.
#[test]
fn key_filters_never_lose_a_row() {
    let mut random = Random(3);
    let values = ["undefined", "null", "true", "false", "1", "2", "'x'", "'y'", "[1]", "{}"];
    let mut documents = Vec::new();
    for (pk, other) in values.iter().flat_map(|pk| values.iter().map(move |other| (pk, other))) {
        let text = format!("SELECT VALUE {{pk: {pk}, n: {{k: {other}}}}}");
        documents.extend(Query::parse(&text).unwrap().run([].iter(), &context()).unwrap());
    }
    let paths = [vec!["pk".to_owned()], vec!["n".to_owned(), "k".to_owned()]];
    let (mut kept, mut narrowed) = (0, 0);
    for _ in 0..2_000 {
        let mut term = || {
            let path = random.one(&["c.pk", "c.n.k"]);
            let (one, two) = (random.one(&values), random.one(&values));
            match random.below(9) {
                0 => format!("{path} IN ({one}, {two})"),
                1 => format!("ARRAY_CONTAINS([{one}, {two}], {path})"),
                2 => format!("IS_NULL({path})"),
                3 => format!("IS_BOOL({path})"),
                4 => path.to_owned(),
                5 => format!("NOT {path}"),
                6 => format!("NOT ({path} = {one})"),
                7 => format!("{one} = {two}"),
                _ => format!("{one} = {path}"),
            }
        };
        let (first, second, third) = (term(), term(), term());
        let (outer, inner) = (random.one(&["AND", "OR"]), random.one(&["AND", "OR"]));
        let text = format!("SELECT * FROM c WHERE {first} {outer} ({second} {inner} {third})");
        let query = Query::parse(&text).unwrap();
        let rows = query.run(documents.iter(), &context()).unwrap();
        let info = query.distribution(&paths, &context()).unwrap();
        match info.keys() {
            KeyFilter::Any => {}
            KeyFilter::Nowhere => assert!(rows.is_empty(), "{text}"),
            KeyFilter::Keys(keys) => {
                narrowed += 1;
                for row in &rows {
                    kept += 1;
                    let key = [row.get("pk"), row.get("n").get("k")];
                    let within = keys.iter().any(|known| known.iter().zip(key).all(|(a, b)| a == b));
                    assert!(within, "{text} gives {}", row.to_json());
                }
            }
        }
    }
    assert!(kept > 500 && narrowed > 300, "{kept} kept, {narrowed} narrowed");
}
