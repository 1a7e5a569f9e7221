//! The stored procedures: embedded from `sprocs/`, named by their content, created where missing.

use std::sync::LazyLock;

use bytes::Bytes;
use http::Method;
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::cosmos::client::encode;
use crate::cosmos::{Client, Failure, retry};

static SOURCES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/sprocs");

/// A procedure as it is deployed.
#[derive(Debug)]
pub(crate) struct Procedure {
    /// The name in our code, and of its file.
    pub(crate) name: &'static str,
    /// `<name>_<hash of the body>`: a changed body is another procedure, so that two versions of this crate
    /// run side by side and none is ever replaced under a running caller.
    pub(crate) id: String,
    /// One function expression: library parts, the procedure, and the call that runs it.
    pub(crate) body: String,
}

/// Every procedure, in the order of their names.
pub(crate) static PROCEDURES: LazyLock<Vec<Procedure>> = LazyLock::new(|| {
    let mut all: Vec<Procedure> = SOURCES
        .files()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "js"))
        .filter_map(|file| {
            let name = file.path().file_stem()?.to_str()?;
            let body = assemble(name, file.contents_utf8()?);
            let id = format!("{name}_{}", &hash(&body)[..12]);
            Some(Procedure { name, id, body })
        })
        .collect();
    all.sort_by_key(|procedure| procedure.name);
    all
});

/// Names all procedures of this version at once: a container that records it has them all.
pub(crate) static BUNDLE: LazyLock<String> = LazyLock::new(|| {
    let ids: Vec<&str> = PROCEDURES.iter().map(|procedure| procedure.id.as_str()).collect();
    hash(&ids.join("\n"))[..12].to_owned()
});

/// The procedure `name`, which must be one of ours.
pub(crate) fn find(name: &str) -> Option<&'static Procedure> {
    PROCEDURES.iter().find(|procedure| procedure.name == name)
}

/// Wraps a procedure and the library parts its header names into one function expression, the only form of
/// script body that is documented to work with helpers.
fn assemble(name: &str, source: &str) -> String {
    let mut body = String::from("function (argument) {\n\"use strict\";\n");
    for part in uses(source) {
        if let Some(file) = SOURCES.get_file(format!("lib/{part}.js")) {
            body.push_str(file.contents_utf8().unwrap_or_default());
        }
    }
    body.push_str(source);
    body.push_str(&format!("run({name}, argument);\n}}\n"));
    body
}

/// The parts listed in the header line ` * Uses:     store, head`.
fn uses(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .find_map(|line| line.trim().strip_prefix("* Uses:"))
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Creates `procedure`; where its id is taken already, its body must be ours.
pub(crate) async fn deploy(client: &Client, procedure: &Procedure) -> Result<(), Failure> {
    let operation = "createProcedure";
    let target = client.feed(Method::POST, "sprocs");
    let body: Bytes = encode(operation, &serde_json::json!({ "id": procedure.id, "body": procedure.body }))?;
    let budget = crate::cosmos::client::RETRY_BUDGET;
    match retry::until(budget, || client.send(operation, &target, &[], body.clone())).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is(409) => check(client, procedure).await,
        Err(failure) => Err(failure),
    }
}

/// That what is deployed under the id of `procedure` is it: the id names its content, but anybody may write there.
pub(crate) async fn check(client: &Client, procedure: &Procedure) -> Result<(), Failure> {
    #[derive(serde::Deserialize)]
    struct Deployed {
        body: String,
    }
    let operation = "readProcedure";
    let target = client.resource(Method::GET, "sprocs", &procedure.id);
    let budget = crate::cosmos::client::RETRY_BUDGET;
    let answer = retry::until(budget, || client.send(operation, &target, &[], Bytes::new())).await?;
    match serde_json::from_slice::<Deployed>(answer.body()) {
        Ok(deployed) if deployed.body == procedure.body => Ok(()),
        _ => Err(Failure::unexpected(
            operation,
            format!(
                "the stored procedure {} has a body that is not ours; delete it, it is created again when it is needed",
                procedure.id
            ),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_embedded() {
        let embedded: BTreeSet<String> =
            SOURCES.find("**/*.js").unwrap().map(|entry| entry.path().display().to_string()).collect();
        let mut on_disk = BTreeSet::new();
        for folder in ["", "lib/"] {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sprocs/").to_owned() + folder;
            for entry in std::fs::read_dir(path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".js") && name != "eslint.config.js" {
                    on_disk.insert(format!("{folder}{name}"));
                }
            }
        }
        assert_eq!(embedded, on_disk);
    }

    /// The header is the contract: all fields there, every library part it names exists, and the result
    /// words it lists are the ones the code answers with.
    #[test]
    fn headers_state_the_contract() {
        for file in SOURCES.files().filter(|file| file.path().extension().is_some_and(|e| e == "js")) {
            let name = file.path().file_stem().unwrap().to_str().unwrap();
            let source = file.contents_utf8().unwrap();
            let header = source.split("*/").next().unwrap();
            assert!(header.contains(&format!(" * {name}: ")), "{name}: purpose");
            for field in ["Argument:", "Result:", "Reads:", "Writes:", "Uses:"] {
                assert!(header.contains(field), "{name}: {field}");
            }
            let mut whole = source[header.len()..].to_owned();
            for part in uses(source) {
                let part =
                    SOURCES.get_file(format!("lib/{part}.js")).unwrap_or_else(|| panic!("{name}: {part}"));
                whole.push_str(part.contents_utf8().unwrap());
            }
            let result = &header[header.find("Result:").unwrap()..header.find("Reads:").unwrap()];
            for word in result.split('"').skip(1).step_by(2) {
                assert!(whole.contains(&format!("\"{word}\"")), "{name} never answers {word}");
            }
        }
    }

    #[test]
    fn ids_follow_the_content() {
        let procedure = find("ackTurn").unwrap();
        assert!(procedure.id.starts_with("ackTurn_") && procedure.id.len() == "ackTurn_".len() + 12);
        assert!(procedure.id.len() <= 255, "the service's limit for an id");
        assert_ne!(hash(&procedure.body), hash(&format!("{} ", procedure.body)));
    }
}
