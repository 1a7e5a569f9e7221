//! What is going on, on standard error.

use std::time::{Duration, Instant};

use super::workload::{Case, Row};

/// How often a workload that takes its time is said to go on.
const STILL: Duration = Duration::from_secs(10);

/// Tells about one case.
#[derive(Debug)]
pub(super) struct Progress {
    still: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Says that a case begins, and from time to time that it goes on.
    pub(super) fn start(number: usize, of: usize, case: Case) -> Self {
        let setting = case.setting;
        let mut what = format!("{:?}, {}", case.workload, setting.kind.name());
        if setting.kind.is_counted() {
            what.push_str(&format!(", partitions {}, added {:?}", setting.partitions, setting.delay));
        }
        eprintln!("[{number}/{of}] {what}");
        let started = Instant::now();
        let still = tokio::spawn(async move {
            loop {
                tokio::time::sleep(STILL).await;
                eprintln!("    still running after {} s", started.elapsed().as_secs());
            }
        });
        Self { still }
    }

    /// Tells what came out.
    pub(super) fn done(self, rows: &[Row]) {
        for row in rows {
            match &row.outcome {
                Ok(cost) if cost.by_operation.is_empty() => {
                    eprintln!("    {}: {:.1} ms per {}", row.title, cost.milliseconds(), row.per);
                }
                Ok(cost) => eprintln!(
                    "    {}: {:.2} requests, {:.2} RU, {:.1} KB, {:.1} ms per {}",
                    row.title,
                    cost.requests(),
                    cost.units(),
                    cost.kilobytes(),
                    cost.milliseconds(),
                    row.per
                ),
                Err(reason) => eprintln!("    {}: {reason}", row.title),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.still.abort();
    }
}
