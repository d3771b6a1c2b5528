//! Accuracy and loss per epoch, drift between epochs, how good the maps are, where tables come from.

use serde_json::{Map, Value, json};
use tlc_core::{Lineage, Progress};

use super::quality::{accuracy_in_map, of_what};
use crate::find::{Labels, NEIGHBOURS, step, tables_over_epochs};
use crate::{ColumnKind, Scene, SceneColumn, Scope, Values, ViewError};

/// Steps longer than this share of the map's diameter, the diagonal of its box, are counted.
const FAR: f64 = 0.1;

pub(crate) fn numbers(scene: &Scene, progress: &Progress) -> Result<Value, ViewError> {
    let mut epochs = Vec::new();
    let mut lineage = Vec::new();
    for (index, table) in scene.tables.iter().enumerate() {
        progress.check()?;
        let mut means = Map::new();
        for column in scene.columns.iter().filter(|column| column.scope == Scope::Table) {
            // What the record has is not read again.
            let known = table.means.get(&column.name).copied();
            let mean = if table.means.is_empty() { mean(scene, column, index)? } else { known };
            if let Some(mean) = mean {
                means.insert(column.name.clone(), json!(mean));
            }
        }
        epochs.push(json!({ "table": index, "epoch": table.epoch, "dataset": table.dataset, "means": means }));
        let mut texts = Vec::new();
        for part in &table.parts {
            texts.extend(scene.store().info(&part.url)?.lineage().map(|lineage| text_of(&lineage)));
        }
        lineage.push(json!({ "table": index, "text": texts.join("\n\n") }));
    }
    let (mut drift, mut quality) = (Vec::new(), Vec::new());
    for (id, layout) in scene.layouts.iter().enumerate() {
        let diameter = layout.bounds.iter().map(|[low, high]| f64::from(high - low).powi(2)).sum::<f64>().sqrt();
        for dataset in 0..scene.datasets.len() {
            let Some(&any) = layout.tables.iter().find(|&&table| scene.tables[table].dataset == dataset) else {
                continue;
            };
            let tables = tables_over_epochs(scene, layout, any)?;
            for pair in tables.windows(2) {
                progress.check()?;
                let (from, to) = (scene.coordinates(layout, pair[0])?, scene.coordinates(layout, pair[1])?);
                let mut steps: Vec<f64> =
                    (0..from.nrows()).map(|slot| step(&from, &to, slot)).filter(|x| x.is_finite()).collect();
                if !steps.is_empty() {
                    let middle = steps.len() / 2;
                    let median = *steps.select_nth_unstable_by(middle, f64::total_cmp).1;
                    let far = steps.iter().filter(|step| **step > FAR * diameter).count();
                    drift.push(json!({
                        "layout": id, "dataset": dataset, "from": pair[0], "to": pair[1], "median": median,
                        "share": median / diameter.max(f64::MIN_POSITIVE), "spread": far as f64 / steps.len() as f64,
                    }));
                }
            }
            // The last epoch's map is what people look at.
            if let Some(&last) = tables.last()
                && let Some(labels) = Labels::of(scene, last)?
                && let Some(accuracy) = accuracy_in_map(scene, layout, last, &labels, progress)?
            {
                let name = format!("{NEIGHBOURS}-NN accuracy in the map");
                quality.push(json!({
                    "layout": id, "table": last, "report": { name: accuracy.value }, "of": of_what(&accuracy, "rows"),
                }));
            }
        }
    }
    Ok(json!({ "epochs": epochs, "drift": drift, "quality": quality, "lineage": lineage }))
}

fn mean(scene: &Scene, column: &SceneColumn, table: usize) -> Result<Option<f64>, ViewError> {
    if !matches!(column.kind, ColumnKind::Number | ColumnKind::Boolean) {
        return Ok(None);
    }
    let values: Vec<f64> = match scene.values(column, table)? {
        Values::Number(values) => values.into_iter().map(f64::from).filter(|x| x.is_finite()).collect(),
        Values::Boolean(values) => values.into_iter().flatten().map(|yes| f64::from(u8::from(yes))).collect(),
        _ => Vec::new(),
    };
    Ok((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
}

/// Lineage for people.
pub(crate) fn text_of(lineage: &Lineage) -> String {
    let mut text = format!("{} by {}, {}", lineage.operation.kind, lineage.producer, lineage.created);
    for input in &lineage.inputs {
        text.push_str(&format!("\nfrom {} ({} rows)", input.url, input.rows));
    }
    for (column, model) in &lineage.models {
        text.push_str(&format!("\n{column} by the model {}", model.url));
    }
    for (name, value) in &lineage.operation.args {
        text.push_str(&format!("\n{name}: {value}"));
    }
    text
}
