//! The figures as a table in Markdown.

use std::path::Path;
use std::time::Duration;

use crate::load::Measured;
use crate::table::Table;
use crate::{Error, machine};

use super::Options;

/// Figures of a run.
#[derive(Debug)]
pub(super) struct Report {
    heading: String,
    starts: Vec<(String, Vec<Duration>)>,
    memory: Vec<(String, u64, u64)>,
    rows: Vec<Row>,
}

/// One workload on one server.
#[derive(Debug)]
pub(super) struct Row {
    server: String,
    workload: &'static str,
    documents: Option<u64>,
    measured: Measured,
}

impl Row {
    pub(super) fn new(
        server: &str,
        workload: &'static str,
        documents: Option<u64>,
        measured: Measured,
    ) -> Self {
        Self { server: server.to_owned(), workload, documents, measured }
    }

    fn cells(&self) -> Vec<String> {
        let documents = self.documents.map_or_else(String::new, |count| count.to_string());
        let mut cells = vec![self.workload.to_owned(), self.server.clone(), documents];
        let measured = &self.measured;
        if measured.requests() == 0 {
            let status = measured.failed_with.map_or_else(|| "none".to_owned(), |status| status.to_string());
            cells.push(format!("refused ({status})"));
            cells.resize(9, String::new());
            return cells;
        }
        cells.extend([
            format!("{:.0}", measured.rate()),
            milliseconds(measured.quantile(0.5)),
            milliseconds(measured.quantile(0.99)),
            measured.cpu().map_or_else(String::new, |cpu| cpu.as_micros().to_string()),
            format!("{:.2}", measured.units()),
            measured.failures.to_string(),
        ]);
        cells
    }
}

impl Report {
    /// Notes the circumstances of a run that is about to begin.
    pub(super) fn new(options: &Options) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut heading = format!(
            "# Speed and size of the emulator\n\nWritten by `cargo run --release -p bench -- {}`.\n\n",
            arguments.join(" ")
        );
        for line in machine::describe() {
            heading.push_str(&format!("* {line}\n"));
        }
        heading.push_str(&format!(
            "* {} connections with keep-alive, {} s per workload, one request at a time on each; documents of about \
             0.5 KB, {} per partition key; every property indexed\n* the client runs on the same machine, on one \
             thread, and competes for the cores: what it cannot send, the server cannot answer. `CPU` is the \
             server's own processor time, which depends less on what else the machine does\n* a range query takes \
             about as many instructions whatever is at rest: 481,000, 494,000 and 497,000 for 20 rows among 1,000, 20,000 and \
             100,000 documents (counted once by callgrind). The rest of the difference in time is inferred to be \
             the processor's caches; no hardware counters were at hand to show it\n",
            options.connections, options.seconds, 100
        ));
        Self { heading, starts: Vec::new(), memory: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn start(&mut self, server: &str, times: Vec<Duration>) {
        self.starts.push((server.to_owned(), times));
    }

    pub(super) fn memory(&mut self, server: &str, documents: u64, kilobytes: u64) {
        self.memory.push((server.to_owned(), documents, kilobytes));
    }

    pub(super) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    fn text(&self) -> String {
        let mut text = self.heading.clone();
        if !self.starts.is_empty() {
            let mut table = Table::new(&["server", "ready after, median ms", "worst ms"]);
            for (server, times) in &self.starts {
                let at = |index: usize| times.get(index).copied().map_or_else(String::new, milliseconds);
                table.row(vec![server.clone(), at(times.len() / 2), at(times.len().saturating_sub(1))]);
            }
            text.push_str(&format!(
                "\n## From the start of the program to its first answer\n\n{}",
                table.to_markdown()
            ));
        }
        if !self.memory.is_empty() {
            let mut table = Table::new(&["server", "documents stored", "memory, MB", "per 100,000, MB"]);
            for (server, documents, kilobytes) in &self.memory {
                let per = kilobytes * 100_000 / documents.max(&1);
                let megabytes = |kilobytes: u64| (kilobytes / 1024).to_string();
                table.row(vec![server.clone(), documents.to_string(), megabytes(*kilobytes), megabytes(per)]);
            }
            text.push_str(&format!("\n## Resident memory\n\n{}", table.to_markdown()));
        }
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        // The servers side by side; a stable sort keeps their order.
        rows.sort_by_key(|row| self.rows.iter().position(|first| first.workload == row.workload));
        let mut table = Table::new(&[
            "workload",
            "server",
            "at rest",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/request",
            "RU",
            "failed",
        ]);
        for row in rows {
            table.row(row.cells());
        }
        text.push_str(&format!("\n## Workloads\n\n{}", table.to_markdown()));
        text
    }

    /// Prints the table, and writes it to `path`.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = self.text();
        println!("{text}");
        let failed = |error| Error::Io(path.display().to_string(), error);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        std::fs::write(path, text).map_err(failed)
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}
