//! What the reduced tables say, epoch by epoch.

use anyhow::{Context, ensure};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use ndarray::{Array2, ArrayView2, Axis};
use tlc::core::{NumberRole, Progress, Scan, columns_with_role, embedding_values};
use tlc::reduce::quality::{knn_accuracy, knn_accuracy_of_others};
use tlc::run::Run;

const NEIGHBOURS: usize = 10;

/// The coordinates of one table's rows.
pub(super) struct EpochMap {
    pub(super) epoch: u64,
    pub(super) split: String,
    pub(super) table: String,
    pub(super) labels: Vec<i64>,
    /// The model's own mean accuracy and loss.
    accuracy: f64,
    loss: f64,
    /// Reduced columns and their coordinates, in the order in which their layers were given.
    pub(super) layouts: Vec<(String, Array2<f32>)>,
}

impl EpochMap {
    /// The coordinates in a reduced column, which all maps of a run have.
    pub(super) fn layout(&self, column: &str) -> &Array2<f32> {
        let found = self.layouts.iter().find(|(name, _)| name == column);
        &found.expect("checked when the tables were read").1
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
        let (mut n_correct, mut loss) = (0, 0.0);
        let mut values: Vec<Vec<Array2<f32>>> = vec![Vec::new(); columns.len()];
        let mut wanted = columns.clone();
        wanted.extend(["label", "correct", "loss"].map(str::to_owned));
        for batch in store.scan(&entry.url, Scan::columns(wanted))? {
            let batch = batch?;
            let label = batch.column_by_name("label").context("the table has no labels")?;
            labels.extend_from_slice(label.as_primitive::<Int64Type>().values());
            let column = |name: &str| batch.column_by_name(name).context("the table has no metrics");
            n_correct += column("correct")?.as_boolean().true_count();
            loss += column("loss")?.as_primitive::<Float32Type>().iter().flatten().map(f64::from).sum::<f64>();
            for (name, values) in columns.iter().zip(&mut values) {
                let mut part = embedding_values(&batch, name).context("a reduced column holds vectors")?.to_owned();
                // A null row has no place, whatever its slot holds.
                for row in (0..part.nrows()).filter(|&row| batch.column_by_name(name).is_some_and(|c| c.is_null(row))) {
                    part.row_mut(row).fill(f32::NAN);
                }
                values.push(part);
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
            table: entry.name.clone(),
            accuracy: n_correct as f64 / labels.len() as f64,
            loss: loss / labels.len() as f64,
            labels,
            layouts,
        });
    }
    let names = |map: &EpochMap| map.layouts.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>();
    for pair in maps.windows(2) {
        let (first, second) = (names(&pair[0]), names(&pair[1]));
        ensure!(first == second, "the run's tables have different reduced columns: {first:?} and {second:?}");
    }
    Ok(maps)
}

/// Prints accuracy and loss, and for each reduced column the accuracy of a 10-nearest-neighbour vote in
/// the map: for training rows among the others, for validation rows among the training rows.
pub(super) fn print(maps: &[EpochMap], progress: &Progress) -> anyhow::Result<()> {
    let columns: Vec<&String> =
        maps.first().map(|map| map.layouts.iter().map(|(column, _)| column).collect()).unwrap_or_default();
    let header: String = columns.iter().map(|column| format!("  {column}")).collect();
    say!("\n{NEIGHBOURS}-NN accuracy in the maps, beside the model's own accuracy and loss:");
    say!("epoch split accuracy   loss{header}");
    for map in maps {
        let train = maps.iter().find(|other| other.epoch == map.epoch && other.split == "train");
        let mut line = format!("{:>5} {:<5} {:>8.3} {:>6.3}", map.epoch, map.split, map.accuracy, map.loss);
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
        say!("{line}");
    }
    Ok(())
}
