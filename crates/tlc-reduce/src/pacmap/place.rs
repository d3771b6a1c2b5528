//! Places new rows among fitted points that stay where they are.
//!
//! In balance under the forces of the fit a new row would be too far from its neighbours to tell them apart:
//! those forces hardly change below a distance of about 3 (√10), and neighbours in the layout are far closer. So
//! the pull of near pairs, `s / (10 + s)` for a squared distance `s`, is used with a smaller constant, which makes
//! its balance the spot where the row's neighbours are densest. Tried, each the median of 2 or 3 seeds, 1 for the
//! largest (trustworthiness and share of kept neighbours at 15, accuracy of the nearest ten, of new rows):
//!
//! | | digits | nested spheres | embeddings, 10,000 | Fashion-MNIST, 60,000 |
//! |---|---|---|---|---|
//! | beside the nearest, a tenth of the way to the balance of the fit's forces | .9785 .474 .990 | .858 .077 .757 | .9837 .272 .849 | .9728 .141 .772 |
//! | **constant 0.3** | .9815 .504 .993 | .895 .029 .761 | .9854 .315 .852 | .9767 .120 .773 |
//! | … then the tenth of the way | .9813 .505 .993 | .895 .029 .762 | .9849 .300 .851 | .9755 .109 .767 |
//! | … all weigh alike | .9819 .503 .993 | .895 .029 .761 | .9859 .317 .852 | .9769 .119 .773 |
//! | … the nearest ten in place of 22 | | | | .9757 .128 .773 |
//! | … chosen among 15 more by scaled distances | .9809 .502 .993 | .896 .029 .761 | .9853 .306 .851 | .9756 .113 .773 |
//! | constant 1 | .9824 .505 .993 | .898 .023 .761 | .9857 .303 .853 | |
//! | pacmap 0.9.1 | .9821 .492 .976 | .876 .020 .757 | .9846 .273 .850 | .9715 .106 .758 |
//!
//! The third line is the one with a push by further points: it moves rows away from their neighbours, whose own
//! places already say where there is room.

use crate::distance::squared_low;
use crate::neighbours::NewRow;

/// Squared distance in the layout at which the pull of a near row fades.
const REACH: f32 = 0.3;
const STEPS: usize = 10;
/// Added to scaled distances: nearer than this are equally near.
const LEAST_SCALED: f32 = 1e-3;

/// What new rows are placed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement<'a, const D: usize> {
    pub(super) points: &'a [[f32; D]],
    /// Scale of the distances around each fitted row.
    pub(super) scales: &'a [f32],
}

impl<const D: usize> Placement<'_, D> {
    /// The place of a new row: where its neighbours are densest around the nearest, each weighted by the inverse of its
    /// scaled distance. Of the two scales of the fit's distances the new row's own is the same for all.
    pub(super) fn place(&self, row: &NewRow<'_>) -> [f32; D] {
        let pull = |(&label, &squared): (&u32, &f32)| {
            let scaled = squared.sqrt() / self.scales[label as usize];
            (self.points[label as usize], 1.0 / (LEAST_SCALED + scaled))
        };
        let pulls: Vec<([f32; D], f32)> = row.neighbours.iter().zip(row.squared).map(pull).collect();
        balance(self.points[row.neighbours[0] as usize], &pulls)
    }
}

/// Where pulls to points, each with a weight and the slope `1 / (REACH + s)²` of its loss, hold the balance: by
/// fixed-point steps from `start`, a mean shift (Comaniciu and Meer 2002).
fn balance<const D: usize>(start: [f32; D], pulls: &[([f32; D], f32)]) -> [f32; D] {
    let mut point = start;
    for _ in 0..STEPS {
        let (mut sum, mut total) = ([0.0; D], 0.0);
        for (there, weight) in pulls {
            let weight = weight / (REACH + squared_low(&point, there)).powi(2);
            total += weight;
            for d in 0..D {
                sum[d] += weight * there[d];
            }
        }
        // Where all are too far for a number, it stays.
        if total > 0.0 {
            point = sum.map(|x| x / total);
        }
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lands_in_the_middle_of_the_cluster_it_starts_in() {
        let mut pulls = [[0.0, 0.0], [0.2, 0.0], [0.0, 0.2], [0.2, 0.2], [30.0, 30.0]].map(|there| (there, 2.0));
        let point = balance([0.2, 0.0], &pulls);
        assert!((point[0] - 0.1).abs() < 1e-3 && (point[1] - 0.1).abs() < 1e-3, "{point:?}");
        assert_eq!(balance([30.0, 30.0], &pulls[4..]), [30.0, 30.0]);

        pulls[0].1 = 20.0;
        let point = balance([0.2, 0.0], &pulls);
        assert!(point[0] < 0.05 && point[1] < 0.05, "towards what weighs more: {point:?}");
    }

    #[test]
    fn a_row_too_far_from_all_for_a_number_stays() {
        assert_eq!(balance([1.0, 1.0], &[([1e30, 1e30], 1.0)]), [1.0, 1.0]);
    }
}
