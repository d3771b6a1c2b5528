//! One number of a report, and how far it can be trusted.

use serde::{Deserialize, Serialize};

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measure {
    /// The number of neighbours it is about. Smaller than asked for where there are too few rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// `None` where it is not defined: too few rows, or no variation.
    pub value: Option<f64>,
    /// Of a mean over a sample: how far it is typically from the mean over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// How many rows, triplets or pairs were looked at.
    pub sample: usize,
    /// Whether those were all.
    pub exact: bool,
}

impl Measure {
    /// The mean of one value per sampled member of a `population`, summed in order.
    pub(super) fn mean(k: Option<usize>, values: &[f64], population: usize) -> Self {
        let sample = values.len();
        let count = sample as f64;
        let exact = sample == population;
        let value = (sample > 0).then(|| values.iter().sum::<f64>() / count);
        let standard_error = value.filter(|_| sample > 1 && !exact).map(|mean| {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            // Without repetition: nothing is left to chance when nearly all were drawn.
            let left = (1.0 - count / population as f64).max(0.0);
            (variance / count * left).sqrt()
        });
        Self { k, value, standard_error, sample, exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_knows_its_error() {
        let all = Measure::mean(Some(3), &[0.0, 1.0], 2);
        assert_eq!((all.value, all.standard_error, all.exact), (Some(0.5), None, true));
        let some = Measure::mean(None, &[0.0, 1.0], 4);
        // Variance 1/2, over 2, half of the rows seen.
        assert_eq!((some.value, some.standard_error, some.exact), (Some(0.5), Some(0.125_f64.sqrt()), false));
        assert_eq!(Measure::mean(None, &[], 0).value, None);
    }
}
