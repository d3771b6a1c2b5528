//! Brings rows into the space where neighbours are searched. Fitted on the fit's rows only.

use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2};
use tlc_core::{Arrays, Progress, ReduceError};

use super::PacmapParams;
use crate::input::Metric;
use crate::neighbours::Embedded;
use crate::pca::PrincipalAxes;

/// Rows wider than this are brought to this many principal components.
const PCA_WIDTH: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Preprocess {
    metric: Metric,
    steps: Steps,
}

#[derive(Debug, Clone, PartialEq)]
enum Steps {
    /// To the first principal components.
    Pca(PrincipalAxes),
    /// Shifted to the global minimum, divided by the global range (not by each feature's), centred.
    Rescale { scale: f32, shift: Array1<f32> },
}

impl Preprocess {
    /// What brings rows there, and the rows there. Rows that are projected are not copied before.
    pub(super) fn fit_and_apply(
        data: CowArray<'_, f32, Ix2>,
        params: &PacmapParams,
        progress: &Progress,
    ) -> Result<(Self, Embedded), ReduceError> {
        let metric = params.distance;
        let data = metric.embed(data);
        if data.ncols() > PCA_WIDTH && params.apply_pca {
            let axes = PrincipalAxes::fit(data.view(), PCA_WIDTH, params.seed, progress)?;
            let embedded = project(&axes, data.view());
            return Ok((Self { metric, steps: Steps::Pca(axes) }, embedded));
        }
        let (least, most) = data.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        // In f64, since the range of finite numbers may overflow.
        let range = f64::from(most) - f64::from(least);
        let scale = if range > 1e-30 { (1.0 / range) as f32 } else { 1.0 };
        let mean = data.map_axis(Axis(0), |column| column.iter().map(|&x| f64::from(x)).sum::<f64>());
        let n = data.nrows() as f64;
        let shift = mean.mapv(|sum| (sum / n) as f32);
        let rows = (data.into_owned() - &shift) * scale;
        Ok((Self { metric, steps: Steps::Rescale { scale, shift } }, rows.into()))
    }

    pub(super) fn apply(&self, rows: Array2<f32>) -> Embedded {
        let rows = self.metric.embed(rows.into()).into_owned();
        match &self.steps {
            Steps::Pca(axes) => project(axes, rows.view()),
            Steps::Rescale { scale, shift } => ((rows - shift) * *scale).into(),
        }
    }

    pub(super) fn is_pca(&self) -> bool {
        matches!(self.steps, Steps::Pca(_))
    }

    pub(super) fn n_inputs(&self) -> usize {
        match &self.steps {
            Steps::Pca(axes) => axes.n_features(),
            Steps::Rescale { shift, .. } => shift.len(),
        }
    }

    pub(super) fn n_outputs(&self) -> usize {
        match &self.steps {
            Steps::Pca(axes) => axes.n_axes(),
            Steps::Rescale { shift, .. } => shift.len(),
        }
    }

    pub(super) fn add_to(&self, arrays: Arrays) -> Arrays {
        match &self.steps {
            Steps::Pca(axes) => axes.clone().into_arrays(arrays),
            Steps::Rescale { scale, shift } => {
                arrays.with_f32("rescale", &ndarray::arr1(&[*scale])).with_f32("shift", shift)
            }
        }
    }

    pub(super) fn from_arrays(arrays: &mut Arrays, metric: Metric) -> Result<Self, ReduceError> {
        let steps = if arrays.contains("pca_axes") {
            Steps::Pca(PrincipalAxes::from_arrays(arrays)?)
        } else {
            let rescale: Array1<f32> = arrays.take_f32("rescale")?;
            let shift = arrays.take_f32("shift")?;
            match rescale.as_slice() {
                Some(&[scale]) if scale > 0.0 && scale.is_finite() => Steps::Rescale { scale, shift },
                _ => return Err(ReduceError::model("its scale is not one positive number")),
            }
        };
        Ok(Self { metric, steps })
    }
}

/// The components, and how far each row is from what they can express.
fn project(axes: &PrincipalAxes, data: ArrayView2<'_, f32>) -> Embedded {
    let rows = axes.coordinates(data);
    let residuals = Some(axes.residuals(data, rows.view()));
    Embedded { rows, residuals }
}
