//! tlc's tables beside pylance's on the same disk, runs of many tables, reduction of many epochs, and whether other
//! programs open what tlc writes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::environment;
use super::measure::{last_line, last_line_of, today};
use crate::{EVERYTHING, cargo, places, python};

/// As `--only` names it.
pub(super) const NAME: &str = "tables";

struct Sizes {
    /// Rows and width of the table that is written and scanned, rounds of each process.
    written: [&'static str; 3],
    /// Of each side, in turn.
    processes: usize,
    /// Times that a table is opened, or a run listed.
    rounds: &'static str,
    /// Metrics tables of the run that is listed.
    listed: &'static str,
    /// Tables, rows and width of the run that is reduced.
    reduced: [&'static str; 3],
}

const FULL: Sizes = Sizes {
    written: ["1000000", "128", "3"],
    processes: 3,
    rounds: "15",
    listed: "1000",
    reduced: ["50", "100000", "512"],
};
const QUICK: Sizes =
    Sizes { written: ["10000", "16", "2"], processes: 1, rounds: "3", listed: "20", reduced: ["3", "2000", "16"] };

/// What is demanded: shares of pylance's speed, milliseconds, MiB.
const LEAST_SHARE: f64 = 0.7;
const MOST_TAKE_MS: f64 = 20.0;
const MOST_LISTING_MS: f64 = 200.0;
const MOST_REDUCE_MIB: f64 = 2048.0;

/// The programs, and a folder on the disk of the cache that is empty for each of them.
struct Bench {
    ours: PathBuf,
    python: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn ours(&self, args: &[&str]) -> Result<Value> {
        println!("table-peer {}", args.join(" "));
        last_line(Command::new(&self.ours).args(args))
    }

    fn theirs(&self, args: &[&str]) -> Result<Value> {
        println!("tables.py {}", args.join(" "));
        last_line(Command::new(&self.python).arg(environment::folder().join("tables.py")).args(args))
    }

    fn empty(&self) -> Result<&str> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        self.folder.to_str().context("the cache's name is no text")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Measures and writes the page, whose path it returns. A quick run says little about speed; its page goes into the
/// cache. The reduction's tables take 10 GB for a while.
pub(super) fn run(is_quick: bool) -> Result<PathBuf> {
    let sizes = if is_quick { QUICK } else { FULL };
    let requirements = environment::folder().join("tables-requirements.txt");
    let python = python::environment("tables-venv", &requirements)?;
    cargo::run(&[&["build"], &EVERYTHING[..], &["--bin", "table-peer"]].concat(), &[])?;
    let ours = places::target()?.join("debug/table-peer");
    let bench = Bench { ours, python, folder: places::cache()?.join("bench-tables") };

    let mut text = format!(
        "# Tables beside pylance, {}\n\n- Machine: {} threads; command: `cargo xtask bench --peers --only {NAME}`; medians \
         (least to most)\n",
        today()?,
        available_parallelism()?,
    );
    let mut missed = Vec::new();
    speed(&bench, &sizes, &mut text, &mut missed)?;
    listing(&bench, &sizes, &mut text, &mut missed)?;
    reduction(&bench, &sizes, &mut text, &mut missed)?;
    readers(&bench, &mut text, &mut missed)?;

    let folder =
        if is_quick { places::cache()?.join("bench-quick") } else { places::workspace().join("benches/results") };
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{NAME}.md", today()?));
    fs::write(&path, text)?;
    // What a quick run takes says nothing.
    missed.retain(|(_, is_about_speed)| !(is_quick && *is_about_speed));
    if !missed.is_empty() {
        let missed: Vec<String> = missed.into_iter().map(|(text, _)| text).collect();
        bail!("written: {}, but missed: {}", path.display(), missed.join("; "));
    }
    Ok(path)
}

/// What was demanded and not reached, and whether that is a matter of speed.
type Missed = Vec<(String, bool)>;

fn speed(bench: &Bench, sizes: &Sizes, text: &mut String, missed: &mut Missed) -> Result<()> {
    let [rows, width, rounds] = sizes.written;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut takes = [Vec::new(), Vec::new()];
    for _ in 0..sizes.processes {
        let folder = bench.empty()?;
        ours.push(bench.ours(&["write-scan", folder, rows, width, rounds])?);
        takes[0].push(bench.ours(&["take", folder, sizes.rounds])?);
        let table = only_table(Path::new(folder))?;
        takes[1].push(bench.theirs(&["take", &table, sizes.rounds])?);
        theirs.push(bench.theirs(&["write-scan", bench.empty()?, rows, width, rounds])?);
    }
    let megabytes = rows.parse::<f64>()? * (width.parse::<f64>()? * 4.0 + 8.0) / 1e6;
    let per_second = |seconds: Vec<f64>| seconds.into_iter().map(|seconds| megabytes / seconds).collect::<Vec<f64>>();
    let milliseconds = |seconds: Vec<f64>| seconds.into_iter().map(|seconds| 1e3 * seconds).collect::<Vec<f64>>();
    let columns = [
        (per_second(series(&ours, "write")?), per_second(series(&ours, "scan")?), series(&takes[0], "open_and_take")?),
        (
            per_second(series(&theirs, "write")?),
            per_second(series(&theirs, "scan")?),
            series(&takes[1], "open_and_take")?,
        ),
    ];
    let flushed = per_second(series(&theirs, "write_and_flush")?);
    let [our_take, their_take] = [milliseconds(columns[0].2.clone()), milliseconds(columns[1].2.clone())];
    writeln!(
        text,
        "- {rows} × {width} float32 and a number each; {} processes of each in turn, {rounds} rounds in each. tlc hashes \
         what it writes, flushes it and reads the manifest back before it says \"written\"; pylance does none of that, so \
         it is also measured with a flush of its files\n- *100 rows*: a table is opened without caches and 100 rows are \
         taken by number\n\n| | write, MB/s | write and flush, MB/s | scan, MB/s | 100 rows, ms |\n|---|---:|---:|---:|---:|\n\
         | {} | – | {} | {} | {} |\n| {} | {} | {} | {} | {} |",
        sizes.processes,
        version(&ours)?,
        cell(&columns[0].0, 0)?,
        cell(&columns[0].1, 0)?,
        cell(&our_take, 1)?,
        version(&theirs)?,
        cell(&columns[1].0, 0)?,
        cell(&flushed, 0)?,
        cell(&columns[1].1, 0)?,
        cell(&their_take, 1)?,
    )?;
    let shares = [
        ("writes at", median(&columns[0].0)? / median(&columns[1].0)?),
        ("scans at", median(&columns[0].1)? / median(&columns[1].1)?),
    ];
    let told = shares.map(|(what, share)| format!("{what} {:.0} % of pylance's speed", 100.0 * share));
    writeln!(text, "\ntlc {}; demanded are at least {:.0} %.", told.join(" and "), 100.0 * LEAST_SHARE)?;
    for ((_, share), told) in shares.iter().zip(told) {
        if *share < LEAST_SHARE {
            missed.push((format!("tlc {told}"), true));
        }
    }
    if median(&our_take)? > MOST_TAKE_MS {
        missed.push((format!("100 rows take {:.1} ms, {MOST_TAKE_MS} are allowed", median(&our_take)?), true));
    }
    Ok(())
}

fn listing(bench: &Bench, sizes: &Sizes, text: &mut String, missed: &mut Missed) -> Result<()> {
    let report = [bench.ours(&["listing", bench.empty()?, sizes.listed, sizes.rounds])?];
    let milliseconds = |name: &str| -> Result<Vec<f64>> {
        Ok(series(&report, name)?.into_iter().map(|seconds| 1e3 * seconds).collect())
    };
    let (run, project) = (milliseconds("run")?, milliseconds("project")?);
    writeln!(
        text,
        "\nA run with {} metrics tables, without caches: its tables by its record in {} ms, the whole project with its \
         folders in {} ms; at most {MOST_LISTING_MS} ms are allowed.",
        sizes.listed,
        cell(&run, 1)?,
        cell(&project, 1)?
    )?;
    for (what, values) in [("a run", run), ("a project", project)] {
        if median(&values)? > MOST_LISTING_MS {
            missed.push((format!("{what} is listed in {:.1} ms", median(&values)?), true));
        }
    }
    Ok(())
}

fn reduction(bench: &Bench, sizes: &Sizes, text: &mut String, missed: &mut Missed) -> Result<()> {
    let folder = bench.empty()?;
    let [tables, rows, width] = sizes.reduced;
    bench.ours(&["epochs", folder, tables, rows, width])?;
    let report = bench.ours(&["reduce", folder])?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name}"));
    let (taken, peak) = (number("reduce")?, number("peak_mib")?);
    writeln!(
        text,
        "\nA run of {tables} tables of {rows} × {width}, reduced by PaCMAP (fit on the last, applied to all, each read back \
         before its source is deleted): {taken:.0} s, at most {peak:.0} MiB of memory; {MOST_REDUCE_MIB:.0} MiB are allowed.",
    )?;
    if peak > MOST_REDUCE_MIB {
        missed.push((format!("reduction takes {peak:.0} MiB"), false));
    }
    Ok(())
}

fn readers(bench: &Bench, text: &mut String, missed: &mut Missed) -> Result<()> {
    let samples = bench.ours(&["samples", bench.empty()?])?;
    println!("tables.py open");
    let mut open = Command::new(&bench.python);
    open.arg(environment::folder().join("tables.py")).arg("open").stdin(Stdio::piped());
    let report = last_line_of(&mut open, samples.to_string().as_bytes())?;
    let readers = report["readers"].as_str().context("no versions of readers")?;
    writeln!(
        text,
        "\n## Tables of tlc in other programs\n\n{readers}: all rows are read, columns and a sum compared.\n"
    )?;
    let opened = report["opened"].as_array().context("no tables were opened")?;
    ensure!(!opened.is_empty(), "no tables were opened");
    let names = ["pylance", "LanceDB", "DuckDB"];
    writeln!(text, "| | rows | {} |\n|---|---:|---|---|---|", names.join(" | "))?;
    for table in opened {
        let kind = table["kind"].as_str().context("a table without a kind")?;
        let found = names.map(|name| table[name].as_str().unwrap_or("not tried").to_owned());
        writeln!(text, "| {kind} | {} | {} |", table["rows"], found.join(" | "))?;
        let [pylance, lancedb, duckdb] = found.each_ref().map(|found| found == "ok");
        // DuckDB has no half precision.
        if !(pylance && (lancedb || duckdb)) {
            missed.push((format!("the {kind}: {}", found.join(", ")), false));
        }
    }
    Ok(())
}

/// The path of the one table in a folder.
fn only_table(folder: &Path) -> Result<String> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "lance") {
            tables.push(path);
        }
    }
    match &tables[..] {
        [table] => Ok(table.to_str().context("its name is no text")?.to_owned()),
        _ => bail!("{} has {} tables instead of one", folder.display(), tables.len()),
    }
}

fn series(reports: &[Value], name: &str) -> Result<Vec<f64>> {
    let all = reports.iter().map(|report| serde_json::from_value::<Vec<f64>>(report[name].clone()));
    let all = all.collect::<Result<Vec<_>, _>>().with_context(|| format!("no series {name:?}"))?;
    Ok(all.concat())
}

fn version(reports: &[Value]) -> Result<&str> {
    reports.first().and_then(|report| report["version"].as_str()).context("no version")
}

fn median(values: &[f64]) -> Result<f64> {
    ensure!(!values.is_empty(), "nothing was measured");
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    Ok(values[values.len() / 2])
}

/// Median, least and most.
fn cell(values: &[f64], digits: usize) -> Result<String> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Ok(format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(values)?))
}
