//! Numbered steps that bring a container to the layout this crate works with.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// One step: properties the container gets. Steps are idempotent, so that a start that was interrupted, or
/// runs in ten processes at once, simply applies them again.
#[derive(Debug, Deserialize)]
pub(crate) struct Migration {
    /// From the file's name, `<number>_<word>.json`.
    #[serde(skip)]
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Top-level properties of the container resource, such as `indexingPolicy`.
    #[serde(default)]
    pub(crate) container: Map<String, Value>,
}

/// All steps in order.
pub(crate) static MIGRATIONS: LazyLock<Vec<Migration>> = LazyLock::new(|| {
    let mut all: Vec<Migration> = FILES
        .files()
        .filter_map(|file| {
            let number = file.path().file_name()?.to_str()?.split('_').next()?.parse().ok()?;
            let migration: Migration = serde_json::from_slice(file.contents()).ok()?;
            Some(Migration { number, ..migration })
        })
        .collect();
    all.sort_by_key(|migration| migration.number);
    all
});

/// The layout this crate knows.
pub(crate) fn latest() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.number)
}

/// The container's record of what has been applied to it: a document of the system partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) instance_id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Number of the last migration applied.
    pub(crate) layout: u32,
    pub(crate) applied: Vec<Applied>,
    /// Bundles of procedures that are deployed, newest last.
    pub(crate) bundles: Vec<String>,
    #[serde(rename = "_etag", skip_serializing)]
    pub(crate) etag: Option<String>,
}

/// One applied migration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) number: u32,
    pub(crate) name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_and_numbers_are_consecutive() {
        assert_eq!(
            FILES.files().count(),
            MIGRATIONS.len(),
            "a file is not named <number>_<word>.json or no migration"
        );
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number as usize, index + 1, "{}", migration.name);
        }
    }
}
