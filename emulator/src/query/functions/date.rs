//! Date and time. A point in time is a count of ticks (100 ns) since 1970, and as text
//! `YYYY-MM-DDThh:mm:ss.fffffffZ`.

use super::{Call, Function, from_integer, function, to_integer};
use crate::value::Value;

pub(super) const TABLE: &[Function] = &[
    function("AGO", 2, 2, |c| text(from_now(c, -1))),
    function("DATETIMEADD", 3, 3, |c| text(add(c))),
    function("DATETIMEBIN", 2, 4, |c| text(bin(c))),
    function("DATETIMEDIFF", 3, 3, |c| number(diff(c))),
    function("DATETIMEFROMPARTS", 3, 7, |c| text(from_parts(c))),
    function("DATETIMEPART", 2, 2, |c| number(part(c))),
    function("DATETIMETOTICKS", 1, 1, |c| number(c.text(0).and_then(parse))),
    function("DATETIMETOTIMESTAMP", 1, 1, |c| number(c.text(0).and_then(parse).map(|t| t.div_euclid(MS)))),
    function("DAY", 1, 1, |c| number(c.text(0).and_then(parse).map(|t| Civil::of(t).day))),
    function("GETCURRENTDATETIME", 0, 0, |c| text(now(c))),
    function("GETCURRENTDATETIMESTATIC", 0, 0, |c| text(now(c))),
    function("GETCURRENTTICKS", 0, 0, |c| number(now(c))),
    function("GETCURRENTTICKSSTATIC", 0, 0, |c| number(now(c))),
    function("GETCURRENTTIMESTAMP", 0, 0, |c| number(now(c).map(|t| t / MS))),
    function("GETCURRENTTIMESTAMPSTATIC", 0, 0, |c| number(now(c).map(|t| t / MS))),
    function("IS_DATETIME", 1, 1, |c| c.text(0).is_some_and(is_date_time).into()),
    function("MONTH", 1, 1, |c| number(c.text(0).and_then(parse).map(|t| Civil::of(t).month))),
    function("NOW", 0, 2, |c| text(if c.given(0) { from_now(c, 1) } else { now(c) })),
    function("TICKSTODATETIME", 1, 1, |c| text(c.integer(0))),
    function("TIMESTAMPTODATETIME", 1, 1, |c| text(c.number(0).and_then(ms_to_ticks))),
    function("YEAR", 1, 1, |c| number(c.text(0).and_then(parse).map(|t| Civil::of(t).year))),
];

const MICROSECOND: i64 = 10;
const MS: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A part of a date.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Weekday,
}

impl Part {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "year" | "yyyy" | "yy" => Part::Year,
            "month" | "mm" | "m" => Part::Month,
            "day" | "dd" | "d" => Part::Day,
            "hour" | "hh" => Part::Hour,
            "minute" | "mi" | "n" => Part::Minute,
            "second" | "ss" | "s" => Part::Second,
            "millisecond" | "ms" => Part::Millisecond,
            "microsecond" | "mcs" => Part::Microsecond,
            "nanosecond" | "ns" => Part::Nanosecond,
            "weekday" | "dw" | "w" => Part::Weekday,
            _ => return None,
        })
    }

    /// The length in ticks, for the parts that have a fixed one of at least a tick.
    fn ticks(self) -> Option<i64> {
        Some(match self {
            Part::Day => DAY,
            Part::Hour => HOUR,
            Part::Minute => MINUTE,
            Part::Second => SECOND,
            Part::Millisecond => MS,
            Part::Microsecond => MICROSECOND,
            Part::Year | Part::Month | Part::Nanosecond | Part::Weekday => return None,
        })
    }
}

fn number(value: Option<i64>) -> Value {
    value.map_or(Value::Undefined, from_integer)
}

fn text(ticks: Option<i64>) -> Value {
    ticks.and_then(format).map_or(Value::Undefined, Value::from)
}

fn now(call: &Call<'_>) -> Option<i64> {
    ms_to_ticks(call.context.now_ms.floor())
}

