//! What only shows over the epochs: long ways, and changes of class.

use ndarray::Array2;
use tlc_core::Progress;

use super::{Found, Labels, NEIGHBOURS, Space};
use crate::{Scene, SceneLayout, ViewError};

/// The tables of the same dataset that have the layout, by epoch; those without come in order of writing.
pub(crate) fn tables_over_epochs(scene: &Scene, layout: &SceneLayout, table: usize) -> Result<Vec<usize>, ViewError> {
    let dataset = scene.table(table)?.dataset;
    let mut tables: Vec<usize> =
        layout.tables.iter().copied().filter(|&other| scene.tables[other].dataset == dataset).collect();
    tables.sort_by_key(|&table| (scene.tables[table].epoch, table));
    Ok(tables)
}

pub(super) fn movers(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    progress: &Progress,
) -> Result<Vec<Found>, ViewError> {
    let tables = tables_over_epochs(scene, layout, table)?;
    let mut maps: Vec<Array2<f32>> = Vec::new();
    for &table in &tables {
        progress.check()?;
        maps.push(scene.coordinates(layout, table)?);
    }
    let diameter = layout.bounds.iter().map(|[low, high]| f64::from(high - low).powi(2)).sum::<f64>().sqrt();
    let ids = &scene.datasets[scene.table(table)?.dataset].example_ids;
    let way = |slot: usize| {
        let steps: Vec<f64> =
            maps.windows(2).map(|pair| step(&pair[0], &pair[1], slot)).filter(|x| x.is_finite()).collect();
        let length = steps.iter().sum::<f64>() / diameter.max(f64::MIN_POSITIVE);
        let last = steps.last().copied().unwrap_or(0.0) / diameter.max(f64::MIN_POSITIVE);
        let why = format!("its way is {length:.2} diameters long, {last:.2} of them in the last epoch");
        (length > 0.0).then(|| Found { slot, example_id: ids[slot], score: length, why })
    };
    Ok((0..ids.len()).filter_map(way).collect())
}

/// How far a sample goes from one map to the next; NaN if it has no place in one.
pub(crate) fn step(from: &Array2<f32>, to: &Array2<f32>, slot: usize) -> f64 {
    let squares = from.row(slot).iter().zip(to.row(slot)).map(|(a, b)| f64::from(b - a).powi(2)).sum::<f64>();
    squares.sqrt()
}

pub(super) fn switched(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    progress: &Progress,
) -> Result<Vec<Found>, ViewError> {
    let tables = tables_over_epochs(scene, layout, table)?;
    let Some(labels) = Labels::of(scene, table)? else { return Ok(Vec::new()) };
    let ids = &scene.datasets[scene.table(table)?.dataset].example_ids;
    let mut votes: Vec<Vec<Option<usize>>> = Vec::new();
    for &table in &tables {
        votes.push(majorities(&Space::of_map(scene, layout, table)?, &labels, ids.len(), progress)?);
    }
    let name_of_epoch = |index: usize| {
        let table = &scene.tables[tables[index]];
        table.epoch.map_or_else(|| table.name.clone(), |epoch| format!("epoch {epoch}"))
    };
    let judge = |slot: usize| {
        let changes: Vec<usize> = (1..tables.len())
            .filter(|&at| votes[at - 1][slot].zip(votes[at][slot]).is_some_and(|(before, after)| before != after))
            .collect();
        let &last = changes.last()?;
        let (before, after) = (votes[last - 1][slot]?, votes[last][slot]?);
        let why = format!(
            "{} changes; at {} from {} to {}",
            changes.len(),
            name_of_epoch(last),
            labels.name(before),
            labels.name(after)
        );
        // The latest change decides between equal numbers of them.
        let score = changes.len() as f64 + last as f64 / tables.len() as f64;
        Some(Found { slot, example_id: ids[slot], score, why })
    };
    Ok((0..ids.len()).filter_map(judge).collect())
}

/// The class of most neighbours of each slot.
fn majorities(space: &Space, labels: &Labels, n: usize, progress: &Progress) -> Result<Vec<Option<usize>>, ViewError> {
    let mut majorities = vec![None; n];
    if let Some(neighbours) = space.neighbours(NEIGHBOURS, progress)? {
        for (row, &slot) in space.slots.iter().enumerate() {
            let around = neighbours.indices.row(row);
            majorities[slot] =
                labels.counts(around.iter().map(|&n| space.slots[n as usize])).first().map(|(class, _)| *class);
        }
    }
    Ok(majorities)
}
