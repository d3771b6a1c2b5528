//! One process per measurement, and the records of them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::contenders::{Contender, Program};
use super::data::Data;
use super::environment::{self, Programs};
use crate::places;

/// What is measured of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Fit, transform and memory, after a warm-up for those who compile at run time.
    Warm,
    /// From the start of a process to the first layout, with nothing compiled before.
    FreshInstall,
    /// The same where an earlier process has left its compiled code.
    FreshProcess,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::FreshInstall => "fresh install",
            Self::FreshProcess => "fresh process",
        }
    }
}

/// Today's measurements, one JSON object a line.
pub(super) struct Records {
    path: PathBuf,
    pub(super) all: Vec<Value>,
}

impl Records {
    /// Those of today, or none.
    ///
    /// A quick run says little about speed, so its records stay out of the repository.
    pub(super) fn open(keep: bool, is_quick: bool) -> Result<Self> {
        let folder =
            if is_quick { places::cache()?.join("bench-quick") } else { places::workspace().join("benches/results") };
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}-peers.jsonl", today()?));
        let text = if keep { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let all = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        let all = all.with_context(|| format!("{} is not a file of records", path.display()))?;
        fs::write(&path, text)?;
        Ok(Self { path, all })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Measures unless it is recorded. A contender that fails is recorded with its last words.
    pub(super) fn measure(
        &mut self,
        data: &Data,
        contender: &Contender,
        seed: u64,
        kind: Kind,
        programs: &Programs,
    ) -> Result<()> {
        let mut record = json!({
            "data": data.name, "rows": data.rows, "width": data.width, "group": contender.group,
            "contender": contender.name, "seed": seed, "kind": kind.name(),
        });
        let is_same = |other: &Value| record.as_object().is_some_and(|own| own.iter().all(|(k, v)| other[k] == *v));
        if self.all.iter().any(is_same) {
            return Ok(());
        }
        print!("{:<16} {:<20} {:<14} seed {seed}: ", data.name, contender.name, kind.name());
        std::io::stdout().flush()?;
        match run(data, contender, seed, kind, programs) {
            Ok((report, quality)) => {
                let name = if kind == Kind::Warm { "fit_secs" } else { "first_result_secs" };
                let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
                println!("{:.2} s, accuracy {:.3}", number(&report[name]), number(&quality["accuracy"]));
                if let Some(problem) = problem(data, contender, &quality) {
                    println!("  {problem}");
                    record["wrong"] = problem.into();
                }
                record["report"] = report;
                record["quality"] = quality;
            }
            Err(error) => {
                println!("failed: {error:#}");
                record["failed"] = format!("{error:#}").into();
            }
        }
        record["commit"] = commit().into();
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        writeln!(file, "{record}")?;
        self.all.push(record);
        Ok(())
    }

    /// What tlc got wrong.
    pub(super) fn our_failures(&self) -> Vec<String> {
        let is_ours = |record: &&Value| record["contender"].as_str().is_some_and(|name| name.starts_with("tlc "));
        let text = |record: &Value| {
            let problem = record.get("failed").or(record.get("wrong"))?.as_str()?;
            Some(format!("{} on {}: {problem}", record["contender"], record["data"]))
        };
        self.all.iter().filter(is_ours).filter_map(text).collect()
    }
}

/// Runs a contender and measures its layout.
fn run(data: &Data, contender: &Contender, seed: u64, kind: Kind, programs: &Programs) -> Result<(Value, Value)> {
    let out = places::cache()?.join("bench-out");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let args: Value = serde_json::from_str(contender.args).context("a contender's arguments are JSON")?;
    let job = json!({
        "method": contender.method, "args": args, "train": data.path("train")?, "rows": data.rows,
        "test": data.path("test")?, "seed": seed, "out": out, "first_result_only": kind != Kind::Warm,
    });
    let mut command = match contender.program {
        Program::Ours => Command::new(&programs.ours),
        Program::Rust => Command::new(&programs.rust),
        Program::Python => {
            let mut command = Command::new(&programs.python);
            command.arg(environment::folder().join("peer.py"));
            command
        }
    };
    if kind == Kind::FreshInstall && programs.numba_cache.exists() {
        fs::remove_dir_all(&programs.numba_cache)?;
    }
    command.arg(job.to_string()).env("NUMBA_CACHE_DIR", &programs.numba_cache);
    command.env("TLC_STARTED_AT", seconds_since_1970()?.to_string());
    let report = last_line(&mut command)?;

    let transformed = out.join("transformed.npy");
    let job = json!({
        "train": data.path("train")?, "rows": data.rows, "labels": data.path("train_labels")?,
        "test": data.path("test")?, "test_labels": data.path("test_labels")?, "layout": out.join("layout.npy"),
        "transformed": transformed.is_file().then_some(transformed), "seed": 0,
    });
    let quality =
        last_line(Command::new(&programs.python).arg(environment::folder().join("quality.py")).arg(job.to_string()))?;
    Ok((report, quality))
}

pub(super) fn seconds_since_1970() -> Result<f64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_secs_f64())
}

