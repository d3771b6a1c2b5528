//! What one table shows: suspects, samples between classes, outliers, duplicates.

use tlc_core::Progress;
use tlc_reduce::knn::{DuplicateRule, Neighbours};

use super::{Finder, Found, Labels, NEIGHBOURS, Space};
use crate::{Scene, ViewError};

pub(super) fn find(
    scene: &Scene,
    finder: Finder,
    space: &Space,
    table: usize,
    progress: &Progress,
) -> Result<Vec<Found>, ViewError> {
    let Some(neighbours) = space.neighbours(NEIGHBOURS, progress)? else { return Ok(Vec::new()) };
    let ids = &scene.datasets[scene.table(table)?.dataset].example_ids;
    let found = |row: usize, score: f64, why: String| {
        let slot = space.slots[row];
        Found { slot, example_id: ids[slot], score, why }
    };
    let rows = 0..space.slots.len();
    match finder {
        Finder::Mislabelled | Finder::Between => {
            let Some(labels) = Labels::of(scene, table)? else { return Ok(Vec::new()) };
            let around =
                |row: usize| labels.counts(neighbours.indices.row(row).iter().map(|&n| space.slots[n as usize]));
            let judge = |row: usize| {
                let own = labels.of_slot[space.slots[row]]?;
                let counts = around(row);
                if finder == Finder::Mislabelled {
                    mislabelled(&labels, own, &counts).map(|(score, why)| found(row, score, why))
                } else {
                    between(&labels, &counts).map(|(score, why)| found(row, score, why))
                }
            };
            Ok(rows.filter_map(judge).collect())
        }
        Finder::Outliers => {
            let distance = |row: usize| last_distance(&neighbours, row);
            let usual = median(rows.clone().map(distance).collect());
            let judge = |row: usize| {
                let ratio = distance(row) / usual.max(f64::MIN_POSITIVE);
                (ratio > 1.0)
                    .then(|| found(row, ratio, format!("its neighbours are {ratio:.1} times as far as is usual")))
            };
            Ok(rows.filter_map(judge).collect())
        }
        _ => {
            let distance = |row: usize| neighbours.squared[[row, 0]].sqrt();
            let rule = DuplicateRule::of(rows.clone().map(distance));
            let judge = |row: usize| {
                let ratio = rule.ratio(distance(row))?;
                let other = ids[space.slots[neighbours.indices[[row, 0]] as usize]];
                Some(found(row, ratio, format!("nearly the same as sample {other}")))
            };
            Ok(rows.filter_map(judge).collect())
        }
    }
}

fn mislabelled(labels: &Labels, own: usize, counts: &[(usize, usize)]) -> Option<(f64, String)> {
    let n: usize = counts.iter().map(|(_, n)| n).sum();
    let &(class, votes) = counts.first()?;
    let own_votes = counts.iter().find(|(class, _)| *class == own).map_or(0, |(_, n)| *n);
    if class == own || 2 * votes <= n {
        return None;
    }
    let score = (votes - own_votes) as f64 / n as f64;
    Some((score, format!("{votes} of {n} neighbours are {}, its label is {}", labels.name(class), labels.name(own))))
}

fn between(labels: &Labels, counts: &[(usize, usize)]) -> Option<(f64, String)> {
    if counts.len() < 2 {
        return None;
    }
    let n: usize = counts.iter().map(|(_, n)| n).sum();
    let entropy: f64 = counts.iter().map(|&(_, votes)| votes as f64 / n as f64).map(|p| -p * p.ln()).sum();
    // As a share of what so many neighbours can reach at most.
    let score = entropy / (n.min(labels.names.len()) as f64).ln();
    let parts: Vec<String> =
        counts.iter().take(3).map(|&(class, votes)| format!("{votes} {}", labels.name(class))).collect();
    Some((score, format!("among {n} neighbours: {}", parts.join(", "))))
}

fn last_distance(neighbours: &Neighbours, row: usize) -> f64 {
    f64::from(neighbours.squared[[row, neighbours.k() - 1]]).sqrt()
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
