//! What a measured Rust process is told, and what it tells: one JSON object each. `peer.py` is the same in Python.
//!
//! Included by `#[path]` into our program and into the one of the Rust peers, which are in workspaces of
//! their own, so that both read, measure and write alike. Time is wall time; `*_cpu_secs` add up over
//! threads, which is what stays comparable on a busy machine.

#[path = "memory.rs"]
mod memory;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// One measurement: a method on data.
pub(crate) struct Job {
    pub(crate) method: String,
    pub(crate) args: Map<String, Value>,
    /// Rows to fit, and their width.
    pub(crate) train: Matrix,
    /// Rows to transform.
    pub(crate) test: Matrix,
    pub(crate) seed: u64,
    pub(crate) out: PathBuf,
    /// Stop after the fit: time to the first result is measured, from outside.
    pub(crate) first_result_only: bool,
    pub(crate) report: Map<String, Value>,
}

/// Rows of numbers.
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl Job {
    /// From the only argument of this process.
    pub(crate) fn from_command_line() -> Result<Self> {
        let text = std::env::args().nth(1).context("the only argument is a job in JSON")?;
        let job: Value = serde_json::from_str(&text).context("the job is not JSON")?;
        let text = |name: &str| job[name].as_str().with_context(|| format!("the job has no {name}"));
        let limit = job["rows"].as_u64().map_or(usize::MAX, |rows| rows as usize);
        let started = Instant::now();
        let mut report = Map::new();
        let train = read_npy(text("train")?.as_ref(), limit)?;
        let test = read_npy(text("test")?.as_ref(), usize::MAX)?;
        note(&mut report, "load_secs", started.elapsed());
        Ok(Self {
            method: text("method")?.to_owned(),
            args: job["args"].as_object().cloned().unwrap_or_default(),
            train,
            test,
            seed: job["seed"].as_u64().context("the job has no seed")?,
            out: text("out")?.into(),
            first_result_only: job["first_result_only"].as_bool().unwrap_or(false),
            report,
        })
    }

    /// Does `work`, and notes its wall and processor time.
    pub(crate) fn timed<R>(&mut self, stage: &str, work: impl FnOnce(&Self) -> R) -> R {
        let (wall, cpu) = (Instant::now(), cpu_secs());
        let result = work(self);
        note(&mut self.report, &format!("{stage}_secs"), wall.elapsed());
        self.report.insert(format!("{stage}_cpu_secs"), (cpu_secs() - cpu).into());
        result
    }

    /// Writes a layout, row after row.
    pub(crate) fn write(&self, name: &str, values: &[f32], width: usize) -> Result<()> {
        fs::create_dir_all(&self.out)?;
        write_npy(&self.out.join(name), values, width)
    }

    /// Notes the most memory that was used so far, unless it was noted before.
    pub(crate) fn note_peak(&mut self) {
        if self.report.contains_key("peak_mib") {
            return;
        }
        if let Some(kib) = memory::peak_kib() {
            self.report.insert("peak_mib".to_owned(), (kib as f64 / 1024.0).into());
        }
    }

    /// Prints the report; the last line of the process.
    pub(crate) fn finish(mut self, version: &str) {
        self.report.insert("version".to_owned(), version.into());
        self.note_peak();
        println!("{}", Value::Object(self.report));
    }
}

/// Notes when the first result was there, counted from the moment at which this process was started.
pub(crate) fn note_first_result(job: &mut Job) {
    if !job.first_result_only {
        return;
    }
    let started = std::env::var("TLC_STARTED_AT").ok().and_then(|text| text.parse::<f64>().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs_f64());
    if let (Some(started), Ok(now)) = (started, now) {
        job.report.insert("first_result_secs".to_owned(), (now - started).into());
    }
}

fn note(report: &mut Map<String, Value>, name: &str, time: Duration) {
    report.insert(name.to_owned(), time.as_secs_f64().into());
}

/// User and system time of all threads, in hundredths of a second.
fn cpu_secs() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The first rows of a file of 32-bit floats in C order.
fn read_npy(path: &Path, limit: usize) -> Result<Matrix> {
    let mut file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut start = [0; 10];
    file.read_exact(&mut start)?;
    let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
    file.read_exact(&mut header)?;
    let header = String::from_utf8_lossy(&header);
    if !start.starts_with(b"\x93NUMPY\x01") || !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        bail!("{} holds no 32-bit floats in C order: {header}", path.display());
    }
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).context("a shape")?.0;
    let shape: Vec<usize> = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    let &[rows, width] = &shape[..] else { bail!("{} is not a matrix: {shape:?}", path.display()) };
    let rows = rows.min(limit);
    let mut bytes = vec![0; 1 << 16];
    let mut values = Vec::with_capacity(rows * width);
    while values.len() < rows * width {
        let wanted = bytes.len().min(4 * (rows * width - values.len()));
        file.read_exact(&mut bytes[..wanted])?;
        let numbers = bytes[..wanted].chunks_exact(4);
        values.extend(numbers.map(|number| f32::from_le_bytes([number[0], number[1], number[2], number[3]])));
    }
    Ok(Matrix { rows, width, values })
}

fn write_npy(path: &Path, values: &[f32], width: usize) -> Result<()> {
    let rows = values.len() / width;
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // The values begin at a multiple of 64 bytes.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len())?;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let mut file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&bytes)?;
    Ok(())
}
