//! What a process has used, from /proc.

use std::fs;

/// What a process has used until now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of the processor.
    pub(crate) cpu: f64,
    /// Resident memory in KiB.
    pub(crate) memory: f64,
    /// The most that it ever was.
    pub(crate) peak: f64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        // After the name, which may hold anything: fields 14 and 15 of all are the 12th and 13th of these.
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().expect("ticks")).sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let kib = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known line");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
        };
        // 100 ticks are a second on every Linux that runs this.
        Self { cpu: ticks / 100.0, memory: kib("VmRSS"), peak: kib("VmHWM") }
    }
}
