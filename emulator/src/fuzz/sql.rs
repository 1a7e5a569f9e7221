//! The SQL parser and what works on its result: there is no panic, and what parses holds together.

use crate::error::ServiceError;
use crate::query::{Context, KeyFilter, Query, Udfs};
use crate::value::Value;

use super::Source;

/// One query of the bytes; whether it could be run.
pub fn sql(data: &[u8]) -> bool {
    let mut source = Source(data);
    match source.below(4) {
        0 => mangled(&mut source),
        1 => key_filter(&mut source),
        _ => generated(&mut source),
    }
}

const LEAVES: [&str; 22] = [
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
    "1e308",
    "'2024-02-03T04:05:06.7890000Z'",
];

const OPERATORS: [&str; 18] =
    ["=", "!=", "<", ">=", "+", "-", "*", "/", "%", "||", "??", "AND", "OR", "&", "|", "^", "<<", ">>>"];

const UNARY: [&str; 16] = [
    "UPPER",
    "IS_DEFINED",
    "ABS",
    "ARRAY_LENGTH",
    "TOSTRING",
    "IS_NULL",
    "LENGTH",
    "REVERSE",
    "TRIM",
    "STRINGTOARRAY",
    "OBJECTTOARRAY",
    "DATETIMETOTICKS",
    "TICKSTODATETIME",
    "SQRT",
    "INTBITNOT",
    "udf.twice",
];

const BINARY: [&str; 14] = [
    "ARRAY_CONTAINS",
    "CONCAT",
    "STARTSWITH",
    "INDEX_OF",
    "LEFT",
    "REPLICATE",
    "POWER",
    "ROUND",
    "SETUNION",
    "ARRAY_CONCAT",
    "REGEXMATCH",
    "DATETIMEPART",
    "INTBITLEFTSHIFT",
    "STRINGSPLIT",
];

fn expr(source: &mut Source<'_>, depth: usize) -> String {
    if depth == 0 {
        return source.pick(&LEAVES).to_owned();
    }
    let part = |source: &mut Source<'_>| expr(source, depth - 1);
    match source.below(17) {
        0..=3 => format!("{} {} {}", part(source), source.pick(&OPERATORS), part(source)),
        4 => format!("({})", part(source)),
        5 => format!("NOT {}", part(source)),
        6 => format!("{} ? {} : {}", part(source), part(source), part(source)),
        7 => format!("{} IN ({}, {})", part(source), part(source), part(source)),
        8 => format!("{} BETWEEN {} AND {}", part(source), part(source), part(source)),
        9 => format!("{} LIKE {}", part(source), part(source)),
        10 => format!("[{}, {}]", part(source), part(source)),
        11 => format!("{{\"a\": {}, b: {}}}", part(source), part(source)),
        12 => format!("{}({})", source.pick(&UNARY), part(source)),
        13 | 14 => format!("{}({}, {})", source.pick(&BINARY), part(source), part(source)),
        15 => format!("EXISTS(SELECT VALUE x FROM x IN c.list WHERE x = {})", part(source)),
        _ => format!("ARRAY(SELECT VALUE {} FROM x IN c.list)", part(source)),
    }
}

fn column(source: &mut Source<'_>) -> String {
    let depth = source.below(3);
    let inner = expr(source, depth);
    if source.one_in(4) {
        let name = source.pick(&["COUNT", "SUM", "AVG", "MIN", "MAX", "COUNTIF", "MAKELIST", "MAKESET"]);
        return format!("{name}({inner})");
    }
    inner
}

fn query(source: &mut Source<'_>) -> String {
    let mut text = String::from("SELECT ");
    if source.one_in(5) {
        text.push_str("DISTINCT ");
    }
    if source.one_in(5) {
        text.push_str(source.pick(&["TOP 2 ", "TOP @one ", "TOP 0 "]));
    }
    match source.below(5) {
        0 => text.push('*'),
        1 | 2 => text.push_str(&format!("VALUE {}", column(source))),
        3 => text.push_str(&format!("{} AS x", column(source))),
        _ => text.push_str(&format!("{} AS x, {} AS y", column(source), column(source))),
    }
    text.push_str(source.pick(&[
        " FROM c",
        " FROM c",
        " FROM root AS c",
        " FROM c JOIN t IN c.list",
        " FROM c JOIN (SELECT VALUE x FROM x IN c.list) t",
        " FROM (SELECT DISTINCT VALUE d.a FROM d) c",
    ]));
    if source.below(2) == 1 {
        let depth = source.below(4);
        text.push_str(&format!(" WHERE {}", expr(source, depth)));
    }
    if source.one_in(4) {
        text.push_str(source.pick(&[" GROUP BY c.a", " GROUP BY c.a, c.n.b", " GROUP BY UPPER(c.a)"]));
    }
    if source.one_in(4) {
        text.push_str(source.pick(&[" ORDER BY c.a", " ORDER BY c.a DESC", " ORDER BY c.a, c.n.b DESC"]));
    }
    if source.one_in(5) {
        text.push_str(source.pick(&[" OFFSET 1 LIMIT 2", " OFFSET @one LIMIT 1", " OFFSET 0 LIMIT 0"]));
    }
    text
}

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn documents() -> Vec<Value> {
    let all = json(
        r#"[{"pk":"x","a":1,"n":{"b":2},"list":[1,"x",null]}, {"pk":1,"a":"x","list":[[],{}]}, {"pk":null,"a":true},
            {"a":[1],"n":{"b":null},"list":[]}, {"pk":true,"a":-2.5,"n":7}, {}]"#,
    );
    (0..6).map(|at| all.at(at).clone()).collect()
}

