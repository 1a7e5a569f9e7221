//! Documents may be large, deep or odd, but never expensive.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Value::parse(nested(127).as_bytes()).is_ok());
    assert!(Value::parse(nested(129).as_bytes()).is_err());
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(Value::parse(objects(127).as_bytes()).is_ok());
    // As deep as a request can be, and never closed.
    for open in ["[", "{\"a\":"] {
        assert!(Value::parse(open.repeat(400_000).as_bytes()).is_err());
    }
}

#[test]
fn large_objects_take_linear_time() {
    let members: Vec<String> = (0..200_000).map(|at| format!("\"n{at}\":{at}")).collect();
    let text = format!("{{{}}}", members.join(","));
    let started = Instant::now();
    let value = Value::parse(text.as_bytes()).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 200_000);
    assert_eq!(value.to_json(), text);
    // Quadratic time would be minutes.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn repeated_names_keep_the_first_place_and_the_last_value() {
    let value = Value::parse(br#"{"a":1,"b":2,"a":3,"\u0061":4}"#).unwrap();
    assert_eq!(value.to_json(), r#"{"a":4,"b":2}"#);
    let many: String = (0..100).map(|at| format!("\"n{}\":{at},", at % 50)).collect();
    let value = Value::parse(format!("{{{}}}", many.trim_end_matches(',')).as_bytes()).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!((object.len(), object.get("n0")), (50, Some(&Value::Number(50.0))));
}

#[test]
fn documents_share_the_names_of_their_properties() {
    let text = br#"{"customer":{"city":"Bern"}}"#;
    let (one, other) = (Value::parse(text).unwrap(), Value::parse(text).unwrap());
    let name = |value: &Value| Arc::clone(value.as_object().unwrap().iter().next().unwrap().0);
    assert!(Arc::ptr_eq(&name(&one), &name(&other)));
}

#[test]
fn the_length_is_that_of_the_text() {
    let value =
        Value::parse(r#"{"a":[1,2.5,-0.0,1e300,null,true],"b":"\u0000\n\"ü\ud83d\ude00","":{}}"#.as_bytes())
            .unwrap();
    assert_eq!(value.json_len(), value.to_json().len());
    // The expected length is a hint only.
    assert_eq!(value.to_json_of(0), value.to_json());
    assert_eq!(value.to_json_of(1000), value.to_json());
}
