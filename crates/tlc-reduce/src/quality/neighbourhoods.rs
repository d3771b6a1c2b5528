//! Whether the near are near in the other space too.
//!
//! With `N` rows to rank (all but the query itself), `r(i, j)` the rank of `j` by distance from `i` in the data and
//! `U(i)` the `k` nearest in the layout, trustworthiness is (Venna and Kaski 2001, equation 1, as in
//! scikit-learn)
//!
//! `T = 1 - mean over i of  2 / (k (2N - 3k + 1))  Σ over j in U(i) of max(0, r(i, j) - k)`
//!
//! so that 1 is perfect and 0 the worst there is; it asks for `k ≤ N/2`. Continuity is the same with
//! the spaces exchanged. Neighbour preservation is the share of the `k` nearest in the data that are
//! among the `k` nearest in the layout. The recall of a neighbour graph is the share of its entries
//! that are no farther than the true last one, so that it does not matter which of equal rows it names.

use tlc_core::{Progress, ReduceError};

use super::distances::{Asked, nearest, rank, scan};
use super::measure::Measure;
use super::options::QualityOptions;

/// The measures, one each per `k`.
#[derive(Debug)]
pub(super) struct Neighbourhoods {
    pub(super) trustworthiness: Vec<Measure>,
    pub(super) continuity: Vec<Measure>,
    pub(super) preservation: Vec<Measure>,
}

/// What one query sees, in the order of the `k`s.
struct Seen {
    trustworthiness: Vec<f64>,
    continuity: Vec<f64>,
    preservation: Vec<f64>,
}

/// Compares the neighbourhoods of `queries` in two spaces; they are a sample from `population`.
pub(super) fn compare(
    data: &Asked<'_>,
    layout: &Asked<'_>,
    own: Option<&[usize]>,
    population: usize,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Neighbourhoods, ReduceError> {
    let n_ranked = data.space.n_rows().saturating_sub(usize::from(own.is_some()));
    let rank_k: Vec<usize> = options.rank_k.iter().map(|&k| k.min(n_ranked / 2)).collect();
    let preservation_k: Vec<usize> = options.preservation_k.iter().map(|&k| k.min(n_ranked)).collect();
    let longest_rank = rank_k.iter().copied().max().unwrap_or(0);
    let longest = preservation_k.iter().copied().max().unwrap_or(0).max(longest_rank);
    let seen = scan([data, layout], own, "compare neighbourhoods", progress, |_, [in_data, in_layout]| {
        let near_data = nearest(in_data, longest);
        let near_layout = nearest(in_layout, longest);
        let ranks = |near: &[u32], distances: &[f32]| -> Vec<usize> {
            near.iter().take(longest_rank).map(|&row| rank(distances, row)).collect()
        };
        let in_order = |ranks: &[usize]| rank_k.iter().map(|&k| kept_order(ranks, k, n_ranked)).collect();
        Seen {
            trustworthiness: in_order(&ranks(&near_layout, in_data)),
            continuity: in_order(&ranks(&near_data, in_layout)),
            preservation: shares_in_common(&near_data, &near_layout, &preservation_k),
        }
    })?;
    let means = |ks: &[usize], values: fn(&Seen) -> &[f64]| -> Vec<Measure> {
        let mean = |(place, &k): (usize, &usize)| {
            let values: Vec<f64> = seen.iter().filter(|_| k > 0).map(|seen| values(seen)[place]).collect();
            Measure::mean(Some(k), &values, population)
        };
        ks.iter().enumerate().map(mean).collect()
    };
    Ok(Neighbourhoods {
        trustworthiness: means(&rank_k, |seen| &seen.trustworthiness),
        continuity: means(&rank_k, |seen| &seen.continuity),
        preservation: means(&preservation_k, |seen| &seen.preservation),
    })
}

/// One query's term of trustworthiness, from the ranks of its neighbours in the other space.
fn kept_order(ranks: &[usize], k: usize, n_ranked: usize) -> f64 {
    let excess: usize = ranks.iter().take(k).map(|rank| rank.saturating_sub(k)).sum();
    if excess == 0 {
        return 1.0;
    }
    1.0 - 2.0 * excess as f64 / (k as f64 * (2.0 * n_ranked as f64 - 3.0 * k as f64 + 1.0))
}

/// For each `k`, the share that the first `k` of two lists have in common.
pub(super) fn shares_in_common(left: &[u32], right: &[u32], ks: &[usize]) -> Vec<f64> {
    let mut in_common = vec![0_usize; ks.len()];
    for (i, row) in left.iter().enumerate() {
        if let Some(j) = right.iter().position(|other| other == row) {
            for (count, &k) in in_common.iter_mut().zip(ks) {
                *count += usize::from(i.max(j) < k);
            }
        }
    }
    in_common.iter().zip(ks).map(|(&count, &k)| count as f64 / k as f64).collect()
}

/// The recall of `lists`: for each query the rows that a neighbour graph names, `None` for rows that
/// are left out here.
///
/// A row named twice, or as its own neighbour, does not count as found.
pub(super) fn recall(
    data: &Asked<'_>,
    own: &[usize],
    lists: &[Vec<Option<u32>>],
    population: usize,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let k = lists.iter().map(Vec::len).max();
    let shares = scan([data], Some(own), "recall of the neighbour graph", progress, |query, [distances]| {
        let mut found: Vec<u32> = lists[query].iter().copied().flatten().collect();
        let k = found.len();
        let true_nearest = nearest(distances, k);
        let last = true_nearest.last().map_or(0.0, |&row| distances[row as usize]);
        found.sort_unstable();
        found.dedup();
        let found = found.iter().filter(|&&row| distances[row as usize] <= last).count();
        (k > 0).then(|| found as f64 / k as f64)
    })?;
    let shares: Vec<f64> = shares.into_iter().flatten().collect();
    Ok(Measure::mean(k, &shares, population))
}
