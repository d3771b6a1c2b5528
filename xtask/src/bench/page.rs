//! The page of results: machine, versions, commands, and a table per data set and group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::contenders;
use super::measure::{Records, grouped, said};

/// Header, section of the record, name there, factor, decimals, whether ours over theirs is of interest.
type Column = (&'static str, &'static str, &'static str, f64, usize, bool);
const COLUMNS: [Column; 17] = [
    ("fit, s", "report", "fit_secs", 1.0, 2, true),
    ("CPU, s", "report", "fit_cpu_secs", 1.0, 1, false),
    ("transform, s", "report", "transform_secs", 1.0, 2, true),
    ("one row, ms", "report", "one_row_secs", 1e3, 2, true),
    ("peak, MiB", "report", "peak_mib", 1.0, 0, true),
    ("trust", "quality", "trust", 1.0, 4, false),
    ("kept", "quality", "preserve", 1.0, 3, false),
    ("10-NN", "quality", "accuracy", 1.0, 3, false),
    ("triplets", "quality", "triplets", 1.0, 3, false),
    ("Spearman", "quality", "spearman", 1.0, 3, false),
    ("new: trust", "quality", "trust_test", 1.0, 4, false),
    ("new: kept", "quality", "preserve_test", 1.0, 3, false),
    ("new: 10-NN", "quality", "accuracy_test", 1.0, 3, false),
    ("new: triplets", "quality", "triplets_test", 1.0, 3, false),
    ("new: Spearman", "quality", "spearman_test", 1.0, 3, false),
    ("kNN recall", "report", "knn_recall", 1.0, 4, false),
    ("kNN apart, s", "report", "knn_secs", 1.0, 2, false),
];

pub(super) fn write(records: &Records, line: &[String]) -> Result<PathBuf> {
    let path = records.path().with_extension("md");
    let name = records.path().file_stem().context("the records have a name")?.to_string_lossy().into_owned();
    let mut page = head(records, line, &name)?;
    for ((data, group), records) in grouped(&records.all) {
        let (rows, width) = (&records[0]["rows"], &records[0]["width"]);
        writeln!(page, "\n## {data}, {group}\n\n{rows} × {width}.\n")?;
        let warm: Vec<&Value> = records.iter().copied().filter(|record| record["kind"] == "warm").collect();
        let first: Vec<&Value> = records.iter().copied().filter(|record| record["kind"] != "warm").collect();
        warm_table(&mut page, &warm)?;
        if !first.is_empty() {
            first_results(&mut page, &first)?;
        }
    }
    growth(&mut page, &records.all)?;
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn head(records: &Records, line: &[String], name: &str) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([' ', '\t', ':']);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let versions: BTreeSet<&str> =
        records.all.iter().filter_map(|record| record["report"]["version"].as_str()).collect();
    let mut page = format!("# tlc beside its peers, {}\n\n", &name[..name.len().min(10)]);
    writeln!(
        page,
        "- Machine: {cpu}, {threads} threads, {:.0} GiB, {}",
        memory.unwrap_or(0.0) / 1048576.0,
        said("uname", &["-sr"])
    )?;
    let commits: BTreeSet<&str> = records.all.iter().filter_map(|record| record["commit"].as_str()).collect();
    let commits: Vec<&str> = commits.into_iter().collect();
    let commits = if commits.is_empty() { vec!["an earlier commit"] } else { commits };
    writeln!(page, "- tlc at {} (each record names its own), in the profile that users run", commits.join(", "))?;
    writeln!(page, "- Versions: {}", versions.into_iter().collect::<Vec<_>>().join(", "))?;
    writeln!(
        page,
        "- {}; packages in `benches/peers/requirements.txt` and `benches/peers/rust/Cargo.lock`",
        said("python3", &["--version"])
    )?;
    writeln!(page, "- Command: `cargo xtask bench {}`; every measurement: `{name}.jsonl`\n", line.join(" "))?;
    page += &format!("![Time against rows]({name}-time.svg)\n\n![Quality against time]({name}-quality.svg)\n\n");
    page += "Each measurement is a process of its own; contenders run in turn, and each repetition has its own seed. \
             Cells are medians, with least and most in parentheses; `×` is the contender's median over tlc's. Fit, \
             transform of all new rows and of one row are wall time without reading files and, for Python, after a \
             warm-up that compiles; CPU is the processor time of the fit over all threads; peak is the process's \
             largest resident set, with the data in it. Quality is measured by one program for all \
             (`benches/peers/quality.py`): trustworthiness at 15, share of the 15 nearest kept, share of rows whose \
             label is that of their 10 nearest fitted rows, share of random triplets in order, Spearman's rank \
             correlation of distances; `new` means rows that were transformed, their triplets of one of them and two fitted rows; kNN recall is what \
             tlc estimates of its own graph at each fit. A dash: the contender cannot, or did not. \
             umap-rs takes neighbours from its caller; the time of finding them exactly is not in its fit but apart. \
             annembed and umap-rs take no seed. The Rust crates and the seeded umap-learn ran once.\n";
    Ok(page)
}

fn warm_table(page: &mut String, records: &[&Value]) -> Result<()> {
    let used: Vec<&Column> =
        COLUMNS.iter().filter(|column| records.iter().any(|record| value(record, column).is_some())).collect();
    let headers: Vec<String> =
        used.iter().map(|column| if column.5 { format!("{} | ×", column.0) } else { column.0.to_owned() }).collect();
    writeln!(page, "| | {} |", headers.join(" | "))?;
    writeln!(page, "|---{}|", "|---:".repeat(used.iter().map(|column| 1 + usize::from(column.5)).sum()))?;
    let ours: Vec<&Value> = of(records, first_name(records));
    for name in names(records) {
        let own = of(records, &name);
        let mut cells = vec![name.clone()];
        for column in &used {
            let spread = Spread::of(own.iter().filter_map(|record| value(record, column)));
            cells.push(spread.as_ref().map_or_else(|| "–".to_owned(), |spread| spread.text(column.4)));
            if column.5 {
                let base = Spread::of(ours.iter().filter_map(|record| value(record, column)));
                cells.push(match (&spread, &base) {
                    (Some(spread), Some(base)) if base.median > 0.0 => format!("{:.2}", spread.median / base.median),
                    _ => "–".to_owned(),
                });
            }
        }
        writeln!(page, "| {} |", cells.join(" | "))?;
    }
    stages(page, &ours)?;
    let problems: BTreeSet<String> = records
        .iter()
        .filter_map(|record| {
            let problem = record.get("failed").or(record.get("wrong"))?.as_str()?;
            Some(format!("- {}: {problem}", record["contender"].as_str()?))
        })
        .collect();
    if !problems.is_empty() {
        writeln!(page, "\nWrong or missing:\n\n{}", problems.into_iter().collect::<Vec<_>>().join("\n"))?;
    }
    Ok(())
}

/// Where the time of our fit goes.
fn stages(page: &mut String, ours: &[&Value]) -> Result<()> {
    let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (stage, value) in ours.iter().filter_map(|record| record["report"]["fit_stages"].as_object()).flatten() {
        seconds.entry(stage).or_default().extend(value.as_f64());
    }
    let mut medians: Vec<(&str, f64)> = seconds
        .into_iter()
        .filter_map(|(stage, seconds)| Some((stage, Spread::of(seconds.into_iter())?.median)))
        .filter(|(_, median)| *median >= 0.005)
        .collect();
    medians.sort_by(|a, b| b.1.total_cmp(&a.1));
    if !medians.is_empty() {
        let parts: Vec<String> = medians.iter().map(|(stage, median)| format!("{stage} {median:.2}")).collect();
        writeln!(page, "\nStages of tlc's fit, s: {}.", parts.join(", "))?;
    }
    Ok(())
}

/// Start of a process to its first layout.
fn first_results(page: &mut String, records: &[&Value]) -> Result<()> {
    let secs = |record: &Value| record["report"]["first_result_secs"].as_f64();
    let ours = records.iter().find(|record| record["contender"] == first_name(records)).and_then(|record| secs(record));
    writeln!(
        page,
        "\nFrom the start of a process, reading included, to the first layout:\n\n| | s | × |\n|---|---:|---:|"
    )?;
    for record in records {
        let Some(found) = secs(record) else { continue };
        let ratio = ours.map_or_else(|| "–".to_owned(), |ours| format!("{:.1}", found / ours));
        let (name, kind) = (record["contender"].as_str(), record["kind"].as_str());
        writeln!(page, "| {}, {} | {found:.2} | {ratio} |", name.unwrap_or_default(), kind.unwrap_or_default())?;
    }
    Ok(())
}

/// Time of a fit over n log n, relative to the smallest n of the same rows.
fn growth(page: &mut String, records: &[Value]) -> Result<()> {
    let of_mixture: Vec<&Value> = records
        .iter()
        .filter(|record| {
            record["kind"] == "warm" && record["data"].as_str().is_some_and(|name| name.starts_with("mixture"))
        })
        .collect();
    if of_mixture.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "\n## Growth with n, mixture\n\n| | n | fit, s | over the smallest | n log n would be |\n|---|---:|---:|---:|---:|"
    )?;
    for name in names(&of_mixture) {
        let own = of(&of_mixture, &name);
        let sizes: BTreeSet<u64> = own.iter().filter_map(|record| record["rows"].as_u64()).collect();
        let mut smallest: Option<(f64, f64)> = None;
        for n in sizes {
            let at_n = own.iter().filter(|record| record["rows"] == n);
            let Some(secs) = Spread::of(at_n.filter_map(|record| record["report"]["fit_secs"].as_f64())) else {
                continue;
            };
            let work = n as f64 * (n as f64).ln();
            let (base_secs, base_work) = *smallest.get_or_insert((secs.median, work));
            let (grown, expected) = (secs.median / base_secs, work / base_work);
            writeln!(page, "| {name} | {n} | {:.2} | {grown:.1} | {expected:.1} |", secs.median)?;
        }
    }
    Ok(())
}

