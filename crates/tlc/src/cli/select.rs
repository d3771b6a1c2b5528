//! `tlc select`: rows by a condition or by their numbers, as a list or as a revision of their table.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{BooleanArray, Int64Array, RecordBatch};
use arrow_select::filter::filter_record_batch;
use clap::Args;
use serde_json::Value;
use tlc::condition;
use tlc::core::{Filter, Progress, TableStore};
use tlc::table::{Derivation, LanceStore, Table, write_bytes};
use tlc::view::export::{Format, concat, encode, rows_of_tables, rows_where};
use tlc::view::{Scene, SceneLayout};

use super::out;
use super::scene::{self, WhatArgs};

/// Ids that a message names.
const NAMED_IDS: usize = 10;

/// Which rows, and what becomes of them.
#[derive(Args)]
pub(crate) struct SelectArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The table, as the page's "copy filter" names it
    #[arg(long, value_name = "URL", conflicts_with = "what")]
    table: Option<String>,
    /// Which rows, as SQL: label NOT IN ('Shirt') AND loss >= 0.5 AND label <> predicted
    #[arg(long = "where", value_name = "SQL", required_unless_present = "ids")]
    condition: Option<String>,
    /// A file with lines {"table": URL, "example_ids": [...]}, as the page copies selections, with the ids that this table
    /// has; - is standard input. Of samples that several processes collected: "tables": [URL, ...]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "table", "condition"])]
    ids: Option<PathBuf>,
    /// The reduced column that x, y and z are of, in conditions as well [default: the deepest layer's]
    #[arg(long)]
    layout: Option<String>,
    /// Only the dataset of this name, such as train [default: all]
    #[arg(long)]
    dataset: Option<String>,
    /// The epoch [default: the last]
    #[arg(long)]
    epoch: Option<i64>,
    /// Write the rows to this file, as .csv, .json or .parquet [default: CSV to standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Make a revision of the samples' table with these rows, described so
    #[arg(long, value_name = "DESCRIPTION")]
    revision: Option<String>,
}

/// Rows that were chosen in one table.
struct Chosen {
    scene: Arc<Scene>,
    table: usize,
    rows: RecordBatch,
    filter: Option<Filter>,
}

pub(crate) fn run(args: &SelectArgs, progress: &Progress) -> anyhow::Result<()> {
    let format = args.out.as_deref().map_or(Ok(Format::Csv), Format::of)?;
    let chosen = match &args.ids {
        Some(file) => by_ids(args, file, progress)?,
        None => by_condition(args, progress)?,
    };
    let n: usize = chosen.iter().map(|chosen| chosen.rows.num_rows()).sum();
    if let Some(description) = &args.revision {
        if n == 0 {
            bail!("no row is meant, so that there is nothing to make a revision of");
        }
        for chosen in chosen.iter().filter(|chosen| chosen.rows.num_rows() > 0) {
            let made = chosen.revision(description)?;
            say!("{}  {} rows", made.url(), made.rows());
        }
        if args.out.is_none() {
            return Ok(());
        }
    }
    let batches: Vec<RecordBatch> = chosen.iter().map(|chosen| chosen.rows.clone()).collect();
    if batches.is_empty() {
        bail!("no table is meant");
    }
    let rows = concat(&batches)?;
    let bytes = encode(&rows, format)?;
    match &args.out {
        None => out::write_bytes(&bytes),
        Some(file) => {
            write_bytes(file, &bytes)?;
            say!("{}  {n} rows", file.display());
        }
    }
    Ok(())
}

fn by_condition(args: &SelectArgs, progress: &Progress) -> anyhow::Result<Vec<Chosen>> {
    let filter = condition::parse(args.condition.as_deref().unwrap_or("true"))?;
    let what = args.table.clone().or_else(|| args.what.what.clone());
    let scene = Arc::new(scene::open(&WhatArgs { what, ..args.what.clone() }, progress)?);
    let mut all = Vec::new();
    for (index, dataset) in scene.datasets.iter().enumerate() {
        let newest = scene.newest_of(0..scene.tables.len(), Some(index), args.epoch);
        let Some(table) = newest.filter(|_| args.dataset.as_ref().is_none_or(|name| *name == dataset.name)) else {
            continue;
        };
        let rows = rows_where(&scene, table, layout(args, &scene)?, &filter)?;
        all.push(Chosen { scene: scene.clone(), table, rows, filter: Some(filter.clone()) });
    }
    if all.is_empty() {
        let names: Vec<&str> = scene.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        bail!("no table of {} is of this dataset and epoch; datasets: {}", scene.title, names.join(", "));
    }
    Ok(all)
}

