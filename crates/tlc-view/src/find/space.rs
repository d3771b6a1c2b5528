//! Where neighbours are looked for.

use arrow_array::Array as _;
use ndarray::Array2;
use tlc_core::{Progress, ReduceError, Scan, StoreError, Url, embedding_values, embedding_width};
use tlc_reduce::knn::{Index, KnnMethod, Neighbours};

use crate::{Scene, SceneLayout, ViewError};

/// The table with the embeddings that the layout was made of, and their column, if they are still there: in the table
/// itself or in that it was reduced from, which has its rows in their order.
pub(super) fn embeddings_of<'a>(
    scene: &Scene,
    layout: &'a SceneLayout,
    table: usize,
) -> Result<Option<(Url, &'a str)>, ViewError> {
    let Some(source) = &layout.source else { return Ok(None) };
    let of = scene.table(table)?;
    for url in std::iter::once(&of.url).chain(&of.reduced_from) {
        match scene.store().info(url) {
            Ok(info) if info.schema.field_with_name(source).is_ok_and(|field| embedding_width(field).is_some()) => {
                return Ok(Some((url.clone(), source)));
            }
            Ok(_) => {}
            Err(StoreError::NotFound { .. }) if *url != of.url => {}
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
        let Some((url, source)) = embeddings_of(scene, layout, table)? else { return Ok(None) };
        let of = scene.table(table)?;
        let batches = scene.store().scan(&url, Scan::columns([source]))?;
        let n = scene.datasets[of.dataset].example_ids.len();
        let mut all: Option<Array2<f32>> = None;
        let mut row = 0;
        for batch in batches {
            let batch = batch?;
            let Some(values) = embedding_values(&batch, source) else { return Ok(None) };
            let all = all.get_or_insert_with(|| Array2::from_elem((n, values.ncols()), f32::NAN));
            for (place, point) in values.outer_iter().enumerate().filter(|(place, _)| batch.column(0).is_valid(*place))
            {
                all.row_mut(of.slot(row + place)).assign(&point);
            }
            row += batch.num_rows();
        }
        Ok(all.map(|all| Self::new(format!("the embeddings {source}"), all)))
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
