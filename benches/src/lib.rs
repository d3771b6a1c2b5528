//! Data that the benchmarks share. Run them with `cargo xtask bench`.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};
use tlc::core::{Column, NumberRole, rng::Stream};

/// Ten Gaussian clusters, `(n, d)`.
pub fn clusters(n: usize, d: usize) -> Array2<f32> {
    cluster_rows(0..n, d)
}

/// Some rows of as many as one likes of [`clusters`], `(rows, d)`: which depends on their numbers alone.
pub fn cluster_rows(rows: Range<usize>, d: usize) -> Array2<f32> {
    let noise = Stream::new(0, "bench");
    let centres = Stream::new(1, "bench");
    let centres = Array2::from_shape_fn((10, d), |(i, j)| 3.0 * centres.normal(i as u64, j as u64));
    let mut values = Array2::zeros((rows.len(), d));
    values.axis_iter_mut(Axis(0)).into_par_iter().zip(rows).for_each(|(mut values, i)| {
        for (j, value) in values.iter_mut().enumerate() {
            *value = (centres[[i % 10, j]] + noise.normal(i as u64, j as u64)) as f32;
        }
    });
    values
}

/// The same clusters, but each spread in `spread_in` directions of its own instead of all `d`, and a little in the others:
/// as embeddings are, whose rows have neighbours that are nearer than the others. `(rows, d)`.
pub fn flat_cluster_rows(rows: Range<usize>, d: usize, spread_in: usize) -> Array2<f32> {
    let [noise, centres, directions, small] = [0, 1, 2, 3].map(|stream| Stream::new(stream, "bench"));
    let centres = Array2::from_shape_fn((10, d), |(i, j)| 3.0 * centres.normal(i as u64, j as u64));
    // Of each cluster; as long as a unit is in `d` dimensions, so that all rows are as far from their centre as those above.
    let length = 1.0 / (spread_in as f64).sqrt();
    let directions =
        Array2::from_shape_fn((10 * spread_in, d), |(i, j)| length * directions.normal(i as u64, j as u64));
    let mut values = Array2::zeros((rows.len(), d));
    values.axis_iter_mut(Axis(0)).into_par_iter().zip(rows).for_each(|(mut values, i)| {
        let cluster = i % 10;
        let mut row = centres.row(cluster).to_owned();
        for k in 0..spread_in {
            row.scaled_add(noise.normal(i as u64, k as u64), &directions.row(cluster * spread_in + k));
        }
        for (j, value) in values.iter_mut().enumerate() {
            *value = (row[j] + 0.07 * (small.uniform(i as u64, j as u64) - 0.5)) as f32;
        }
    });
    values
}

/// A table of `n` embeddings of width `d`, in batches of 8,192 rows.
pub fn embedding_batches(n: usize, d: usize) -> (Arc<Schema>, Vec<RecordBatch>) {
    let values = clusters(n, d).into_raw_vec_and_offset().0;
    let embedding = Column::embedding("embeddings_90", d, values, NumberRole::NnEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![Field::new("example_id", DataType::Int64, false), embedding.field]));
    let ids = Arc::new(Int64Array::from_iter_values(0..n as i64));
    let batch = RecordBatch::try_new(schema.clone(), vec![ids, embedding.values]).expect("columns of one length");
    let cut = (0..n).step_by(8192).map(|start| batch.slice(start, 8192.min(n - start))).collect();
    (schema, cut)
}