fn ms_to_ticks(ms: f64) -> Option<i64> {
    to_integer(ms)?.checked_mul(MS)
}

/// A date split into its parts.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    /// Ticks since midnight.
    time: i64,
}

impl Civil {
    fn of(ticks: i64) -> Self {
        let (year, month, day) = civil_from_days(ticks.div_euclid(DAY));
        Self { year, month, day, time: ticks.rem_euclid(DAY) }
    }

    /// Nothing for a date that does not exist or lies outside the years 1 to 9999.
    fn ticks(&self) -> Option<i64> {
        let valid = (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day);
        valid.then(|| days_from_civil(self.year, self.month, self.day) * DAY + self.time)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, whose cycle is 400 years of 146097 days. Years are
/// counted from March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let cycle = days.div_euclid(146_097);
    let day_of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn format(ticks: i64) -> Option<String> {
    let Civil { year, month, day, time } = Civil::of(ticks);
    if !(1..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (time / HOUR, time / MINUTE % 60, time / SECOND % 60);
    let fraction = time % SECOND;
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z"))
}

/// ISO 8601: a date, then optionally a time with up to seven digits of fraction, then optionally `Z` or an
/// offset.
fn parse(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = eat(&mut rest, "-").then(|| digits(&mut rest, 2))??;
    let day = eat(&mut rest, "-").then(|| digits(&mut rest, 2))??;
    let mut time = 0;
    if eat(&mut rest, "T") {
        let hour = digits(&mut rest, 2)?;
        let minute = eat(&mut rest, ":").then(|| digits(&mut rest, 2))??;
        let second = if eat(&mut rest, ":") { digits(&mut rest, 2)? } else { 0 };
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let fraction = if eat(&mut rest, ".") { fraction(&mut rest)? } else { 0 };
        time = hour * HOUR + minute * MINUTE + second * SECOND + fraction;
        time -= offset(&mut rest)?;
    } else {
        eat(&mut rest, "Z");
    }
    rest.is_empty().then(|| Civil { year, month, day, time }.ticks())?
}

fn eat(rest: &mut &str, token: &str) -> bool {
    match rest.strip_prefix(token) {
        Some(tail) => {
            *rest = tail;
            true
        }
        None => false,
    }
}

fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    if !head.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    *rest = tail;
    head.parse().ok()
}

/// One to seven digits as ticks.
fn fraction(rest: &mut &str) -> Option<i64> {
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=7).contains(&count) {
        return None;
    }
    let scale = 10_i64.pow(u32::try_from(7 - count).ok()?);
    Some(digits(rest, count)? * scale)
}

/// `Z`, nothing, or `±hh:mm`, in ticks east of UTC.
fn offset(rest: &mut &str) -> Option<i64> {
    let sign = match rest.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => {
            eat(rest, "Z");
            return Some(0);
        }
    };
    *rest = rest.get(1..)?;
    let hours = digits(rest, 2)?;
    let minutes = eat(rest, ":").then(|| digits(rest, 2))??;
    Some(sign * (hours * HOUR + minutes * MINUTE))
}

/// `DATETIMEADD(part, count, date)`
fn add(call: &Call<'_>) -> Option<i64> {
    shifted(Part::parse(call.text(0)?)?, call.integer(1)?, parse(call.text(2)?)?)
}

/// `NOW(part, count)`, and `AGO` with the sign reversed.
fn from_now(call: &Call<'_>, sign: i64) -> Option<i64> {
    shifted(Part::parse(call.text(0)?)?, call.integer(1)?.checked_mul(sign)?, now(call)?)
}

fn shifted(part: Part, count: i64, ticks: i64) -> Option<i64> {
    match part {
        Part::Year => add_months(ticks, count.checked_mul(12)?),
        Part::Month => add_months(ticks, count),
        Part::Nanosecond => ticks.checked_add(count.div_euclid(100)),
        Part::Weekday => None,
        _ => ticks.checked_add(count.checked_mul(part.ticks()?)?),
    }
}

