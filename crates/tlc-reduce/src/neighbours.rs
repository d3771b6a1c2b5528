//! What both reducers keep of a fit in order to place other rows: the fitted rows with an index over
//! them, their coordinates, and how far apart neighbours are around each.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;
use tlc_core::{Array, Arrays, Progress, ReduceError, Transformed, is_measurable, rng::Stream};

use crate::input::{Metric, rows_where, usable_rows};
use crate::knn::{Index, KnnMethod, KnnOptions, Neighbours};

/// How many neighbours define the local scale.
const SCALE_NEIGHBOURS: usize = 10;
/// The name under which a model keeps residuals.
const RESIDUALS: &str = "residuals";
/// Rows that are placed at a time: bounds memory, and paces progress and cancellation.
const BLOCK_ROWS: usize = 16384;

#[derive(Debug)]
pub(crate) struct FittedRows {
    index: Index,
    layout: Array2<f32>,
    /// See [`local_scale`].
    local_scale: Array1<f32>,
    /// See [`Embedded::residuals`].
    residuals: Option<Array1<f32>>,
}

/// Rows in the space where neighbours are searched.
pub(crate) struct Embedded {
    pub(crate) rows: Array2<f32>,
    /// How far each row is from that space, `(n,)`, where it does not hold all of a row.
    pub(crate) residuals: Option<Array1<f32>>,
}

impl From<Array2<f32>> for Embedded {
    /// Of rows that the space holds entirely.
    fn from(rows: Array2<f32>) -> Self {
        Self { rows, residuals: None }
    }
}

/// A row to be placed, and what is near it.
pub(crate) struct NewRow<'a> {
    /// Fitted rows, nearest first.
    pub(crate) neighbours: ArrayView1<'a, u32>,
    /// Squared distances to them.
    pub(crate) squared: ArrayView1<'a, f32>,
    /// A number that depends on the row's values alone: its key for random draws.
    pub(crate) key: u64,
}

/// Mean distance of each row to its nearest ten, `(n,)`, never below a thousandth of its mean.
pub(crate) fn local_scale(graph: &Neighbours) -> Array1<f32> {
    let near = graph.squared.slice(s![.., ..SCALE_NEIGHBOURS.min(graph.k())]);
    let mean = near.map_axis(Axis(1), |squared| squared.iter().map(|s| s.sqrt()).sum::<f32>() / squared.len() as f32);
    let overall = mean.iter().map(|&x| f64::from(x)).sum::<f64>() / mean.len() as f64;
    let floor = if overall > 0.0 { (overall * 1e-3) as f32 } else { 1.0 };
    mean.mapv_into(|scale| scale.max(floor))
}

impl FittedRows {
    /// `layout` and `local_scale` are of the rows of `index`.
    pub(crate) fn new(index: Index, layout: Array2<f32>, local_scale: Array1<f32>) -> Self {
        Self { index, layout, local_scale, residuals: None }
    }

    /// With how far each row is from the space of the index.
    pub(crate) fn with_residuals(self, residuals: Option<Array1<f32>>) -> Self {
        Self { residuals, ..self }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.index.n_rows()
    }

    /// The number of values per row, in the space where neighbours are searched.
    pub(crate) fn n_features(&self) -> usize {
        self.index.n_features()
    }