/// The commit that is measured; marked if there are changes, but for these results.
pub(super) fn commit() -> String {
    let id = said("git", &["rev-parse", "--short", "HEAD"]);
    let changes = Command::new("git")
        .args(["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)benches/results"])
        .current_dir(places::workspace())
        .output();
    match changes {
        Ok(changes) if changes.status.success() && changes.stdout.is_empty() => id,
        _ => format!("{id}-dirty"),
    }
}

/// What a command prints in the workspace, or what cannot be said.
pub(super) fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(places::workspace()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| format!("an unknown {program}"))
}

/// The date, as files of results are named.
pub(crate) fn today() -> Result<String> {
    let date = Command::new("date").arg("+%F").output().context("cannot run date")?.stdout;
    Ok(String::from_utf8_lossy(&date).trim().to_owned())
}

/// The JSON object that a process prints last.
pub(super) fn last_line(command: &mut Command) -> Result<Value> {
    last_line_of(command, b"")
}

/// The same of a process that reads `input`.
pub(super) fn last_line_of(command: &mut Command, input: &[u8]) -> Result<Value> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start it")?;
    // Dropped at once, so that it sees the end.
    child.stdin.take().context("its input is piped")?.write_all(input)?;
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        // Rust's begins with `Error:`, and Node's has a name before it, both perhaps before a backtrace; Python's is the
        // last line.
        let line = words.lines().find(|line| line.contains("Error: "));
        let line = line.or_else(|| words.lines().rev().find(|line| !line.trim().is_empty()));
        let last = line.unwrap_or("it said nothing");
        bail!("{}: {last}", output.status);
    }
    let last = words.lines().last().context("it printed nothing")?;
    serde_json::from_str(last).with_context(|| format!("its last line is no report: {last}"))
}

/// What is wrong with an answer, if anything is.
fn problem(data: &Data, contender: &Contender, quality: &Value) -> Option<String> {
    if quality["finite"] != true {
        return Some("coordinates are not finite".to_owned());
    }
    if quality["shape"] != json!([data.rows, 2]) {
        return Some(format!("the layout has the shape {}, not ({}, 2)", quality["shape"], data.rows));
    }
    // Two principal axes do not separate classes, nor are they meant to.
    if contender.group == "PCA" {
        return None;
    }
    ["accuracy", "accuracy_test"].into_iter().find_map(|name| {
        let accuracy = quality[name].as_f64()?;
        let is_low = accuracy < data.accuracy_floor;
        is_low.then(|| format!("{name} is {accuracy:.3}, below {}", data.accuracy_floor))
    })
}

/// Records by data and group, in order of measurement.
pub(super) fn grouped(records: &[Value]) -> Vec<((String, String), Vec<&Value>)> {
    let mut order = Vec::new();
    let mut groups: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for record in records {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let key = (text("data"), text("group"));
        if !groups.contains_key(&key) {
            order.push(key.clone());
        }
        groups.entry(key).or_default().push(record);
    }
    order.into_iter().filter_map(|key| groups.remove_entry(&key)).collect()
}