/// The day is cut to the length of the new month.
fn add_months(ticks: i64, count: i64) -> Option<i64> {
    let Civil { year, month, day, time } = Civil::of(ticks);
    let months = (year * 12 + month - 1).checked_add(count)?;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    Civil { year, month, day: day.min(days_in_month(year, month)), time }.ticks()
}

/// `DATETIMEBIN(date, part [, size [, origin]])`: the start of the bin the date falls into.
fn bin(call: &Call<'_>) -> Option<i64> {
    let (ticks, part) = (parse(call.text(0)?)?, Part::parse(call.text(1)?)?);
    let size = if call.given(2) { call.integer(2)? } else { 1 };
    let origin = if call.given(3) { parse(call.text(3)?)? } else { 0 };
    let width = match part {
        // Below a tick there is nothing to cut.
        Part::Nanosecond => (size / 100).max(i64::from(size > 0)),
        _ => size.checked_mul(part.ticks()?)?,
    };
    if width <= 0 {
        return None;
    }
    (ticks - origin).div_euclid(width).checked_mul(width)?.checked_add(origin)
}

/// `DATETIMEDIFF(part, start, end)`: the boundaries of that part between the two.
fn diff(call: &Call<'_>) -> Option<i64> {
    let (part, start, end) = (Part::parse(call.text(0)?)?, parse(call.text(1)?)?, parse(call.text(2)?)?);
    let (from, to) = (Civil::of(start), Civil::of(end));
    Some(match part {
        Part::Year => to.year - from.year,
        Part::Month => (to.year * 12 + to.month) - (from.year * 12 + from.month),
        Part::Nanosecond => (end - start).checked_mul(100)?,
        Part::Weekday => return None,
        _ => end.div_euclid(part.ticks()?) - start.div_euclid(part.ticks()?),
    })
}

/// `DATETIMEFROMPARTS(year, month, day [, hour, minute, second, fraction])`; the fraction is in ticks.
fn from_parts(call: &Call<'_>) -> Option<i64> {
    let optional = |at: usize, end: i64| {
        let value = if call.given(at) { call.integer(at)? } else { 0 };
        (0..end).contains(&value).then_some(value)
    };
    let (hour, minute, second) = (optional(3, 24)?, optional(4, 60)?, optional(5, 60)?);
    let time = hour * HOUR + minute * MINUTE + second * SECOND + optional(6, SECOND)?;
    Civil { year: call.integer(0)?, month: call.integer(1)?, day: call.integer(2)?, time }.ticks()
}

/// The forms that the reference lists for `IS_DATETIME`: more than the other functions take (a blank before the
/// time), and less (no other zone than `Z`, and never without seconds).
fn is_date_time(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let Some((date, time)) = text.split_once(['T', ' ']) else {
        return text.len() == "YYYY-MM-DD".len() && parse(text).is_some();
    };
    let whole = time.split_once('.').map_or(time, |(whole, _)| whole);
    date.len() == "YYYY-MM-DD".len()
        && whole.len() == "hh:mm:ss".len()
        && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
        && parse(&format!("{date}T{time}")).is_some()
}

/// `DATETIMEPART(part, date)`
fn part(call: &Call<'_>) -> Option<i64> {
    let (part, ticks) = (Part::parse(call.text(0)?)?, parse(call.text(1)?)?);
    let Civil { year, month, day, time } = Civil::of(ticks);
    Some(match part {
        Part::Year => year,
        Part::Month => month,
        Part::Day => day,
        Part::Hour => time / HOUR,
        Part::Minute => time / MINUTE % 60,
        Part::Second => time / SECOND % 60,
        Part::Millisecond => time % SECOND / MS,
        Part::Microsecond => time % SECOND / MICROSECOND,
        Part::Nanosecond => time % SECOND * 100,
        // Sunday is 1; 1970-01-01 was a Thursday.
        Part::Weekday => (ticks.div_euclid(DAY) + 4).rem_euclid(7) + 1,
    })
}
