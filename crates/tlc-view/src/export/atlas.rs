//! Tables for Embedding Atlas: `embedding-atlas FILE --x projection_x --y projection_y --neighbors neighbors`.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Float64Builder, Int64Builder, ListBuilder};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field, Schema};
use tlc_core::Progress;

use super::rows_of_tables;
use crate::find::Space;
use crate::{Scene, SceneLayout, ViewError, pictures};

/// Neighbours of each row.
const NEIGHBOURS: usize = 15;
/// Pictures that are read at once.
const CHUNK: usize = 1024;

/// The rows of `tables` with the columns that Embedding Atlas looks for: `projection_x` and `projection_y` (of three axes
/// the first two), `neighbors` with row numbers and distances among the rows of the same table, and `image` with encoded
/// pictures, if there are some.
///
/// # Errors
/// A table without the layout, or that is gone; a failing store; cancellation.
pub fn embedding_atlas(
    scene: &Scene,
    layout: &SceneLayout,
    tables: &[usize],
    progress: &Progress,
) -> Result<RecordBatch, ViewError> {
    let rows = rows_of_tables(scene, tables, None)?;
    let (mut fields, mut columns): (Vec<_>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    let mut add = |name: &str, values: ArrayRef| {
        fields.push(Arc::new(Field::new(name, values.data_type().clone(), true)));
        columns.push(values);
    };
    // What the tables call so gives way.
    let taken = ["projection_x", "projection_y", "neighbors", "image"];
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name();
        add(&if taken.contains(&name.as_str()) { format!("{name}_column") } else { name.clone() }, values.clone());
    }
    let mut axes = [Vec::new(), Vec::new()];
    let (mut ids, mut distances) = (ListBuilder::new(Int64Builder::new()), ListBuilder::new(Float64Builder::new()));
    let mut has_neighbours = Vec::new();
    let mut images = BinaryBuilder::new();
    let mut has_images = false;
    for &index in tables {
        let table = scene.table(index)?;
        let dataset = &scene.datasets[table.dataset];
        let slots: Vec<usize> = (0..dataset.example_ids.len()).filter(|&slot| table.has_row(slot)).collect();
        let first = has_neighbours.len();
        let places = scene.coordinates(layout, index)?;
        for (axis, values) in axes.iter_mut().enumerate() {
            values.extend(slots.iter().map(|&slot| Some(places[[slot, axis]]).filter(|x| x.is_finite())));
        }
        let space = Space::of(scene, layout, index)?;
        let neighbours = space.neighbours(NEIGHBOURS, progress)?;
        // From slots to rows of the file, and to rows of the space.
        let mut row_of_slot = vec![0_i64; dataset.example_ids.len()];
        slots.iter().enumerate().for_each(|(row, &slot)| row_of_slot[slot] = (first + row) as i64);
        let mut in_space = vec![None; dataset.example_ids.len()];
        space.slots.iter().enumerate().for_each(|(row, &slot)| in_space[slot] = Some(row));
        for &slot in &slots {
            let found = neighbours.as_ref().zip(in_space[slot]);
            has_neighbours.push(found.is_some());
            if let Some((neighbours, row)) = found {
                let near = neighbours.indices.row(row);
                near.iter().for_each(|&near| ids.values().append_value(row_of_slot[space.slots[near as usize]]));
                let squared = neighbours.squared.row(row);
                squared.iter().for_each(|&squared| distances.values().append_value(f64::from(squared).sqrt()));
            }
            ids.append(true);
            distances.append(true);
        }
        let numbers: Vec<i64> = slots.iter().map(|&slot| dataset.example_ids[slot]).collect();
        let task = progress.task("pictures", numbers.len() as u64);
        for chunk in numbers.chunks(CHUNK) {
            for picture in pictures::pictures(scene, dataset, chunk)? {
                let png = picture.and_then(pictures::small_png);
                has_images |= png.is_some();
                images.append_option(png);
            }
            task.advance(chunk.len() as u64)?;
        }
    }
    let failed = |error: arrow_schema::ArrowError| ViewError::Encode { source: error.into() };
    for (name, values) in ["projection_x", "projection_y"].into_iter().zip(axes) {
        add(name, Arc::new(arrow_array::Float32Array::from(values)));
    }
    let (ids, distances) = (ids.finish(), distances.finish());
    let list =
        |name: &str, values: &dyn arrow_array::Array| Arc::new(Field::new(name, values.data_type().clone(), true));
    let members = vec![list("ids", &ids), list("distances", &distances)];
    let nulls = Some(NullBuffer::from(has_neighbours)).filter(|nulls| nulls.null_count() > 0);
    let neighbours = StructArray::try_new(members.into(), vec![Arc::new(ids), Arc::new(distances)], nulls);
    add("neighbors", Arc::new(neighbours.map_err(failed)?));
    if has_images {
        add("image", Arc::new(images.finish()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed)
}
