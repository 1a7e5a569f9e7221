//! All that was measured in one run.

use std::time::Duration;

use super::site::Kind;
use super::trial::Cost;
use super::workload::Row;

/// The rows of a run, in the order they were measured in.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Row>);

impl Figures {
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.0.extend(rows);
    }

    /// The rows with the providers side by side.
    pub(super) fn side_by_side(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.0.iter().collect();
        // A stable sort keeps the order of the providers.
        rows.sort_by_key(|row| {
            let same = |other: &&Row| {
                other.title == row.title
                    && other.setting.partitions == row.setting.partitions
                    && other.setting.delay == row.setting.delay
            };
            self.0.iter().position(|other| same(&other))
        });
        rows
    }

    /// What `title` cost on one partition without delay.
    pub(super) fn cost(&self, kind: Kind, title: &str) -> Option<&Cost> {
        self.cost_at(kind, title, 1, Duration::ZERO)
    }

    /// What `title` cost under these circumstances.
    pub(super) fn cost_at(&self, kind: Kind, title: &str, partitions: u32, delay: Duration) -> Option<&Cost> {
        let row = self.0.iter().find(|row| {
            row.title == title
                && row.setting.kind == kind
                && row.setting.partitions == partitions
                && row.setting.delay == delay
        })?;
        row.outcome.as_ref().ok()
    }
}
