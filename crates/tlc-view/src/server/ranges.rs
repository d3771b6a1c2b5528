//! Least and largest values of columns of numbers, so that colours mean the same in all epochs.

use std::collections::{BTreeMap, BTreeSet};

use tlc_core::Progress;

use crate::scene::at_once;
use crate::{ColumnKind, Scene, SceneColumn, Scope, Values, ViewError};

/// Least and largest finite values of columns of numbers, over all tables, by column.
pub(crate) type Ranges = BTreeMap<String, [f32; 2]>;

/// The ranges of a scene's columns: all tables are read, so the page asks for them once it has drawn. What was deleted
/// meanwhile has no values.
pub(crate) fn ranges(scene: &Scene, progress: &Progress) -> Result<Ranges, ViewError> {
    let mut parts = Vec::new();
    for column in scene.columns.iter().filter(|column| column.kind == ColumnKind::Number) {
        let mut seen = BTreeSet::new();
        // The same in all tables of a dataset.
        let mut is_new = |table: usize| column.scope == Scope::Table || seen.insert(scene.tables[table].dataset);
        parts.extend((0..scene.tables.len()).filter(|&table| is_new(table)).map(|table| (column, table)));
    }
    let found = at_once(&parts, |(column, table)| {
        progress.check()?;
        range(scene, column, *table)
    });
    let mut ranges = Ranges::new();
    for ((column, _), range) in parts.iter().zip(found) {
        let Some([low, high]) = range? else { continue };
        let range = ranges.entry(column.name.clone()).or_insert([low, high]);
        *range = [range[0].min(low), range[1].max(high)];
    }
    Ok(ranges)
}

/// Least and largest finite value of a column in a table, if it has one.
fn range(scene: &Scene, column: &SceneColumn, table: usize) -> Result<Option<[f32; 2]>, ViewError> {
    let values = match scene.values(column, table) {
        Ok(Values::Number(values)) => values,
        Ok(_) => return Ok(None),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let finite = || values.iter().copied().filter(|x| x.is_finite());
    Ok(finite().reduce(f32::min).zip(finite().reduce(f32::max)).map(<[f32; 2]>::from))
}
