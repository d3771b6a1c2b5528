//! What one table shows: suspects, samples between classes, outliers, duplicates.

use tlc_reduce::knn::DuplicateRule;

use super::{Finder, Found, Labels, Lists, keep_clearest};
use crate::{Scene, ViewError};

/// Samples beyond those that are wanted, before the less clear ones are let go.
const SLACK: usize = 4096;

/// At most `limit` of the samples that `finder` means, and some more.
pub(super) fn find(
    scene: &Scene,
    finder: Finder,
    lists: &Lists,
    table: usize,
    limit: usize,
) -> Result<Vec<Found>, ViewError> {
    let ids = &scene.datasets[scene.table(table)?.dataset].example_ids;
    let mut clearest: Vec<Found> = Vec::new();
    let mut keep = |row: usize, score: f64, why: String| {
        let slot = lists.slots[row];
        clearest.push(Found { slot, example_id: ids[slot], score, why });
        if clearest.len() >= limit.saturating_add(SLACK) {
            keep_clearest(&mut clearest, limit);
        }
    };
    match finder {
        Finder::Mislabelled | Finder::Between => {
            let Some(labels) = Labels::of(scene, table)? else { return Ok(Vec::new()) };
            lists.each(|row, others, _| {
                let Some(own) = labels.of_slot[lists.slots[row]] else { return };
                let counts = labels.counts(others.iter().map(|&other| lists.slots[other as usize]));
                let judged = match finder {
                    Finder::Mislabelled => mislabelled(&labels, own, &counts),
                    _ => between(&labels, &counts),
                };
                if let Some((score, why)) = judged {
                    keep(row, score, why);
                }
            })?;
        }
        Finder::Outliers => {
            let mut farthest = Vec::with_capacity(lists.slots.len());
            lists.each(|_, _, squared| farthest.extend(squared.last().copied()))?;
            let usual = median(farthest.iter().copied().map(distance).collect());
            for (row, squared) in farthest.into_iter().enumerate() {
                let ratio = distance(squared) / usual.max(f64::MIN_POSITIVE);
                if ratio > 1.0 {
                    keep(row, ratio, format!("its neighbours are {ratio:.1} times as far as is usual"));
                }
            }
        }
        _ => {
            let mut nearest = Vec::with_capacity(lists.slots.len());
            lists.each(|_, others, squared| {
                nearest.extend(others.first().copied().zip(squared.first().copied()));
            })?;
            let rule = DuplicateRule::of(nearest.iter().map(|&(_, squared): &(_, f32)| squared.sqrt()));
            for (row, (other, squared)) in nearest.into_iter().enumerate() {
                if let Some(ratio) = rule.ratio(squared.sqrt()) {
                    keep(row, ratio, format!("nearly the same as sample {}", ids[lists.slots[other as usize]]));
                }
            }
        }
    }
    Ok(clearest)
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

fn distance(squared: f32) -> f64 {
    f64::from(squared).sqrt()
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
