//! Every "yes" of the documentation names a test. Here it is checked that the test exists.

use std::path::Path;

const README: &str = include_str!("../../README.md");
const FIDELITY: &str = include_str!("../../../docs/FIDELITY.md");

/// What stands between backquotes and has the form `file.rs::function`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once(".rs::").map(|_| code))
        .filter_map(|code| code.split_once("::"))
        .collect()
}

fn exists(file: &str, function: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(source) = std::fs::read_to_string(path) else { return false };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let signature = format!("fn {function}()");
    lines.iter().enumerate().any(|(at, line)| {
        line.trim_start_matches("async ").starts_with(&signature)
            && lines[at.saturating_sub(4)..at].iter().any(|line| is_test_attribute(line))
    })
}

fn is_test_attribute(line: &str) -> bool {
    line.starts_with("#[test]") || line.starts_with("#[tokio::test")
}

#[test]
fn every_named_test_exists() {
    for (document, text) in [("README.md", README), ("FIDELITY.md", FIDELITY)] {
        let tests = named_tests(text);
        assert!(tests.len() > 40, "{document} names {} tests only", tests.len());
        let missing: Vec<_> = tests.iter().filter(|(file, function)| !exists(file, function)).collect();
        assert!(missing.is_empty(), "{document} names tests that do not exist: {missing:?}");
    }
}

#[test]
fn every_yes_is_shown_by_a_test() {
    let rows: Vec<&str> = README
        .lines()
        .skip_while(|line| !line.starts_with("## What is supported"))
        .take_while(|line| !line.starts_with("### "))
        .filter(|line| line.starts_with("| ") && line.contains("| yes |"))
        .collect();
    assert!(rows.len() > 30, "the table has {} rows only", rows.len());
    let unproven: Vec<_> = rows.iter().filter(|row| named_tests(row).is_empty()).collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

#[test]
fn what_is_documented_as_missing_is_not_found_by_accident() {
    assert!(!exists("tests/it/documentation.rs", "named_tests"));
    assert!(!exists("tests/it/none.rs", "every_named_test_exists"));
    assert!(exists("tests/it/documentation.rs", "every_named_test_exists"));
}
