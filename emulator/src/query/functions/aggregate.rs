//! COUNT, SUM and the other aggregates.

use crate::value::Value;

/// Which aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    Count,
    CountIf,
    Sum,
    Avg,
    Min,
    Max,
    MakeList,
    MakeSet,
}

const ALL: [AggregateKind; 8] = [
    AggregateKind::Count,
    AggregateKind::CountIf,
    AggregateKind::Sum,
    AggregateKind::Avg,
    AggregateKind::Min,
    AggregateKind::Max,
    AggregateKind::MakeList,
    AggregateKind::MakeSet,
];

impl AggregateKind {
    /// The aggregate called `name`, in any case.
    pub(in crate::query) fn parse(name: &str) -> Option<Self> {
        ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The upper-case name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::CountIf => "COUNTIF",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::MakeList => "MAKELIST",
            Self::MakeSet => "MAKESET",
        }
    }
}

/// The state of one aggregate over one group.
#[derive(Debug)]
pub(in crate::query) struct Accumulator {
    kind: AggregateKind,
    count: f64,
    sum: f64,
    extreme: Value,
    list: Vec<Value>,
    /// Set once a value has made the result `undefined`.
    spoiled: bool,
}

impl Accumulator {
    pub(in crate::query) fn new(kind: AggregateKind) -> Self {
        Self { kind, count: 0.0, sum: 0.0, extreme: Value::Undefined, list: Vec::new(), spoiled: false }
    }

    /// Takes one row's value. `undefined` never counts.
    pub(in crate::query) fn add(&mut self, value: Value) {
        if value.is_undefined() {
            return;
        }
        match self.kind {
            AggregateKind::Count => self.count += 1.0,
            AggregateKind::CountIf => self.count += f64::from(u8::from(value == Value::Bool(true))),
            AggregateKind::Sum | AggregateKind::Avg => match value {
                Value::Number(number) => {
                    self.count += 1.0;
                    self.sum += number;
                }
                _ => self.spoiled = true,
            },
            AggregateKind::Min | AggregateKind::Max => self.extreme(value),
            AggregateKind::MakeList => self.list.push(value),
            AggregateKind::MakeSet => {
                if !self.list.contains(&value) {
                    self.list.push(value);
                }
            }
        }
    }

    /// The result so far.
    pub(in crate::query) fn finish(self) -> Value {
        if self.spoiled {
            return Value::Undefined;
        }
        match self.kind {
            AggregateKind::Count | AggregateKind::CountIf => Value::Number(self.count),
            AggregateKind::Sum => finite(self.sum),
            AggregateKind::Avg if self.count == 0.0 => Value::Undefined,
            AggregateKind::Avg => finite(self.sum / self.count),
            AggregateKind::Min | AggregateKind::Max => self.extreme,
            AggregateKind::MakeList | AggregateKind::MakeSet => self.list.into(),
        }
    }

    /// null < booleans < numbers < strings; arrays and objects have no extreme.
    fn extreme(&mut self, value: Value) {
        if matches!(value, Value::Array(_) | Value::Object(_)) {
            self.spoiled = true;
            return;
        }
        let order = value.total_cmp(&self.extreme);
        let better = if self.kind == AggregateKind::Min { order.is_lt() } else { order.is_gt() };
        if better || self.extreme.is_undefined() {
            self.extreme = value;
        }
    }
}

fn finite(number: f64) -> Value {
    if number.is_finite() { Value::Number(number) } else { Value::Undefined }
}
