//! Where neighbours are looked for.

use arrow_array::Array as _;
use ndarray::Array2;
use tlc_core::{Progress, ReduceError, Scan, StoreError, Url, embedding_values, embedding_width};
use tlc_reduce::knn::{Index, KnnMethod, Neighbours};

use crate::{Scene, SceneLayout, TablePart, ViewError};

/// A stored column of vectors, and the part of a table whose rows, in whose order, it is of.
pub(super) struct Vectors<'a> {
    pub(super) part: &'a TablePart,
    pub(super) url: Url,
    pub(super) column: &'a str,
}

/// The embeddings that the layout was made of in a table, if they are still there for all of its parts: in the part
/// itself or in the table that it was reduced from, which has its rows in their order.
pub(super) fn embeddings_of<'a>(
    scene: &'a Scene,
    layout: &'a SceneLayout,
    table: usize,
) -> Result<Option<Vec<Vectors<'a>>>, ViewError> {
    let Some(column) = layout.source.as_deref() else { return Ok(None) };
    let mut found: Vec<Vectors<'a>> = Vec::new();
    for part in scene.table(table)?.parts_with(&layout.name) {
        let Some(url) = embeddings_of_part(scene, part, column)? else { return Ok(None) };
        // What was reduced twice is there once.
        if found.iter().all(|known| known.url != url) {
            found.push(Vectors { part, url, column });
        }
    }
    Ok(Some(found).filter(|found| !found.is_empty()))
}

fn embeddings_of_part(scene: &Scene, part: &TablePart, column: &str) -> Result<Option<Url>, ViewError> {
    for url in std::iter::once(&part.url).chain(&part.reduced_from) {
        match scene.store().info(url) {
            Ok(info) if info.schema.field_with_name(column).is_ok_and(|field| embedding_width(field).is_some()) => {
                return Ok(Some(url.clone()));
            }
            Ok(_) => {}
            Err(StoreError::NotFound { .. }) if *url != part.url => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Why a layout cannot be compared with embeddings in a table that has none.
#[cfg(feature = "server")]
pub(crate) fn why_no_embeddings(layout: &SceneLayout) -> &'static str {
    match layout.source {
        Some(_) => "The embeddings that the map was made of are not there any more",
        None => "The table has coordinates only, and no embeddings that they were made of",
    }
}

/// The samples of a table that have a place, and where.
pub(crate) struct Space {
    /// As rules name it.
    pub(crate) name: String,
    /// For each row of `points` its slot.
    pub(crate) slots: Vec<usize>,
    /// `(n, d)`, finite.
    pub(crate) points: Array2<f32>,
}

impl Space {
    /// The embeddings that the layout was made of, if the table still has them, or else the map.
    pub(crate) fn of(scene: &Scene, layout: &SceneLayout, table: usize) -> Result<Self, ViewError> {
        match Self::of_embeddings(scene, layout, table)? {
            Some(space) => Ok(space),
            None => Self::of_map(scene, layout, table),
        }
    }

    pub(crate) fn of_map(scene: &Scene, layout: &SceneLayout, table: usize) -> Result<Self, ViewError> {
        let coordinates = scene.coordinates(layout, table)?;
        Ok(Self::new(format!("the map {}", layout.name), coordinates))
    }

    pub(crate) fn of_embeddings(scene: &Scene, layout: &SceneLayout, table: usize) -> Result<Option<Self>, ViewError> {
        let Some(vectors) = embeddings_of(scene, layout, table)? else { return Ok(None) };
        let n = scene.datasets[scene.table(table)?.dataset].example_ids.len();
        let mut all: Option<Array2<f32>> = None;
        for Vectors { part, url, column } in &vectors {
            let mut row = 0;
            for batch in scene.store().scan(url, Scan::columns([*column]))? {
                let batch = batch?;
                let Some(values) = embedding_values(&batch, column) else { return Ok(None) };
                let all = all.get_or_insert_with(|| Array2::from_elem((n, values.ncols()), f32::NAN));
                if values.ncols() != all.ncols() {
                    return Ok(None);
                }
                let is_valid = |place: usize| batch.column(0).is_valid(place);
                for (place, point) in values.outer_iter().enumerate().filter(|(place, _)| is_valid(*place)) {
                    all.row_mut(part.slot(row + place)).assign(&point);
                }
                row += batch.num_rows();
            }
        }
        let name = layout.source.as_deref().unwrap_or_default();
        Ok(all.map(|all| Self::new(format!("the embeddings {name}"), all)))
    }

    fn new(name: String, all: Array2<f32>) -> Self {
        let has_place = |slot: &usize| all.row(*slot).iter().all(|x| x.is_finite());
        let slots: Vec<usize> = (0..all.nrows()).filter(has_place).collect();
        let points = if slots.len() == all.nrows() { all } else { all.select(ndarray::Axis(0), &slots) };
        Self { name, slots, points }
    }

    /// The nearest other samples of each, at most `k` of them; `None` if there are none.
    pub(crate) fn neighbours(&self, k: usize, progress: &Progress) -> Result<Option<Neighbours>, ViewError> {
        let k = k.min(self.slots.len().saturating_sub(1));
        if k == 0 {
            return Ok(None);
        }
        let failed = |error: ReduceError| match error {
            ReduceError::Cancelled(cancelled) => ViewError::Cancelled(cancelled),
            error => ViewError::Neighbours { source: error },
        };
        let index = Index::build(self.points.clone(), KnnMethod::Auto, progress).map_err(failed)?;
        Ok(Some(index.graph(k, progress).map_err(failed)?))
    }
}
