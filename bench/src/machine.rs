//! What the figures were measured on.

use std::time::SystemTime;

/// One line each: processor, memory, system, load before the run, date.
pub(crate) fn describe() -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let system = first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let load = first_line("/proc/loadavg").unwrap_or_else(|| "unknown".to_owned());
    vec![
        format!("machine: {cores} cores, {model}, memory {memory}, Linux {system}"),
        format!("load before the run (1, 5 and 15 minutes; 0 is an idle machine): {load}"),
        format!("date: {}", httpdate::fmt_http_date(SystemTime::now())),
    ]
}

/// The text behind `name:` in a file of `/proc`.
pub(crate) fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn first_line(file: &str) -> Option<String> {
    Some(std::fs::read_to_string(file).ok()?.lines().next()?.to_owned())
}