fn by_ids(args: &SelectArgs, file: &std::path::Path, progress: &Progress) -> anyhow::Result<Vec<Chosen>> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text)),
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parts = || -> Option<(Vec<String>, Vec<i64>)> {
            let line: Value = serde_json::from_str(line).ok()?;
            let ids = line["example_ids"].as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
            let url = |url: &Value| url.as_str().map(str::to_owned);
            let urls = match line["tables"].as_array() {
                Some(urls) if !urls.is_empty() => urls.iter().map(url).collect::<Option<_>>()?,
                _ => vec![url(&line["table"])?],
            };
            Some((urls, ids))
        };
        let (urls, ids) = parts().with_context(|| {
            let start: String = line.chars().take(80).collect();
            format!("{start:?} is no selection; {{\"table\": URL, \"example_ids\": [numbers]}} is needed")
        })?;
        let wanted: HashSet<i64> = ids.into_iter().collect();
        let mut known: HashSet<i64> = HashSet::new();
        let mut titles = Vec::new();
        for url in urls {
            let scene = Arc::new(scene::open(&WhatArgs { what: Some(url), ..args.what.clone() }, progress)?);
            let rows = rows_of_tables(&scene, &[0], layout(args, &scene)?)?;
            let own = rows.column_by_name("example_id").context("the rows have no numbers")?;
            let own = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(own);
            // What two of them have is listed once.
            let is_meant = |id: Option<i64>| id.is_some_and(|id| wanted.contains(&id) && !known.contains(&id));
            let mask: BooleanArray = own.iter().map(|id| Some(is_meant(id))).collect();
            known.extend(own.iter().flatten());
            titles.push(scene.title.clone());
            all.push(Chosen { rows: filter_record_batch(&rows, &mask)?, scene, table: 0, filter: None });
        }
        let unknown: BTreeSet<i64> = wanted.difference(&known).copied().collect();
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.iter().take(NAMED_IDS).map(i64::to_string).collect();
            let more = unknown.len() - names.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let (titles, rows) = (titles.join(" or "), known.len());
            bail!("{titles} has no example_id {}{more}; it has {rows} rows", names.join(", "));
        }
    }
    Ok(all)
}

/// The layout that is meant; none if there is none and none was named.
fn layout<'a>(args: &SelectArgs, scene: &'a Scene) -> anyhow::Result<Option<&'a SceneLayout>> {
    match args.layout.as_deref() {
        None => Ok(scene.layout(None).ok()),
        named => Ok(Some(scene.layout(named)?)),
    }
}

impl Chosen {
    /// A revision of the table that the samples are rows of. One that was chosen from itself by a condition remembers the
    /// condition, others the numbers of the rows.
    fn revision(&self, description: &str) -> anyhow::Result<Table> {
        let table = self.scene.table(self.table)?;
        let dataset = &self.scene.datasets[table.dataset];
        let url = dataset.foreign_table.as_ref().context("these samples are of no table")?;
        if url.to_string().starts_with("memory://") {
            bail!("{} is a file of another program; make a table of it first: tlc import", self.scene.title);
        }
        let store: Arc<dyn TableStore> = Arc::new(LanceStore::default());
        let of = Table::from_url(store.clone(), url)?;
        let has_all = |filter: &&Filter| filter.columns().iter().all(|name| of.schema().field_with_name(name).is_ok());
        // Where a reduction of it is read, it has the same rows.
        let is_itself = table.parts.iter().any(|part| part.url == *url || part.reduced_from.as_ref() == Some(url));
        if let Some(filter) = self.filter.as_ref().filter(|_| is_itself).filter(has_all) {
            return Ok(of.derived(&Derivation::Filter { filter: filter.clone() }, Some(description))?);
        }
        let ids = self.rows.column_by_name("example_id").context("the rows have no numbers")?;
        let ids = ids.as_any().downcast_ref::<Int64Array>().context("the rows' numbers are no numbers")?;
        let rows = self.scene.rows_of_samples(table.dataset, &ids.iter().flatten().collect::<Vec<_>>())?;
        Ok(tlc::revision_with(store, url, rows, description)?)
    }
}
