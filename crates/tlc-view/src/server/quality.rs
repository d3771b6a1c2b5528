//! How good a map is: what is near in the embeddings beside what is near in the map.

use serde_json::{Value, json};
use tlc_core::{Progress, ReduceError};
use tlc_reduce::quality::{Measure, QualityOptions, QualityReport, label_accuracy, report};

use crate::find::{Labels, NEIGHBOURS, Space, why_no_embeddings};
use crate::{Scene, SceneLayout, ViewError};

/// Rows that are ranked against all: enough for two digits, and soon done.
const QUERIES: usize = 500;
const LABEL_ACCURACY: &str = "accuracy of neighbours' labels";

/// The report on a layout in one table: all of it where the embeddings are still there, the accuracy of labels otherwise.
pub(crate) fn quality(scene: &Scene, layout: usize, table: usize, progress: &Progress) -> Result<Value, ViewError> {
    let of = &scene.layouts[layout];
    let labels = Labels::of(scene, table)?;
    let answer = |space: Option<&str>, note: Option<&str>, lines: Vec<Value>| json!({ "layout": layout, "table": table, "space": space, "note": note, "lines": lines });
    let Some(embeddings) = Space::of_embeddings(scene, of, table)? else {
        let note = format!("{}, so that the map cannot be compared with them.", why_no_embeddings(of));
        let lines = accuracy(scene, layout, table, labels.as_ref(), progress)?;
        return Ok(answer(None, Some(&note), lines));
    };
    let map = scene.coordinates(of, table)?.select(ndarray::Axis(0), &embeddings.slots);
    let classes: Option<Vec<i64>> = labels.as_ref().and_then(|labels| {
        // A class for each, or the accuracy would be about others than the rest of the report.
        embeddings.slots.iter().map(|&slot| labels.of_slot[slot].map(|class| class as i64)).collect()
    });
    let found = report(embeddings.points.view(), map.view(), &options(classes.as_deref()), progress).map_err(failed)?;
    Ok(answer(Some("embedding"), None, lines(&found)))
}

fn failed(error: ReduceError) -> ViewError {
    match error {
        ReduceError::Cancelled(cancelled) => ViewError::Cancelled(cancelled),
        source => ViewError::Neighbours { source },
    }
}

fn lines(report: &QualityReport) -> Vec<Value> {
    let named = |name: &'static str| move |measure: &Measure| line(name, measure, "rows");
    let mut lines: Vec<Value> = report.trustworthiness.iter().map(named("trustworthiness")).collect();
    lines.extend(report.continuity.iter().map(named("continuity")));
    lines.extend(report.neighbour_preservation.iter().map(named("kept neighbours")));
    lines.push(line("random triplet accuracy", &report.random_triplet_accuracy, "triplets"));
    lines.push(line("distance correlation", &report.distance_correlation, "pairs"));
    lines.extend(report.label_accuracy.iter().map(named(LABEL_ACCURACY)));
    lines
}

fn line(name: &str, measure: &Measure, unit: &str) -> Value {
    let name = measure.k.map_or_else(|| name.to_owned(), |k| format!("{name}, {k} neighbours"));
    let of = of_what(measure, unit);
    json!({ "name": name, "value": measure.value, "standard_error": measure.standard_error, "of": of })
}

fn accuracy(
    scene: &Scene,
    layout: usize,
    table: usize,
    labels: Option<&Labels>,
    progress: &Progress,
) -> Result<Vec<Value>, ViewError> {
    let Some(labels) = labels else { return Ok(Vec::new()) };
    let found = accuracy_in_map(scene, &scene.layouts[layout], table, labels, progress)?;
    Ok(found.iter().map(|measure| line(LABEL_ACCURACY, measure, "rows")).collect())
}

/// What a number is of: all or a sample.
pub(crate) fn of_what(measure: &Measure, unit: &str) -> String {
    format!("{} {} {unit}", if measure.exact { "all" } else { "a sample of" }, measure.sample)
}

/// The share of labelled samples whose label is that of their neighbours in the map, of a sample if they are many; `None`
/// if they are too few.
pub(crate) fn accuracy_in_map(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    labels: &Labels,
    progress: &Progress,
) -> Result<Option<Measure>, ViewError> {
    let space = Space::of_map(scene, layout, table)?;
    let labelled = |&row: &usize| labels.of_slot[space.slots[row]].map(|class| (row, class as i64));
    let (rows, classes): (Vec<usize>, Vec<i64>) = (0..space.slots.len()).filter_map(|row| labelled(&row)).unzip();
    if rows.len() <= NEIGHBOURS {
        return Ok(None);
    }
    let points = space.points.select(ndarray::Axis(0), &rows);
    label_accuracy(points.view(), &options(Some(&classes)), progress).map_err(failed)
}

fn options(labels: Option<&[i64]>) -> QualityOptions<'_> {
    QualityOptions {
        labels,
        label_k: NEIGHBOURS,
        exact_up_to: 2 * QUERIES,
        queries: QUERIES,
        layout_queries: 4 * QUERIES,
        preservation_k: vec![15, 50],
        ..QualityOptions::default()
    }
}
