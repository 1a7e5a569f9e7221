//! What the provider sets out to reach.

use std::time::Duration;

use crate::table::Table;

use super::figures::Figures;
use super::site::Kind;
use super::trial::Cost;
use super::workload::{DELAYED_CHAIN, at_rest, chain, idle, processes};

/// The figure of a provider, if it was measured.
type Value = Box<dyn Fn(&Figures, Kind) -> Option<f64>>;

/// A figure and its bound.
struct Target {
    what: String,
    bound: Bound,
    value: Value,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn is_met(&self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= *bound,
            Self::AtLeast(bound) => value >= *bound,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::AtMost(bound) => format!("at most {bound}"),
            Self::AtLeast(bound) => format!("at least {bound}"),
        }
    }
}

/// The targets with what was measured, as a table; those alone of which something was.
pub(super) fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&["figure", "target", "duroxide-cosmos", "duroxide-cdb", "met"]);
    for target in all() {
        let [ours, theirs] = [Kind::Cosmos, Kind::Cdb].map(|kind| (target.value)(figures, kind));
        if ours.is_none() && theirs.is_none() {
            continue;
        }
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let met = match ours.map(|value| target.bound.is_met(value)) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        table.row(vec![target.what, target.bound.text(), text(ours), text(theirs), met.to_owned()]);
    }
    table
}

fn all() -> Vec<Target> {
    let mut all = Vec::new();
    for chain in ["chain of 10", "chain of 200"] {
        all.push(requests(chain, "step", 2.5));
        all.push(units_against_cdb(chain, 1, 0.4));
        all.push(units_against_cdb(chain, 10, 0.15));
    }
    all.push(growth("requests", Cost::requests));
    all.push(growth("RU", Cost::units));
    all.push(growth("bytes", Cost::kilobytes));
    all.push(requests("fan-out of 50", "activity", 2.2));
    all.push(requests("fan-out of 500", "activity", 2.2));
    all.push(requests("20 chains of 10", "step", 3.0));
    all.push(requests("parent of 5", "child", 8.0));
    all.push(faster_than_cdb(Duration::from_millis(5), 10.0));
    all.push(requests(idle::IDLE, "second", 2.0));
    all.push(milliseconds(idle::SAME_PROCESS, 20.0));
    all.push(milliseconds(idle::OTHER_PROCESS, 1000.0));
    all.push(requests(processes::TITLE, "step", 5.0));
    all.push(Target {
        what: format!("{}: share of seconds without a step while work waits", processes::TITLE),
        bound: Bound::AtMost(0.0),
        value: Box::new(|figures, kind| figures.cost(kind, processes::TITLE)?.idle),
    });
    all.push(at_rest("requests", Cost::requests));
    all.push(at_rest("RU", Cost::units));
    all.push(at_rest("bytes", Cost::kilobytes));
    all
}

fn at_rest(what: &str, figure: fn(&Cost) -> f64) -> Target {
    Target {
        what: format!("discovery beside instances at rest against none: {what}"),
        bound: Bound::AtMost(1.2),
        value: Box::new(move |figures, kind| {
            let [full, empty] =
                [at_rest::FULL, at_rest::EMPTY].map(|title| figures.cost(kind, title).map(figure));
            Some(full? / empty?)
        }),
    }
}

fn requests(title: &'static str, per: &str, bound: f64) -> Target {
    Target {
        what: format!("{title}: requests per {per}"),
        bound: Bound::AtMost(bound),
        value: Box::new(move |figures, kind| figures.cost(kind, title).map(Cost::requests)),
    }
}

fn milliseconds(title: &'static str, bound: f64) -> Target {
    Target {
        what: format!("{title}: ms"),
        bound: Bound::AtMost(bound),
        value: Box::new(move |figures, kind| figures.cost(kind, title).map(Cost::milliseconds)),
    }
}

fn units_against_cdb(title: &'static str, partitions: u32, bound: f64) -> Target {
    let units = move |figures: &Figures, kind| {
        figures.cost_at(kind, title, partitions, Duration::ZERO).map(Cost::units)
    };
    Target {
        what: format!("{title}, partitions {partitions}: RU against duroxide-cdb's"),
        bound: Bound::AtMost(bound),
        value: Box::new(move |figures, kind| Some(units(figures, kind)? / units(figures, Kind::Cdb)?)),
    }
}

fn growth(what: &str, figure: fn(&Cost) -> f64) -> Target {
    let at = move |figures: &Figures, kind, step| figures.cost(kind, &chain::history_title(step)).map(figure);
    Target {
        what: format!("step 1000 against step 10 of a chain: {what}"),
        bound: Bound::AtMost(1.1),
        value: Box::new(move |figures, kind| Some(at(figures, kind, 1000)? / at(figures, kind, 10)?)),
    }
}

fn faster_than_cdb(delay: Duration, bound: f64) -> Target {
    let time =
        move |figures: &Figures, kind| figures.cost_at(kind, DELAYED_CHAIN, 1, delay).map(Cost::milliseconds);
    Target {
        what: format!("chain of 10 with {} ms added: times faster than duroxide-cdb", delay.as_millis()),
        bound: Bound::AtLeast(bound),
        value: Box::new(move |figures, kind| Some(time(figures, Kind::Cdb)? / time(figures, kind)?)),
    }
}
