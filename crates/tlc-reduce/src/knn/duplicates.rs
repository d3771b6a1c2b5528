//! Which rows are nearly the same as their nearest neighbour.

/// Says of a row's distance to its nearest whether both are nearly the same: if it is ten times smaller than is usual.
///
/// Usual is the median distance of the rows that have no equal one. Equal rows are at no distance at all; where most are,
/// they would make nothing of any distance unusual.
///
/// ```
/// use tlc_reduce::knn::DuplicateRule;
/// let nearest = [0.0, 0.0, 0.0, 0.0, 0.01, 1.0, 2.0];
/// let rule = DuplicateRule::of(nearest);
/// assert_eq!(rule.ratio(0.0), Some(DuplicateRule::EQUAL));
/// assert!(rule.ratio(0.01).is_some_and(|ratio| (99.0..101.0).contains(&ratio)));
/// assert_eq!(rule.ratio(2.0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DuplicateRule {
    usual: f64,
}

impl DuplicateRule {
    /// A neighbour so many times nearer than is usual is nearly the same row.
    pub const RATIO: f64 = 10.0;
    /// The ratio of equal rows, which no other exceeds.
    pub const EQUAL: f64 = 1e6;

    /// The rule for rows with these distances (not squared) to their nearest, one per row; takes 4 bytes for each.
    pub fn of(nearest: impl IntoIterator<Item = f32>) -> Self {
        let mut apart: Vec<f32> = nearest.into_iter().filter(|distance| *distance > 0.0).collect();
        if apart.is_empty() {
            return Self { usual: 0.0 };
        }
        let middle = apart.len() / 2;
        Self { usual: f64::from(*apart.select_nth_unstable_by(middle, f32::total_cmp).1) }
    }

    /// How many times nearer than is usual a row at this distance (not squared) is; `None` if that makes it no near
    /// duplicate.
    pub fn ratio(&self, distance: f32) -> Option<f64> {
        let ratio = if distance > 0.0 { (self.usual / f64::from(distance)).min(Self::EQUAL) } else { Self::EQUAL };
        (ratio >= Self::RATIO).then_some(ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_all_rows_are_equal_all_are_duplicates() {
        assert_eq!(DuplicateRule::of([0.0; 4]).ratio(0.0), Some(DuplicateRule::EQUAL));
        assert_eq!(DuplicateRule::of([]).ratio(1.0), None);
    }

    #[test]
    fn the_ratio_has_a_limit_on_both_sides() {
        let rule = DuplicateRule::of([1.0; 5]);
        assert_eq!(rule.ratio(1e-9), Some(DuplicateRule::EQUAL));
        assert_eq!((rule.ratio(0.125), rule.ratio(0.0625)), (None, Some(16.0)));
    }
}
