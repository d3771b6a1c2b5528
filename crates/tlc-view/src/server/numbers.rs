//! Accuracy and loss per epoch, drift between epochs, how good the maps are, where tables come from.

use serde_json::{Map, Value, json};
use tlc_core::{Lineage, Progress};
use tlc_reduce::quality::knn_accuracy;

use crate::find::{Labels, NEIGHBOURS, Space, step, tables_over_epochs};
use crate::{ColumnKind, Scene, SceneColumn, Scope, Values, ViewError};

pub(crate) fn numbers(scene: &Scene) -> Result<Value, ViewError> {
    let mut epochs = Vec::new();
    let mut lineage = Vec::new();
    for (index, table) in scene.tables.iter().enumerate() {
        let mut means = Map::new();
        for column in scene.columns.iter().filter(|column| column.scope == Scope::Table) {
            if let Some(mean) = mean(scene, column, index)? {
                means.insert(column.name.clone(), json!(mean));
            }
        }
        epochs.push(json!({ "table": index, "epoch": table.epoch, "dataset": table.dataset, "means": means }));
        let text = scene.store().info(&table.url)?.lineage().map(|lineage| text_of(&lineage)).unwrap_or_default();
        lineage.push(json!({ "table": index, "text": text }));
    }
    let (mut drift, mut quality) = (Vec::new(), Vec::new());
    for (id, layout) in scene.layouts.iter().enumerate() {
        for dataset in 0..scene.datasets.len() {
            let Some(&any) = layout.tables.iter().find(|&&table| scene.tables[table].dataset == dataset) else {
                continue;
            };
            let tables = tables_over_epochs(scene, layout, any)?;
            for pair in tables.windows(2) {
                let (from, to) = (scene.coordinates(layout, pair[0])?, scene.coordinates(layout, pair[1])?);
                let mut steps: Vec<f64> =
                    (0..from.nrows()).map(|slot| step(&from, &to, slot)).filter(|x| x.is_finite()).collect();
                if !steps.is_empty() {
                    let middle = steps.len() / 2;
                    let median = *steps.select_nth_unstable_by(middle, f64::total_cmp).1;
                    drift.push(
                        json!({ "layout": id, "dataset": dataset, "from": pair[0], "to": pair[1], "median": median }),
                    );
                }
            }
            // The last epoch's map is what people look at.
            if let Some(&last) = tables.last()
                && let Some(accuracy) = accuracy(scene, id, last)?
            {
                let name = format!("{NEIGHBOURS}-NN accuracy in the map");
                quality.push(json!({ "layout": id, "table": last, "report": { name: accuracy } }));
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

/// The share of samples whose label is that of their neighbours in the map.
fn accuracy(scene: &Scene, layout: usize, table: usize) -> Result<Option<f64>, ViewError> {
    let Some(labels) = Labels::of(scene, table)? else { return Ok(None) };
    let mut space = Space::of_map(scene, &scene.layouts[layout], table)?;
    let rows: Vec<usize> = (0..space.slots.len()).filter(|&row| labels.of_slot[space.slots[row]].is_some()).collect();
    if rows.len() <= NEIGHBOURS {
        return Ok(None);
    }
    space.points = space.points.select(ndarray::Axis(0), &rows);
    let classes: Vec<i64> = rows.iter().filter_map(|&row| labels.of_slot[space.slots[row]]).map(|c| c as i64).collect();
    Ok(knn_accuracy(space.points.view(), &classes, NEIGHBOURS, &Progress::default()).ok())
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
