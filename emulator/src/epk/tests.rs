//! The vectors published with Microsoft's SDKs for Java, Python, JavaScript and Rust.

#![allow(clippy::unwrap_used)]

use super::*;

fn text(text: &str) -> Component {
    Component::String(text.to_owned())
}

fn hex(components: &[Component], version: Version) -> String {
    effective(components, Kind::Hash, version).to_string()
}

/// Component, V1, V2; an empty cell was not published.
fn vectors() -> Vec<(Component, String, &'static str)> {
    let a100 = format!("05C1EB5921F70608{}00", "62".repeat(100));
    let alphabet: String = ('a'..='z').collect();
    let shifted: String = (0x62..=0x7B).map(|byte| format!("{byte:02X}")).collect();
    let alphabet_v1 = format!("05C1DD5D81496408{}00", &shifted.repeat(4)[..200]);
    let escaped = "quote\"backslash\\slash/newline\n";
    let unicode = "café 東京 🚀";
    #[allow(clippy::cast_precision_loss)]
    let (min, max) = (i64::MIN as f64, i64::MAX as f64);
    let number = Component::Number;
    let owned = str::to_owned;
    vec![
        (text(""), owned("05C1CF33970FF80800"), "32E9366E637A71B4E710384B2F4970A0"),
        (
            text("partitionKey"),
            owned("05C1E1B3D9CD2608716273756A756A706F4C667A00"),
            "013AEFCF77FA271571CF665A58C933F1",
        ),
        (text(&"a".repeat(1024)), a100.clone(), "332BDF5512AE49615F32C7D98C2DB86C"),
        (text(&"a".repeat(100)), a100.clone(), "0DBD7D229437BB665DE6417747994D57"),
        (text(&"a".repeat(101)), a100, "08042541D30C8BF90D7092B1519AE0BC"),
        (text(&alphabet.repeat(5)), alphabet_v1, ""),
        (text("redmond"), owned("05C1EFE313830C087366656E706F6500"), ""),
        (text("aa"), owned("05C1C7B7270FE008626200"), ""),
        (
            text(escaped),
            owned("05C1E739E3AD88087276707566236362646C746D6274695D746D627469306F66786D6A6F660B00"),
            "0A75245A5A77FB1C92F7AB9E0FD5E73F",
        ),
        (
            text(unicode),
            owned("05C1DF0501C73008646267C4AA21E79EB2E5BBAD21F1A09B8100"),
            "389ED563F219577470F42691A5234A68",
        ),
        (Component::Null, owned("05C1ED45D7475601"), "378867E4430E67857ACE5C908374FE16"),
        (Component::Undefined, owned("05C1D529E345DC00"), "11622DAA78F835834610ABE56EFF5CB5"),
        (Component::Bool(true), owned("05C1D7C5A903D803"), "0E711127C5B5A8E4726AC6DD306A3E59"),
        (Component::Bool(false), owned("05C1DB857D857C02"), "2FE1BE91E90A3439635E0E9E37361EF2"),
        (number(-128.0), owned("05C1D73349F54C053FA0"), "01DAEDABF913540367FE219B2AD06148"),
        (number(127.0), owned("05C1DD539DDFCC05C05FE0"), "0C507ACAC853ECA7977BF4CEFB562A25"),
        (number(min), owned("05C1DB35F33D1C053C20"), "23D5C6395512BDFEAFADAD15328AD2BB"),
        (number(max), owned("05C1B799AB2DD005C3E0"), "2EDB959178DFCCA18983F89384D1629B"),
        (number(-2_147_483_648.0), owned("05C1DFBF252BCC053E20"), "0B1660D5233C3171725B30D4A5F4CC1F"),
        (number(2_147_483_647.0), owned("05C1E1F503DFB205C1DFFFFFFFFC"), "2D9349D64712AEB5EB1406E2F0BE2725"),
        (number(5e-324), owned("05C1E5C91F4D3005800101010101010102"), "0E6CBA63A280927DE485DEF865800139"),
        (number(f64::MAX), owned("05C1CBE367C53005FFEFFFFFFFFFFFFFFE"), "31424D996457102634591FF245DBCC4D"),
        (number(5.0), owned("05C1D9C1C5517C05C014"), ""),
        (number(5.5), owned("05C1D7A771716C05C016"), ""),
        (number(12313.1221), owned("05C1ED154D592E05C0C90723F50FC925D8"), ""),
        (number(123_456_789.0), owned("05C1D9E1A5311C05C19DB7CD8B40"), ""),
    ]
}

#[test]
fn published_vectors() {
    for (component, v1, v2) in vectors() {
        let component = std::slice::from_ref(&component);
        assert_eq!(hex(component, Version::V1), v1, "{component:?}");
        if !v2.is_empty() {
            assert_eq!(hex(component, Version::V2), v2, "{component:?}");
            assert_eq!(effective(component, Kind::MultiHash, Version::V2).to_string(), v2);
        }
    }
}

