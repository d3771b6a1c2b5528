//! Columns as Arrow streams, as small as the page needs them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt8Array, UInt16Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use ndarray::Axis;

use crate::{Scene, SceneColumn, SceneLayout, Values, ViewError};

/// Steps of an out-of-distribution score of 1.
const OOD_STEPS: f32 = 16.0;

/// `x`, `y` and `z` as places between the layout's bounds, in 65,535 steps, and `ood` in sixteenths.
pub(crate) fn coordinates(scene: &Scene, layout: &SceneLayout, table: usize) -> Result<Vec<u8>, ViewError> {
    let points = scene.coordinates(layout, table)?;
    let has_place: Vec<bool> = points.outer_iter().map(|point| point.iter().all(|x| x.is_finite())).collect();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for ((name, axis), [low, high]) in ["x", "y", "z"].into_iter().zip(points.axis_iter(Axis(1))).zip(&layout.bounds) {
        let scale = f32::from(u16::MAX) / (high - low).max(f32::MIN_POSITIVE);
        let steps = axis.iter().zip(&has_place).map(|(x, has)| has.then(|| ((x - low) * scale).round() as u16));
        columns.push((name, Arc::new(UInt16Array::from_iter(steps))));
    }
    if let Some(scores) = scene.out_of_distribution(layout, table)? {
        let steps = scores.iter().map(|score| (!score.is_nan()).then(|| (score * OOD_STEPS).round() as u8));
        columns.push(("ood", Arc::new(UInt8Array::from_iter(steps))));
    }
    stream(columns)
}

/// One column, `value`.
pub(crate) fn values(scene: &Scene, column: &SceneColumn, table: usize) -> Result<Vec<u8>, ViewError> {
    let values: ArrayRef = match scene.values(column, table)? {
        Values::Category(values) => Arc::new(Int32Array::from(values)),
        Values::Number(values) => {
            Arc::new(Float32Array::from_iter(values.into_iter().map(|x| (!x.is_nan()).then_some(x))))
        }
        Values::Boolean(values) => Arc::new(BooleanArray::from(values)),
        Values::Text(values) => Arc::new(StringArray::from(values)),
    };
    stream(vec![("value", values)])
}

/// What a browser keeps of whole numbers: all up to this, and some beyond.
const LARGEST_EXACT: u64 = (1 << 53) - 1;

/// The numbers of a dataset's samples.
pub(crate) fn example_ids(scene: &Scene, index: usize) -> Result<Vec<u8>, ViewError> {
    let dataset = scene.datasets.get(index).ok_or_else(|| ViewError::Unknown {
        what: "dataset",
        name: index.to_string(),
        known: format!("0 to {}", scene.datasets.len().saturating_sub(1)),
    })?;
    // They are ascending.
    let ends = [dataset.example_ids.first(), dataset.example_ids.last()];
    let beyond = ends.into_iter().flatten().find(|id| id.unsigned_abs() > LARGEST_EXACT);
    let table = scene.tables.iter().find(|table| table.dataset == index);
    if let (Some(id), Some(table)) = (beyond, table) {
        let reason = format!(
            "its example_id {id} is beyond {LARGEST_EXACT}, up to which a browser tells whole numbers apart; number its \
             samples anew, or use tlc plot, find and select, which take any"
        );
        return Err(ViewError::Unusable { url: table.url().clone(), reason });
    }
    stream(vec![("example_id", Arc::new(Int64Array::from(dataset.example_ids.clone())))])
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>, ViewError> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    let schema = Schema::new(fields);
    let encode = || -> Result<Vec<u8>, ArrowError> {
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns.into_iter().map(|(_, v)| v).collect())?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    encode().map_err(|error| ViewError::Encode { source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::tests::{collect, run};

    #[test]
    fn ids_that_a_browser_would_round_are_refused() {
        let ids_from = |first: i64| {
            let run = run();
            collect(&run, "train", None, first..first + 3);
            let scene = Scene::of_run(run.project(), &run).expect("readable");
            example_ids(&scene, 0).map_err(|error| error.to_string())
        };
        let largest: i64 = (1 << 53) - 1;
        assert!(ids_from(0).is_ok() && ids_from(largest - 2).is_ok() && ids_from(-largest).is_ok());
        for (first, named) in [(largest - 1, "9007199254740992"), (-largest - 1, "-9007199254740992")] {
            let error = ids_from(first).expect_err("one is rounded");
            assert!(error.contains(&format!("example_id {named} is beyond 9007199254740991")), "{error}");
        }
    }
}
