//! The neighbours of one sample, batch by batch: nothing but the nearest is kept.

use arrow_array::Array as _;
use tlc_core::{Progress, Scan, embedding_values};

use super::space::{Vectors, embeddings_of};
use crate::{Scene, SceneLayout, ViewError};

/// Candidates beyond those that are wanted, before the farther ones are let go.
const SLACK: usize = 1024;

/// The neighbours of a sample in one space.
pub(crate) struct Nearest {
    /// Whether the space is that of the embeddings.
    pub(crate) is_embedding: bool,
    /// Distance and number of the nearest other samples, nearest first; `None` if the sample has no place.
    pub(crate) neighbours: Option<Vec<(f64, i64)>>,
}

/// The `k` nearest of a sample among the embeddings that the layout was made of, if they are wanted and still there, or
/// else in the map. Of equally near ones those with lower numbers.
pub(crate) fn nearest(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    example_id: i64,
    k: usize,
    wants_embeddings: bool,
    progress: &Progress,
) -> Result<Nearest, ViewError> {
    let of = scene.table(table)?;
    let embeddings = if wants_embeddings { embeddings_of(scene, layout, table)? } else { None };
    let is_embedding = embeddings.is_some();
    let vectors: Vec<Vectors<'_>> = match embeddings {
        Some(vectors) => vectors,
        None if layout.tables.contains(&table) => {
            let in_map = |part| Vectors { part, url: part.url.clone(), column: &layout.name };
            of.parts_with(&layout.name).map(in_map).collect()
        }
        None => {
            let known = format!("{:?}", layout.tables);
            return Err(ViewError::Unknown { what: "table with this layout", name: table.to_string(), known });
        }
    };
    let ids = &scene.datasets[of.dataset].example_ids;
    let slot = ids.binary_search(&example_id).ok();
    // Of several the last, whose place on the map is the one that is shown.
    let own = slot.and_then(|slot| vectors.iter().rev().find_map(|it| Some((slot, it, it.part.row(slot)?))));
    let Some((own_slot, Vectors { url, column, .. }, row)) = own else {
        return Ok(Nearest { is_embedding, neighbours: None });
    };
    let own = scene.store().take(url, &[row], Some(&[(*column).to_owned()]))?;
    let own_values = embedding_values(&own, column);
    let from = own_values.as_ref().filter(|_| own.column(0).is_valid(0)).map(|values| values.row(0));
    let Some(from) = from.filter(|from| from.iter().all(|x| x.is_finite())) else {
        return Ok(Nearest { is_embedding, neighbours: None });
    };
    let mut near: Vec<(f64, i64)> = Vec::new();
    let keep = |near: &mut Vec<(f64, i64)>| {
        if near.len() > k {
            near.select_nth_unstable_by(k, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            near.truncate(k);
        }
    };
    let task = progress.task("nearest samples", of.rows as u64);
    for (index, Vectors { part, url, column }) in vectors.iter().enumerate() {
        let mut first = 0;
        for batch in scene.store().scan(url, Scan::columns([*column]))? {
            let batch = batch?;
            let Some(values) = embedding_values(&batch, column).filter(|values| values.ncols() == from.len()) else {
                continue;
            };
            for (place, point) in values.outer_iter().enumerate() {
                let slot = part.slot(first + place);
                // A sample that several parts have is where the last of them puts it.
                let is_elsewhere = vectors[index + 1..].iter().any(|later| later.part.row(slot).is_some());
                if slot == own_slot || is_elsewhere || batch.column(0).is_null(place) {
                    continue;
                }
                let squared: f64 = from.iter().zip(point).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                if squared.is_finite() {
                    near.push((squared.sqrt(), ids[slot]));
                }
                if near.len() >= 2 * k + SLACK {
                    keep(&mut near);
                }
            }
            first += batch.num_rows();
            task.advance(batch.num_rows() as u64)?;
        }
    }
    keep(&mut near);
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    Ok(Nearest { is_embedding, neighbours: Some(near) })
}