fn value(record: &Value, column: &Column) -> Option<f64> {
    Some(record[column.1][column.2].as_f64()? * column.3)
}

/// Contenders in their order in `contenders`, whatever was measured first.
fn names(records: &[&Value]) -> Vec<String> {
    let measured = |name: &str| records.iter().any(|record| record["contender"] == name);
    const { &contenders::ALL }
        .iter()
        .map(|contender| contender.name)
        .filter(|name| measured(name))
        .map(str::to_owned)
        .collect()
}

/// Ours: the contender that the ratios are to.
fn first_name<'a>(records: &[&'a Value]) -> &'a str {
    records.iter().filter_map(|record| record["contender"].as_str()).find(|name| name.starts_with("tlc ")).unwrap_or("")
}

fn of<'a>(records: &[&'a Value], name: &str) -> Vec<&'a Value> {
    records.iter().copied().filter(|record| record["contender"] == name).collect()
}

/// Median, least and most.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
    count: usize,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: (low + high) / 2.0, least, most, count: values.len() })
    }

    fn text(&self, decimals: usize) -> String {
        let Self { median, least, most, count } = self;
        if *count == 1 {
            return format!("{median:.decimals$}");
        }
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_holds_medians_spreads_and_ratios_to_ours() {
        let record = |name: &str, secs: f64| json!({"contender": name, "kind": "warm", "report": {"fit_secs": secs}});
        let records =
            [record("umap-learn", 9.0), record("tlc umap", 1.0), record("tlc umap", 2.0), record("tlc umap", 6.0)];
        let mut page = String::new();
        warm_table(&mut page, &records.iter().collect::<Vec<_>>()).expect("written");
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], "| | fit, s | × |");
        assert_eq!(lines[2], "| tlc umap | 2.00 (1.00–6.00) | 1.00 |");
        assert_eq!(lines[3], "| umap-learn | 9.00 | 4.50 |");
    }

    #[test]
    fn stages_come_in_the_order_of_their_medians() {
        let record = |graph: f64| json!({"report": {"fit_stages": {"graph": graph, "layout": 2.0, "other": 0.001}}});
        let mut page = String::new();
        stages(&mut page, &[&record(1.0), &record(9.0), &record(3.0)]).expect("written");
        assert_eq!(page, "\nStages of tlc's fit, s: graph 3.00, layout 2.00.\n");
    }

    #[test]
    fn what_failed_is_named_and_its_cells_are_dashes() {
        let good = json!({"contender": "tlc umap", "report": {"fit_secs": 1.0}});
        let bad = json!({"contender": "annembed", "failed": "out of memory"});
        let mut page = String::new();
        warm_table(&mut page, &[&good, &bad]).expect("written");
        assert!(page.contains("| annembed | – | – |"), "{page}");
        assert!(page.contains("- annembed: out of memory"), "{page}");
    }
}
