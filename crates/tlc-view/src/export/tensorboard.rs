//! Files for TensorBoard's embedding projector, of the plugin and of the page that stands alone.

use std::fmt::Write as _;

use arrow_array::RecordBatch;
use ndarray::Array2;
use serde_json::json;
use tlc_core::Progress;

use super::{objects, rows_of_tables};
use crate::find::Space;
use crate::pictures::sheet;
use crate::{Scene, SceneDataset, SceneLayout, ViewError};

/// Files of one folder, by name.
#[derive(Debug, Clone)]
pub struct TensorboardFiles {
    /// Name and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Rows that have no vector, left out.
    pub n_left_out: usize,
    /// Whether the vectors are embeddings; otherwise they are the map's coordinates.
    pub has_embeddings: bool,
}

/// The rows of `tables`: `tensors.tsv` with the embeddings that the layout was made of, or else its coordinates;
/// `metadata.tsv` with all columns; `sprite.png` with pictures, if there are some and they fit; and configurations that
/// name them.
///
/// # Errors
/// A table without the layout, or that is gone; a failing store; cancellation.
pub fn tensorboard(
    scene: &Scene,
    layout: &SceneLayout,
    tables: &[usize],
    progress: &Progress,
) -> Result<TensorboardFiles, ViewError> {
    let mut spaces: Option<Vec<Space>> = Some(Vec::new());
    for &table in tables {
        match (&mut spaces, Space::of_embeddings(scene, layout, table)?) {
            (Some(known), Some(space)) => known.push(space),
            _ => spaces = None,
        }
    }
    // All of one space.
    let width_of = |spaces: &[Space]| spaces.first().map(|space| space.points.ncols());
    let spaces = spaces.filter(|spaces| spaces.iter().all(|space| Some(space.points.ncols()) == width_of(spaces)));
    let has_embeddings = spaces.is_some();
    let spaces = match spaces {
        Some(spaces) => spaces,
        None => tables.iter().map(|&table| Space::of_map(scene, layout, table)).collect::<Result<_, _>>()?,
    };
    let (mut tensors, mut metadata) = (String::new(), String::new());
    let (mut n, mut n_left_out) = (0, 0);
    let mut samples: Vec<(&SceneDataset, Vec<i64>)> = Vec::new();
    for (&table, space) in tables.iter().zip(&spaces) {
        let dataset = &scene.datasets[scene.table(table)?.dataset];
        let all = rows_of_tables(scene, &[table], Some(layout))?;
        let ids: Vec<i64> = space.slots.iter().map(|&slot| dataset.example_ids[slot]).collect();
        let rows = rows_of(&all, &ids)?;
        n_left_out += all.num_rows() - rows.num_rows();
        n += rows.num_rows();
        append_vectors(&mut tensors, &space.points);
        append_rows(&mut metadata, &rows);
        samples.push((dataset, ids));
    }
    let width = width_of(&spaces).unwrap_or(layout.n_components);
    let sprite = sheet(scene, &samples, progress)?;
    let mut entry = json!({
        "tensorName": layout.source.as_ref().filter(|_| has_embeddings).unwrap_or(&layout.name),
        "tensorShape": [n, width],
        "tensorPath": "tensors.tsv",
        "metadataPath": "metadata.tsv",
    });
    let mut text = "embeddings {\n  tensor_path: \"tensors.tsv\"\n  metadata_path: \"metadata.tsv\"\n".to_owned();
    let mut files =
        vec![("tensors.tsv".to_owned(), tensors.into_bytes()), ("metadata.tsv".to_owned(), metadata.into_bytes())];
    if let Some(sprite) = sprite {
        let side = sprite.side;
        entry["sprite"] = json!({ "imagePath": "sprite.png", "singleImageDim": [side, side] });
        text.push_str(&format!(
            "  sprite {{\n    image_path: \"sprite.png\"\n    single_image_dim: {side}\n    single_image_dim: {side}\n  }}\n"
        ));
        files.push(("sprite.png".to_owned(), sprite.png));
    }
    text.push_str("}\n");
    let config = serde_json::to_vec_pretty(&json!({ "embeddings": [entry] }));
    files.push((
        "projector_config.json".to_owned(),
        config.map_err(|error| ViewError::Encode { source: error.into() })?,
    ));
    files.push(("projector_config.pbtxt".to_owned(), text.into_bytes()));
    Ok(TensorboardFiles { files, n_left_out, has_embeddings })
}

/// The rows of these samples, in their order.
fn rows_of(rows: &RecordBatch, ids: &[i64]) -> Result<RecordBatch, ViewError> {
    use arrow_array::cast::AsArray;
    let index = rows.schema().index_of("example_id").map_err(|error| ViewError::Encode { source: error.into() })?;
    let known = rows.column(index).as_primitive::<arrow_array::types::Int64Type>();
    let known: std::collections::HashMap<i64, u64> =
        (0..known.len()).map(|row| (known.value(row), row as u64)).collect();
    let rows_wanted = arrow_array::UInt64Array::from_iter_values(ids.iter().filter_map(|id| known.get(id).copied()));
    arrow_select::take::take_record_batch(rows, &rows_wanted)
        .map_err(|error| ViewError::Encode { source: error.into() })
}

fn append_vectors(text: &mut String, points: &Array2<f32>) {
    for point in points.outer_iter() {
        for (place, x) in point.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\t" };
            write!(text, "{separator}{x}").expect("memory takes what is written");
        }
        text.push('\n');
    }
}

/// A line per row, with a header first.
fn append_rows(text: &mut String, rows: &RecordBatch) {
    // A cell is what lies between tabs in a line.
    let cell = |value: &str| value.replace(['\t', '\n', '\r'], " ");
    let schema = rows.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| cell(field.name())).collect();
    if text.is_empty() {
        text.push_str(&names.join("\t"));
        text.push('\n');
    }
    for row in objects(rows) {
        let cells = schema.fields().iter().map(|field| match &row[field.name()] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(value) => cell(value),
            other => other.to_string(),
        });
        text.push_str(&cells.collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
}
