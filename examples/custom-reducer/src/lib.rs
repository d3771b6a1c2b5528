//! A reducer as a plugin, written as somebody outside of tlc would.
//!
//! `RandomProjection` multiplies rows by a random matrix: the cheapest map there is. Five steps make it a
//! plugin: parameters that deserialise through a check, [`Reducer`] under a versioned tag,
//! [`FittedReducer`], a [`PluginInfo`], and the conformance suite as a test. An executable then names
//! this crate once: `use custom_reducer as _;`.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use tlc::core::rng::Stream;
use tlc::core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer, Transformed};

/// Random projection (Johnson and Lindenstrauss 1984).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Params", into = "Params")]
pub struct RandomProjection {
    params: Params,
}

/// The parameters of [`RandomProjection`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Coordinates per row, at least 1. Default 2.
    pub n_components: usize,
    /// The matrix follows from it. Default 42.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self { n_components: 2, seed: 42 }
    }
}

impl TryFrom<Params> for RandomProjection {
    type Error = ReduceError;

    fn try_from(params: Params) -> Result<Self, ReduceError> {
        if params.n_components == 0 {
            return Err(ReduceError::parameter("n_components", 0, "use at least 1"));
        }
        Ok(Self { params })
    }
}

impl From<RandomProjection> for Params {
    fn from(reducer: RandomProjection) -> Self {
        reducer.params
    }
}

tlc::core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "random_projection/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "random projection: linear, no fit to speak of",
    }
}

#[typetag::serde(name = "random_projection/1")]
impl Reducer for RandomProjection {
    fn n_components(&self) -> usize {
        self.params.n_components
    }

    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        let (rows, features) = data.dim();
        if rows == 0 {
            return Err(ReduceError::data("it has no rows; at least 1 is needed"));
        }
        let bad: Vec<usize> = (0..rows).filter(|&row| !is_finite(data, row)).collect();
        if !bad.is_empty() {
            return Err(ReduceError::NotFinite { count: bad.len(), rows, first: bad.into_iter().take(10).collect() });
        }
        let noise = Stream::new(self.params.seed, "random-projection");
        let matrix =
            Array2::from_shape_fn((features, self.n_components()), |(i, j)| noise.normal(i as u64, j as u64) as f32);
        let layout = project(data, &matrix);
        Ok(Box::new(Fitted { reducer: self.clone(), matrix, layout }))
    }

    fn restore(&self, mut arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let matrix: Array2<f32> = arrays.take_f32("matrix")?;
        let layout: Array2<f32> = arrays.take_f32("layout")?;
        if matrix.ncols() != self.n_components() || layout.ncols() != self.n_components() {
            return Err(ReduceError::model("its arrays do not have the stated number of components"));
        }
        Ok(Box::new(Fitted { reducer: self.clone(), matrix, layout }))
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[derive(Debug)]
struct Fitted {
    reducer: RandomProjection,
    matrix: Array2<f32>,
    layout: Array2<f32>,
}

impl FittedReducer for Fitted {
    fn reducer(&self) -> &dyn Reducer {
        &self.reducer
    }

    fn n_features(&self) -> usize {
        self.matrix.nrows()
    }

    fn layout(&self) -> ArrayView2<'_, f32> {
        self.layout.view()
    }

    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Transformed, ReduceError> {
        progress.check()?;
        if data.ncols() != self.n_features() {
            let reason =
                format!("its rows have {} values, the model was fitted on {}", data.ncols(), self.n_features());
            return Err(ReduceError::data(reason));
        }
        let mut coordinates = project(data, &self.matrix);
        let mut out_of_distribution = Array1::zeros(data.nrows());
        for row in (0..data.nrows()).filter(|&row| !is_finite(data, row)) {
            coordinates.row_mut(row).fill(f32::NAN);
            out_of_distribution[row] = f32::NAN;
        }
        Ok(Transformed { coordinates, out_of_distribution })
    }

    fn to_arrays(&self) -> Arrays {
        Arrays::default().with_f32("matrix", &self.matrix).with_f32("layout", &self.layout)
    }
}

fn is_finite(data: ArrayView2<'_, f32>, row: usize) -> bool {
    data.row(row).iter().all(|value| value.is_finite())
}

/// Row by row, so that a row's bits do not depend on the others.
fn project(data: ArrayView2<'_, f32>, matrix: &Array2<f32>) -> Array2<f32> {
    let mut projected = Array2::zeros((data.nrows(), matrix.ncols()));
    for (mut target, row) in projected.axis_iter_mut(Axis(0)).zip(data.outer_iter()) {
        for (&value, weights) in row.iter().zip(matrix.outer_iter()) {
            target.scaled_add(value, &weights);
        }
    }
    projected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        let reducer = RandomProjection::try_from(Params::default()).expect("valid");
        tlc_core::conformance::check_reducer(&reducer);
    }

    /// `saved/` holds a model as another program would find it. With `TLC_WRITE_GOLDEN=1` it is written if it is
    /// missing.
    #[test]
    fn a_saved_model_is_read_where_this_crate_is_linked() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("saved");
        let reducer = RandomProjection::try_from(Params::default()).expect("valid");
        let data = Array2::from_shape_fn((5, 3), |(i, j)| (i * j) as f32);
        let fitted = reducer.fit(data.view(), &Progress::default()).expect("fits");
        if std::env::var_os("TLC_WRITE_GOLDEN").is_some() && !folder.exists() {
            std::fs::create_dir(&folder).expect("writable");
            for file in tlc_core::encode_model(fitted.as_ref()).expect("encodable") {
                std::fs::write(folder.join(file.name), file.content).expect("writable");
            }
        }
        let read = |name: &str| std::fs::read(folder.join(name)).expect("there");
        let saved = tlc_core::decode_model(&read(tlc_core::MODEL_DOCUMENT), |name| Ok(read(name))).expect("readable");
        assert_eq!(saved.layout(), fitted.layout());
        let again = saved.transform(data.view(), &Progress::default()).expect("places");
        assert_eq!(again.coordinates, fitted.layout());
    }

    #[test]
    fn it_is_found_by_name() {
        let reducer = tlc::create_reducer("random_projection", [("n_components", 3.into())]).expect("linked");
        assert_eq!((reducer.method(), reducer.n_components()), ("random_projection", 3));
    }
}