    pub(crate) fn layout(&self) -> ArrayView2<'_, f32> {
        self.layout.view()
    }

    /// Mean distance to near neighbours around each fitted row.
    pub(crate) fn local_scale(&self) -> &[f32] {
        self.local_scale.as_slice().expect("one-dimensional arrays of ours are contiguous")
    }

    pub(crate) fn add_to(&self, arrays: Arrays) -> Arrays {
        let arrays = self.index.add_to(arrays);
        let arrays = match &self.residuals {
            Some(residuals) => arrays.with_f32(RESIDUALS, residuals),
            None => arrays,
        };
        arrays
            .with("rows", Array::F32(self.index.to_rows().into_dyn()))
            .with_f32("layout", &self.layout)
            .with_f32("local_scale", &self.local_scale)
    }

    pub(crate) fn from_arrays(arrays: &mut Arrays, n_components: usize, knn: KnnMethod) -> Result<Self, ReduceError> {
        let rows: Array2<f32> = arrays.take_f32("rows")?;
        let layout: Array2<f32> = arrays.take_f32("layout")?;
        let local_scale: Array1<f32> = arrays.take_f32("local_scale")?;
        let n = rows.nrows();
        if n == 0 || rows.ncols() == 0 || layout.dim() != (n, n_components) || local_scale.len() != n {
            let reason = format!(
                "{n} rows, a layout of {:?} and {} scales do not fit together",
                layout.dim(),
                local_scale.len()
            );
            return Err(ReduceError::model(reason));
        }
        if !rows.outer_iter().all(is_measurable) || !local_scale.iter().all(|&scale| scale > 0.0) {
            return Err(ReduceError::model("its rows or scales are out of range"));
        }
        // Models of the first versions have none.
        let residuals = match arrays.contains(RESIDUALS) {
            true => Some(arrays.take_f32::<ndarray::Ix1>(RESIDUALS)?),
            false => None,
        };
        if residuals.as_ref().is_some_and(|residuals| residuals.len() != n || !residuals.iter().all(|&x| x >= 0.0)) {
            return Err(ReduceError::model("the residuals do not fit its rows"));
        }
        let options = KnnOptions { method: knn, ..KnnOptions::default() };
        let index = Index::from_parts(rows, options, arrays, &Progress::default())?;
        Ok(Self { index, layout, local_scale, residuals })
    }

    /// Places `data`: a fitted row at its fitted coordinates, any other where `place` says.
    ///
    /// `embed` maps rows, some of `data`, into the space of the fitted rows, each by itself.
    pub(crate) fn transform<const D: usize>(
        &self,
        data: ArrayView2<'_, f32>,
        metric: Metric,
        k: usize,
        progress: &Progress,
        embed: impl Fn(Array2<f32>) -> Embedded,
        place: impl Fn(&NewRow<'_>) -> [f32; D] + Sync,
    ) -> Result<Transformed, ReduceError> {
        let usable = usable_rows(&data, metric);
        let mut coordinates = Array2::from_elem((data.nrows(), D), f32::NAN);
        let mut out_of_distribution = Array1::from_elem(data.nrows(), f32::NAN);
        for block in usable.chunks(BLOCK_ROWS) {
            let Embedded { rows, residuals } = embed(data.select(Axis(0), block));
            // Scaling by the fit's statistics may take a row of other data out of range.
            let in_range = rows_where(block.len(), |row| is_measurable(rows.row(row)));
            let rows = if in_range.len() == block.len() { rows } else { rows.select(Axis(0), &in_range) };
            let found = self.index.query_finite(rows.view(), k.min(self.n_rows()), progress)?;
            let placed: Vec<([f32; D], f32)> = (0..in_range.len())
                .into_par_iter()
                .map(|row| {
                    let (neighbours, squared) = (found.indices.row(row), found.squared.row(row));
                    // What the space of the search cannot tell apart differs in how far it is from that space.
                    let apart = |fitted: u32| match (&residuals, &self.residuals) {
                        (Some(new), Some(known)) => new[in_range[row]] - known[fitted as usize],
                        _ => 0.0,
                    };
                    let equal = neighbours.iter().zip(squared).take_while(|(_, squared)| **squared == 0.0);
                    if let Some((&fitted, _)) = equal.into_iter().find(|(fitted, _)| apart(**fitted) == 0.0) {
                        return (std::array::from_fn(|d| self.layout[[fitted as usize, d]]), 0.0);
                    }
                    let key = key_from_values(rows.row(row));
                    let nearest = neighbours[0];
                    let distance = squared[0].sqrt().hypot(apart(nearest));
                    (place(&NewRow { neighbours, squared, key }), distance / self.local_scale[nearest as usize])
                })
                .collect();
            for (&place, (point, score)) in in_range.iter().zip(placed) {
                let row = block[place];
                coordinates.row_mut(row).assign(&ArrayView1::from(&point));
                out_of_distribution[row] = score;
            }
            progress.check()?;
        }
        Ok(Transformed { coordinates, out_of_distribution })
    }
}

/// A hash in lanes, since each value of each new row goes through it: multiplicative, then the lanes through the mixer
/// of random numbers.
fn key_from_values(row: ArrayView1<'_, f32>) -> u64 {
    const LANES: usize = 16;
    let mut lanes: [u32; LANES] = std::array::from_fn(|lane| lane as u32);
    let row = row.as_standard_layout();
    for values in row.as_slice().expect("standard layout").chunks(LANES) {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = (*lane ^ value.to_bits()).wrapping_mul(0x9e37_79b1);
            *lane ^= *lane >> 15;
        }
    }
    lanes.into_iter().fold(row.len() as u64, |key, lane| Stream::new(key, "").bits(u64::from(lane), 0))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, arr1};

    use super::*;

    #[test]
    fn rows_that_differ_anywhere_have_different_keys() {
        let rows = |n: usize| (0..n).map(move |at| Array1::from_shape_fn(n, |i| if i == at { 1.0 } else { 0.0 }));
        let swapped = [arr1(&[1.0, 2.0, 3.0]), arr1(&[3.0, 2.0, 1.0]), arr1(&[1.0, 2.0, 3.0, 0.0])];
        let all: Vec<Array1<f32>> = rows(1).chain(rows(40)).chain(rows(33)).chain(swapped).collect();
        let mut keys: Vec<u64> = all.iter().map(|row| key_from_values(row.view())).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all.len());
    }
}
