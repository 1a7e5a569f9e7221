//! The figures as pictures: SVG, as documentation shows it.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Error;

use super::figures::Figures;
use super::site::Kind;
use super::trial::Cost;
use super::workload::{DELAYED_CHAIN, DELAYS, HISTORY, PARTITIONS, chain};

/// The pictures: file name and what it shows.
pub(super) const PICTURES: [(&str, &str); 5] = [
    ("requests.svg", "Requests per step, activity or child"),
    ("request-units.svg", "Request units per step, activity or child"),
    ("latency.svg", "Time of a step against latency added to each request"),
    ("history.svg", "Cost of a step against the length of the history"),
    ("partitions.svg", "Cost of a step against physical partitions"),
];
/// Workloads whose costs per step stand side by side.
const BARS: [&str; 6] =
    ["chain of 10", "chain of 200", "fan-out of 50", "fan-out of 500", "20 chains of 10", "parent of 5"];
/// Providers in the pictures; the others send nothing that could be counted.
const COUNTED: [Kind; 2] = [Kind::Cosmos, Kind::Cdb];
/// Height of a picture, and width of one panel of it.
const HEIGHT: u32 = 360;
const PANEL: u32 = 440;
/// Width of a bar.
const BAR: f64 = 0.75;
const FONT: (&str, u32) = ("sans-serif", 15);
const TITLE: (&str, u32) = ("sans-serif", 18);

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// A figure of a row.
type Figure = (&'static str, fn(&Cost) -> f64);

const REQUESTS: Figure = ("requests", Cost::requests);
const UNITS: Figure = ("request units", Cost::units);
const KILOBYTES: Figure = ("KB", Cost::kilobytes);

/// Draws all pictures into `directory`; one without figures stays empty.
pub(super) fn draw(figures: &Figures, directory: &Path) -> Result<(), Error> {
    let [requests, units, latency, history, partitions] = PICTURES.map(|(file, _)| directory.join(file));
    bars(figures, REQUESTS, &requests).map_err(Error::other)?;
    bars(figures, UNITS, &units).map_err(Error::other)?;
    let time = ("milliseconds", Cost::milliseconds as fn(&Cost) -> f64);
    lines(&latency, "added latency, ms", &[time], |kind, figure| {
        points(DELAYS.iter().map(|delay| {
            let cost = figures.cost_at(kind, DELAYED_CHAIN, 1, Duration::from_millis(*delay));
            (*delay, cost.map(figure))
        }))
    })
    .map_err(Error::other)?;
    lines(&history, "step of the chain", &[REQUESTS, UNITS, KILOBYTES], |kind, figure| {
        points(
            HISTORY.iter().map(|step| (*step, figures.cost(kind, &chain::history_title(*step)).map(figure))),
        )
    })
    .map_err(Error::other)?;
    lines(&partitions, "physical partitions", &[REQUESTS, UNITS], |kind, figure| {
        points(PARTITIONS.iter().map(|count| {
            let cost = figures.cost_at(kind, "chain of 10", *count, Duration::ZERO);
            (u64::from(*count), cost.map(figure))
        }))
    })
    .map_err(Error::other)
}

/// The points that were measured.
fn points(all: impl Iterator<Item = (u64, Option<f64>)>) -> Vec<(f64, f64)> {
    // Positions on an axis: thousands at most.
    #[allow(clippy::cast_precision_loss)]
    all.filter_map(|(x, y)| Some((x as f64, y?))).collect()
}

/// One panel for each figure, one line in it for each provider.
fn lines(
    path: &Path,
    x_axis: &str,
    panels: &[Figure],
    points: impl Fn(Kind, fn(&Cost) -> f64) -> Vec<(f64, f64)>,
) -> Drawn<()> {
    // A handful of panels.
    #[allow(clippy::cast_possible_truncation)]
    let width = PANEL * panels.len() as u32;
    let root = SVGBackend::new(path, (width, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (y_axis, figure)) in root.split_evenly((1, panels.len())).iter().zip(panels) {
        let series = COUNTED.map(|kind| (kind, points(kind, *figure)));
        let all = || series.iter().flat_map(|(_, points)| points);
        let right = all().map(|(x, _)| *x).fold(1.0, f64::max);
        let top = all().map(|(_, y)| *y).fold(1.0, f64::max);
        let mut chart = axes(area, &format!("{y_axis} per step"), 0.0..right * 1.02, top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(6)
            .x_desc(x_axis)
            .x_label_formatter(&f64::to_string)
            .y_label_formatter(&f64::to_string)
            .label_style(FONT)
            .axis_desc_style(FONT)
            .draw()?;
        for (kind, points) in series {
            let color = color(kind);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3))?
                .label(kind.name())
                .legend(move |at| legend_mark(at, color));
        }
        legend(&mut chart)?;
    }
    root.present()
}

/// One group of bars for each workload, one bar in it for each provider.
fn bars(figures: &Figures, (name, figure): Figure, path: &Path) -> Drawn<()> {
    let root = SVGBackend::new(path, (2 * PANEL, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let costs = COUNTED.map(|kind| (kind, BARS.map(|title| figures.cost(kind, title).map(figure))));
    let top = costs.iter().flat_map(|(_, costs)| costs).flatten().copied().fold(1.0, f64::max);
    let title = format!("{name} per step, activity or child");
    // Far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let groups = BARS.len() as f64;
    let mut chart = axes(&root, &title, 0.0..2.0 * groups, top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        // Twice as many as groups, for one in the middle of each.
        .x_labels(2 * BARS.len() + 1)
        .x_label_formatter(&|x| group_at(*x).to_owned())
        .y_label_formatter(&f64::to_string)
        .label_style(FONT)
        .draw()?;
    for (number, (kind, costs)) in (0u8..).zip(costs) {
        let color = color(kind);
        let places = (0u8..)
            .zip(costs)
            .filter_map(|(group, cost)| Some((middle(group) + BAR * (f64::from(number) - 1.0), cost?)));
        let places: Vec<(f64, f64)> = places.collect();
        let bar =
            |&(left, cost): &(f64, f64)| Rectangle::new([(left, 0.0), (left + BAR, cost)], color.filled());
        chart
            .draw_series(places.iter().map(bar))?
            .label(kind.name())
            .legend(move |at| legend_mark(at, color));
        let style = FONT.into_text_style(&root).pos(Pos::new(HPos::Center, VPos::Bottom));
        let text = |&(left, cost): &(f64, f64)| {
            Text::new(format!("{cost:.1}"), (left + BAR / 2.0, cost), style.clone())
        };
        chart.draw_series(places.iter().map(text))?;
    }
    legend(&mut chart)?;
    root.present()
}

/// Groups are two wide, so that their middles are whole numbers, which the axis labels.
fn middle(group: u8) -> f64 {
    2.0 * f64::from(group) + 1.0
}

/// The workload whose group of bars has its middle here.
fn group_at(x: f64) -> &'static str {
    let mut groups = (0u8..).zip(BARS);
    groups.find(|(group, _)| (middle(*group) - x).abs() < 0.01).map_or("", |(_, title)| title)
}

fn axes<'a, 'b>(area: &'a Area<'b>, title: &str, x: Range<f64>, top: f64) -> Drawn<Chart<'a, 'b>> {
    ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(55)
        // Room for the legend above the lines.
        .build_cartesian_2d(x, 0.0..top * 1.35)
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Drawn<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(FONT)
        .background_style(WHITE.mix(0.8))
        .draw()
}

fn legend_mark((x, y): (i32, i32), color: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled())
}

/// Blue and orange: told apart by nearly everybody, and in print.
fn color(kind: Kind) -> RGBColor {
    match kind {
        Kind::Cosmos => RGBColor(0, 90, 181),
        Kind::Cdb | Kind::Sqlite | Kind::Postgres => RGBColor(220, 110, 30),
    }
}