/// Every function gives its last argument: a failing one would fail by which rows it is asked for.
struct Last;

impl Udfs for Last {
    fn call(&self, _name: &str, args: &[Value]) -> Result<Value, ServiceError> {
        Ok(args.last().cloned().unwrap_or_default())
    }
}

fn context() -> Context<'static> {
    let parameters = [("@one", "1"), ("@list", "[1,2,3]")];
    Context {
        parameters: parameters.iter().map(|(name, text)| ((*name).to_owned(), json(text))).collect(),
        now_ms: 1_706_933_106_789.0,
        udfs: Some(&Last),
    }
}

/// A query by the grammar: it is printed as itself, and the form that partitions run can be run when it can.
fn generated(source: &mut Source<'_>) -> bool {
    let text = query(source);
    let query = match Query::parse(&text) {
        Ok(query) => query,
        Err(error) => {
            assert_eq!(error.status, 400, "{text}");
            return false;
        }
    };
    let canonical = query.to_string();
    assert_eq!(Query::parse(&canonical).map(|again| again.to_string()), Ok(canonical), "{text}");
    let documents = documents();
    let _ = (query.sargable(&context()), query.order_by_paths(), query.row_limit(&context()), query.shape());
    let ran = query.run(documents.iter(), &context()).is_ok();
    let Ok(info) = query.distribution(&[vec!["pk".to_owned()]], &context()) else { return ran };
    let plan = info.to_value();
    let sent = plan.get("rewrittenQuery").as_str().unwrap_or_default();
    if !sent.is_empty() {
        let sent = sent.replace("{documentdb-formattableorderbyquery-filter}", "true");
        let partial = Query::parse(&sent).unwrap_or_else(|error| panic!("{text}\n{sent}\n{error}"));
        assert_eq!(partial.run(documents.iter(), &context()).is_ok(), ran, "{text}\n{sent}");
    }
    ran
}

/// A query with something in it that does not belong there.
fn mangled(source: &mut Source<'_>) -> bool {
    const ODD: [&str; 18] = [
        "'", "\"", "\\", "é", "😀", "\u{0}", "\u{feff}", "(", "[", "--", "@", ".", "1e", "0x", "{", ";",
        "/*", "SELECT ",
    ];
    let mut text = query(source);
    for _ in 0..=source.below(3) {
        // Anywhere in the text: two bytes, as texts are longer than one can say.
        let at = (source.below(256) << 8 | source.below(256)) % (text.len() + 1);
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        match source.below(4) {
            0 => text.truncate(at),
            1 => drop((at < text.len()).then(|| text.remove(at))),
            _ => text.insert_str(at, source.pick(&ODD)),
        }
    }
    // Bytes as they come, for a fuzzer that knows better than the grammar.
    if source.one_in(8) {
        text = String::from_utf8_lossy(source.0).into_owned();
    }
    let Ok(query) = Query::parse(&text) else { return false };
    query.run(documents().iter(), &context()).is_ok()
}

/// A filter over partition keys: the key of every row's document is among those that the filter leaves.
fn key_filter(source: &mut Source<'_>) -> bool {
    const VALUES: [&str; 10] = ["undefined", "null", "true", "false", "1", "2", "'x'", "'y'", "[1]", "{}"];
    let mut documents = Vec::new();
    for (pk, other) in VALUES.iter().flat_map(|pk| VALUES.iter().map(move |other| (pk, other))) {
        let text = format!("SELECT VALUE {{pk: {pk}, n: {{k: {other}}}}}");
        documents.extend(
            Query::parse(&text).and_then(|query| query.run([].iter(), &context())).unwrap_or_default(),
        );
    }
    let mut term = || {
        let path = source.pick(&["c.pk", "c.n.k"]);
        let (one, two) = (source.pick(&VALUES), source.pick(&VALUES));
        match source.below(9) {
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
    let (outer, inner) = (source.pick(&["AND", "OR"]), source.pick(&["AND", "OR"]));
    let text = format!("SELECT * FROM c WHERE {first} {outer} ({second} {inner} {third})");
    let query = Query::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let rows = query.run(documents.iter(), &context()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let paths = [vec!["pk".to_owned()], vec!["n".to_owned(), "k".to_owned()]];
    let info = query.distribution(&paths, &context()).unwrap_or_else(|error| panic!("{text}: {error}"));
    match info.keys() {
        KeyFilter::Any => false,
        KeyFilter::Nowhere => {
            assert!(rows.is_empty(), "{text}");
            true
        }
        KeyFilter::Keys(keys) => {
            for row in &rows {
                let key = [row.get("pk"), row.get("n").get("k")];
                let within = keys.iter().any(|known| known.iter().zip(key).all(|(a, b)| a == b));
                assert!(within, "{text} gives {}", row.to_json());
            }
            true
        }
    }
}
