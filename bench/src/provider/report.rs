//! The figures as tables in Markdown.

use std::path::Path;

use crate::table::Table;
use crate::{Error, machine};

use super::counts::Counts;
use super::figures::Figures;
use super::site::Kind;
use super::trial::Cost;
use super::workload::Row;
use super::{plots, targets};

/// The circumstances of a run that is about to begin.
pub(super) fn heading() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    let mut text = format!(
        "# Requests, request units and time of the provider\n\nWritten by `cargo run --release -p bench{separator}{}`.\n\n",
        arguments.join(" ")
    );
    for line in machine::describe() {
        text.push_str(&format!("* {line}\n"));
    }
    text.push_str(EXPLANATION);
    text
}

const EXPLANATION: &str = "\
* provider, proxy and emulator run in one process and compete for its cores: times are good as ratios within this \
table only; requests, request units (by the emulator's model) and bytes do not depend on the machine, but for \
clients and dispatchers that look again while they wait
* everything is counted that goes through the proxy from the client's start to the end of its waiting: dispatchers, \
activities, background tasks and the client itself; what a start of the provider costs is not
* bytes are those of heads and bodies in both directions; an added delay is put before each request
* duroxide-cdb has its dispatchers set to the runtime's numbers, as its documentation asks for; everything else is \
its default, as is everything of the other providers
";

/// Prints the tables, and writes them into `directory`.
pub(super) fn write(heading: &str, figures: &Figures, directory: Option<&Path>) -> Result<(), Error> {
    let mut text = format!("{heading}\n## Targets\n\n{}", targets::table(figures).to_markdown());
    text.push_str(&format!("\n## All figures\n\n{}", all(figures).to_markdown()));
    if let Some(what) = requests(figures) {
        text.push_str(&format!("\n## What a step of a chain of 200 is made of\n\n{}", what.to_markdown()));
    }
    println!("{text}");
    let Some(directory) = directory else { return Ok(()) };
    for (file, title) in plots::PICTURES {
        text.push_str(&format!("\n## {title}\n\n![{title}]({file})\n"));
    }
    let path = directory.join("provider.md");
    let failed = |error| Error::Io(path.display().to_string(), error);
    std::fs::create_dir_all(directory).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)?;
    plots::draw(figures, directory)
}

fn all(figures: &Figures) -> Table {
    let mut table = Table::new(&[
        "workload",
        "partitions",
        "added ms",
        "provider",
        "per",
        "requests",
        "RU",
        "KB",
        "ms",
        "time against ours",
        "remark",
    ]);
    for row in figures.side_by_side() {
        table.row(cells(figures, row));
    }
    table
}

fn cells(figures: &Figures, row: &Row) -> Vec<String> {
    let setting = row.setting;
    let counted = setting.kind.is_counted();
    let only = |wanted: bool, text: String| if wanted { text } else { String::new() };
    let mut cells = vec![
        row.title.clone(),
        only(counted, setting.partitions.to_string()),
        only(!setting.delay.is_zero(), setting.delay.as_millis().to_string()),
        setting.kind.name().to_owned(),
        row.per.to_owned(),
    ];
    match &row.outcome {
        Ok(cost) => {
            // Times alone, where a row is about nothing else.
            let counted = counted && !cost.by_operation.is_empty();
            let ours = figures.cost_at(Kind::Cosmos, &row.title, setting.partitions, setting.delay);
            cells.extend([
                only(counted, format!("{:.2}", cost.requests())),
                only(counted, format!("{:.1}", cost.units())),
                only(counted, format!("{:.1}", cost.kilobytes())),
                // A second takes a second.
                only(row.per != "second", format!("{:.1}", cost.milliseconds())),
                ours.filter(|_| row.per != "second").map_or_else(String::new, |ours| {
                    format!("{:.2}", cost.milliseconds() / ours.milliseconds())
                }),
                remark(cost),
            ]);
        }
        Err(reason) => {
            cells.resize(10, String::new());
            cells.push(format!("**failed**: {}", reason.replace(['\n', '|'], " ")));
        }
    }
    cells
}

fn remark(cost: &Cost) -> String {
    let idle = cost.idle.map(|share| format!("idle {:.0} %", share * 100.0));
    cost.note.iter().cloned().chain(idle).collect::<Vec<_>>().join("; ")
}

/// Requests of each sort per step.
fn requests(figures: &Figures) -> Option<Table> {
    let mut table = Table::new(&["provider", "request", "per step", "RU per step"]);
    let mut any = false;
    for kind in [Kind::Cosmos, Kind::Cdb] {
        let Some(cost) = figures.cost(kind, "chain of 200") else { continue };
        let mut parts: Vec<(&String, &Counts)> = cost.by_operation.iter().collect();
        parts.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.requests));
        for (operation, counts) in parts {
            // Far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let requests = counts.requests as f64 / cost.count;
            table.row(vec![
                kind.name().to_owned(),
                operation.clone(),
                format!("{requests:.2}"),
                format!("{:.2}", counts.units / cost.count),
            ]);
            any = true;
        }
    }
    any.then_some(table)
}
