//! Accuracy and loss per epoch, drift between epochs, how good the maps are, where tables come from.

use serde_json::{Map, Value, json};
use tlc_core::{Lineage, Progress};

use super::quality::{accuracy_in_map, of_what};
use crate::find::{Labels, NEIGHBOURS, step, tables_over_epochs};
use crate::{ColumnKind, Scene, SceneColumn, Scope, Values, ViewError};

/// Steps longer than this share of the map's diameter, the diagonal of its box, are counted.
const FAR: f64 = 0.1;

/// The numbers of a scene. What was deleted meanwhile has none.
pub(crate) fn numbers(scene: &Scene, progress: &Progress) -> Result<Value, ViewError> {
    let (mut epochs, mut lineage) = (Vec::new(), Vec::new());
    for (index, table) in scene.tables.iter().enumerate() {
        progress.check()?;
        let means = unless_gone(means(scene, index))?.unwrap_or_default();
        epochs.push(json!({ "table": index, "epoch": table.epoch, "dataset": table.dataset, "means": means }));
        let mut texts = Vec::new();
        for part in &table.parts {
            let info = unless_gone(scene.store().info(&part.url).map_err(ViewError::from))?;
            texts.extend(info.and_then(|info| info.lineage()).map(|lineage| text_of(&lineage)));
        }
        lineage.push(json!({ "table": index, "text": texts.join("\n\n") }));
    }
    let (mut drift, mut quality) = (Vec::new(), Vec::new());
    for (id, layout) in scene.layouts.iter().enumerate() {
        for dataset in 0..scene.datasets.len() {
            let Some(&any) = layout.tables.iter().find(|&&table| scene.tables[table].dataset == dataset) else {
                continue;
            };
            let tables = tables_over_epochs(scene, layout, any)?;
            for pair in tables.windows(2) {
                progress.check()?;
                drift.extend(unless_gone(drift_between(scene, id, [pair[0], pair[1]]))?.flatten());
            }
            // The last epoch's map is what people look at.
            if let Some(&last) = tables.last() {
                quality.extend(unless_gone(quality_of(scene, id, last, progress))?.flatten());
            }
        }
    }
    Ok(json!({ "epochs": epochs, "drift": drift, "quality": quality, "lineage": lineage }))
}

/// What was read; `None` if it was deleted meanwhile, which is no reason to have nothing of the rest.
fn unless_gone<T>(read: Result<T, ViewError>) -> Result<Option<T>, ViewError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The means of a table's own columns.
fn means(scene: &Scene, index: usize) -> Result<Map<String, Value>, ViewError> {
    let table = &scene.tables[index];
    let mut means = Map::new();
    for column in scene.columns.iter().filter(|column| column.scope == Scope::Table) {
        // What the record has is not read again.
        let known = table.means.get(&column.name).copied();
        let mean = if table.means.is_empty() { mean(scene, column, index)? } else { known };
        if let Some(mean) = mean {
            means.insert(column.name.clone(), json!(mean));
        }
    }
    Ok(means)
}

/// How far samples go between two tables, if any is in both.
fn drift_between(scene: &Scene, id: usize, [from, to]: [usize; 2]) -> Result<Option<Value>, ViewError> {
    let layout = &scene.layouts[id];
    let diameter = layout.bounds.iter().map(|[low, high]| f64::from(high - low).powi(2)).sum::<f64>().sqrt();
    let (before, after) = (scene.coordinates(layout, from)?, scene.coordinates(layout, to)?);
    let mut steps: Vec<f64> =
        (0..before.nrows()).map(|slot| step(&before, &after, slot)).filter(|x| x.is_finite()).collect();
    if steps.is_empty() {
        return Ok(None);
    }
    let middle = steps.len() / 2;
    let median = *steps.select_nth_unstable_by(middle, f64::total_cmp).1;
    let far = steps.iter().filter(|step| **step > FAR * diameter).count();
    Ok(Some(json!({
        "layout": id, "dataset": scene.tables[from].dataset, "from": from, "to": to, "median": median,
        "share": median / diameter.max(f64::MIN_POSITIVE), "spread": far as f64 / steps.len() as f64,
    })))
}

/// How well a map keeps labels together, if there are some.
fn quality_of(scene: &Scene, id: usize, table: usize, progress: &Progress) -> Result<Option<Value>, ViewError> {
    let Some(labels) = Labels::of(scene, table)? else { return Ok(None) };
    let found = accuracy_in_map(scene, &scene.layouts[id], table, &labels, progress)?;
    Ok(found.map(|accuracy| {
        let name = format!("{NEIGHBOURS}-NN accuracy in the map");
        json!({ "layout": id, "table": table, "report": { name: accuracy.value }, "of": of_what(&accuracy, "rows") })
    }))
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
