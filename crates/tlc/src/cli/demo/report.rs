//! What the reduced tables say, epoch by epoch.

use anyhow::Context;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use ndarray::{Array2, ArrayView2, Axis};
use tlc::core::{NumberRole, Progress, Scan, columns_with_role, embedding_values};
use tlc::reduce::quality::{knn_accuracy, knn_accuracy_of_others};
use tlc::run::Run;

use super::{Epochs, stem};

const NEIGHBOURS: usize = 10;

/// The coordinates of one table's rows.
pub(super) struct EpochMap {
    pub(super) epoch: u64,
    pub(super) split: String,
    pub(super) table: String,
    pub(super) labels: Vec<i64>,
    /// Reduced columns and their coordinates, in the order in which their layers were given.
    pub(super) layouts: Vec<(String, Array2<f32>)>,
}

impl EpochMap {
    /// The coordinates in a reduced column, which all maps of a run have.
    pub(super) fn layout(&self, column: &str) -> &Array2<f32> {
        let found = self.layouts.iter().find(|(name, _)| name == column);
        &found.expect("all tables were reduced by the same models").1
    }
}

/// The maps of all reduced tables, in the run's order.
pub(super) fn read_maps(run: &Run, layers: &[usize], method: &str) -> anyhow::Result<Vec<EpochMap>> {
    let store = run.project().store();
    let mut maps = Vec::new();
    for entry in run.metrics()?.into_iter().filter(|entry| entry.reduced_from.is_some()) {
        let schema = store.info(&entry.url)?.schema;
        let mut columns = columns_with_role(&schema, &NumberRole::ReducedEmbedding);
        let rank = |column: &String| {
            layers.iter().position(|layer| column.starts_with(&format!("embeddings_{layer}_{method}")))
        };
        columns.sort_by_key(rank);
        let mut labels = Vec::new();
        let mut values: Vec<Vec<Array2<f32>>> = vec![Vec::new(); columns.len()];
        let mut wanted = columns.clone();
        wanted.push("label".to_owned());
        for batch in store.scan(&entry.url, Scan::columns(wanted))? {
            let batch = batch?;
            let label = batch.column_by_name("label").context("the table has no labels")?;
            labels.extend_from_slice(label.as_primitive::<Int64Type>().values());
            for (column, values) in columns.iter().zip(&mut values) {
                values.push(embedding_values(&batch, column).context("a reduced column holds vectors")?.to_owned());
            }
        }
        let mut layouts = Vec::new();
        for (column, parts) in columns.into_iter().zip(values) {
            let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.view()).collect();
            layouts.push((column, ndarray::concatenate(Axis(0), &views)?));
        }
        let constant = |name: &str| entry.constants.get(name);
        maps.push(EpochMap {
            epoch: constant("epoch").and_then(serde_json::Value::as_u64).unwrap_or_default(),
            split: constant("split").and_then(|split| split.as_str()).unwrap_or_default().to_owned(),
            table: stem(&entry.url).to_owned(),
            labels,
            layouts,
        });
    }
    Ok(maps)
}

/// Prints accuracy and loss, and for each reduced column the accuracy of a 10-nearest-neighbour vote in
/// the map: for training rows among the others, for validation rows among the training rows.
pub(super) fn print(maps: &[EpochMap], epochs: &Epochs, progress: &Progress) -> anyhow::Result<()> {
    let columns: Vec<&String> =
        maps.first().map(|map| map.layouts.iter().map(|(column, _)| column).collect()).unwrap_or_default();
    let header: String = columns.iter().map(|column| format!("  {column}")).collect();
    println!("\n{NEIGHBOURS}-NN accuracy in the maps, beside the model's own accuracy and loss:");
    println!("epoch split accuracy   loss{header}");
    for map in maps {
        let train = maps.iter().find(|other| other.epoch == map.epoch && other.split == "train");
        let metric = |name: &str| {
            let of_map = |(epoch, split, _): &&(usize, &str, _)| *epoch as u64 == map.epoch && *split == map.split;
            epochs
                .iter()
                .find(of_map)
                .and_then(|(_, _, means)| means.get(name))
                .map_or("-".to_owned(), |x| format!("{x:.3}"))
        };
        let mut line = format!("{:>5} {:<5} {:>8} {:>6}", map.epoch, map.split, metric("correct"), metric("loss"));
        for column in &columns {
            let layout = map.layout(column);
            let accuracy = match train {
                Some(train) if map.split != "train" => knn_accuracy_of_others(
                    train.layout(column).view(),
                    &train.labels,
                    layout.view(),
                    &map.labels,
                    NEIGHBOURS,
                    progress,
                )?,
                _ => knn_accuracy(layout.view(), &map.labels, NEIGHBOURS, progress)?,
            };
            line += &format!("  {accuracy:>width$.3}", width = column.len());
        }
        println!("{line}");
    }
    Ok(())
}