#[test]
fn several_components() {
    let components = [Component::Number(5.0), text("redmond"), Component::Bool(true), Component::Null];
    assert_eq!(hex(&components, Version::V2), "3032DECBE2AB1768D8E0AEDEA35881DF");

    let components = [text("partitionKey"), Component::Null, Component::Bool(false)];
    let key = effective(&components, Kind::MultiHash, Version::V2);
    assert_eq!(
        key.to_string(),
        "013AEFCF77FA271571CF665A58C933F1378867E4430E67857ACE5C908374FE162FE1BE91E90A3439635E0E9E37361EF2"
    );
    let prefix = effective(&components[..1], Kind::MultiHash, Version::V2);
    assert!(prefix < key && key.as_bytes().starts_with(prefix.as_bytes()));
}

#[test]
fn the_order_of_keys() {
    let low = effective(&[], Kind::Hash, Version::V2);
    let high = effective(&[Component::Infinity], Kind::Hash, Version::V2);
    assert_eq!((low.to_string().as_str(), high.to_string().as_str()), ("", "FF"));
    assert_eq!((&low, &high), (&Epk::min(), &Epk::max()));
    for (component, ..) in vectors() {
        let key = effective(&[component], Kind::Hash, Version::V2);
        assert!(low < key && key < Epk::parse("40").unwrap() && key < high);
    }
    assert_eq!(Epk::parse("AB00").unwrap(), Epk::parse("ab").unwrap());
    assert!(Epk::parse("AB00").unwrap() < Epk::parse("AB0001").unwrap());
    assert_eq!(Epk::parse("AB00").unwrap().to_string(), "AB00");
    for wrong in ["A", "G0", "é", "+1"] {
        assert!(Epk::parse(wrong).is_none(), "{wrong}");
    }
}

/// V1 orders values of one hash as the service orders them.
#[test]
fn ordered_numbers_are_ordered() {
    let numbers = [f64::MIN, -1e10, -128.0, -1.5, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.5, 2.0, 127.0, 1e300];
    let encoded: Vec<Vec<u8>> = numbers
        .iter()
        .map(|number| {
            let mut bytes = Vec::new();
            write_ordered_number(*number, &mut bytes);
            bytes
        })
        .collect();
    assert!(encoded.is_sorted(), "{encoded:?}");
}

#[test]
fn v1_cuts_strings() {
    // By UTF-16 units, not through the middle of a pair, and the rest by bytes.
    let Component::String(cut) = text(&format!("{}🚀x", "a".repeat(99))).truncated() else { panic!() };
    assert_eq!(cut, "a".repeat(99));
    let mut bytes = Vec::new();
    text(&"é".repeat(100)).write_ordered(&mut bytes);
    assert_eq!(bytes.len(), 1 + 101, "no end after a long string");
}

#[test]
fn headers() {
    let parse = |header| parse_header(header).unwrap();
    assert_eq!(parse(r#"["a"]"#), [text("a")]);
    assert_eq!(parse(r#"["\u00e9\ud83d\ude80"]"#), [text("é🚀")]);
    assert_eq!(parse("[{}]"), [Component::Undefined]);
    assert_eq!(parse("[null, true, 1.5]"), [Component::Null, Component::Bool(true), Component::Number(1.5)]);
    assert_eq!(parse("[]"), []);
    assert_eq!(parse(""), []);
    let wrong = [
        "a",
        "\"a\"",
        "7",
        "null",
        "{}",
        "[NaN]",
        "[Infinity]",
        "[1e999]",
        "[[]]",
        "[[1]]",
        r#"[{"a":1}]"#,
        "[1",
        "[1,]",
        r#"["\ud800"]"#,
    ];
    for header in wrong {
        assert_eq!(parse_header(header).unwrap_err().status, 400, "{header}");
    }
}

#[test]
fn keys_of_documents() {
    assert_eq!(parse_path("/a"), ["a"]);
    assert_eq!(parse_path("/a/b"), ["a", "b"]);
    assert_eq!(parse_path(r#"/"a/b c"/d"#), ["a/b c", "d"]);
    let document = Value::parse(br#"{"a":"x","b":{"c":1,"d":[]},"n":null}"#).unwrap();
    let extract =
        |paths: &[&str]| extract(&document, &paths.iter().map(|path| parse_path(path)).collect::<Vec<_>>());
    assert_eq!(extract(&["/a"]).unwrap(), [text("x")]);
    assert_eq!(
        extract(&["/b/c", "/n", "/none", "/a/c"]).unwrap(),
        [Component::Number(1.0), Component::Null, Component::Undefined, Component::Undefined]
    );
    assert_eq!(extract(&["/b"]).unwrap_err().status, 400);
    assert_eq!(extract(&["/b/d"]).unwrap_err().status, 400);
}
