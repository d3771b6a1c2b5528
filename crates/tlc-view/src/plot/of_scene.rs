//! Plots of what a scene holds.

use ndarray::ArrayView1;

use super::{Placed, Scatter, Still, Window, class_color, number_color};
use crate::{Scene, SceneColumn, SceneLayout, Values, ViewError};

/// Shades of a column of numbers.
const N_SHADES: usize = 9;
const GREY: [u8; 3] = [0x99, 0x99, 0x99];

/// The window around a layout in all its tables, so that they can be compared; of three axes the first two.
pub fn window_of(layout: &SceneLayout) -> Window {
    let corners = [0, 1].map(|end| [layout.bounds[0][end], layout.bounds[1][end]]);
    Window::around(&corners)
}

/// A layout in one table, coloured by a column: a series per class, or per shade of numbers.
///
/// # Errors
/// A table that does not have the layout, or is gone.
pub fn scatter_of(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    column: Option<&SceneColumn>,
) -> Result<Scatter, ViewError> {
    Ok(still_of(scene, layout, table, column)?.scatter())
}

/// As [`scatter_of`], for a film: stills of the tables of one dataset have its samples in one order.
///
/// # Errors
/// As [`scatter_of`].
pub fn still_of(
    scene: &Scene,
    layout: &SceneLayout,
    table: usize,
    column: Option<&SceneColumn>,
) -> Result<Still, ViewError> {
    let coordinates = scene.coordinates(layout, table)?;
    let (groups, group_of) = match column {
        None => (vec![("all".to_owned(), GREY)], vec![Some(0); coordinates.nrows()]),
        Some(column) => groups(column, &scene.values(column, table)?),
    };
    let placed = |(point, group): (ArrayView1<'_, f32>, Option<usize>)| {
        let is_placed = point.iter().all(|x| x.is_finite());
        Some(Placed { point: [point[0], point[1]], series: group? }).filter(|_| is_placed)
    };
    let samples = coordinates.outer_iter().zip(group_of).map(placed).collect();
    let of = scene.table(table)?;
    let axes = if layout.n_components > 2 { ", first two of three axes" } else { "" };
    let is_beside = |other: &usize| *other != table && scene.tables[*other].dataset == of.dataset;
    let moment = match of.epoch {
        Some(epoch) => format!("epoch {epoch}"),
        // Its name tells it from the others.
        None if layout.tables.iter().any(is_beside) => of.name.clone(),
        None => String::new(),
    };
    let title = format!("{}{axes}: {}", layout.name, scene.datasets[of.dataset].name);
    Ok(Still { title, moment, series: groups, samples, window: window_of(layout) })
}

type Groups = (Vec<(String, [u8; 3])>, Vec<Option<usize>>);

/// Names and colours of a column's groups, and each slot's group.
fn groups(column: &SceneColumn, values: &Values) -> Groups {
    match values {
        Values::Category(values) => {
            let names = column.classes.values().enumerate().map(|(i, name)| (name.clone(), class_color(i))).collect();
            (names, values.iter().map(|class| class.map(|class| class as usize)).collect())
        }
        Values::Boolean(values) => {
            // The page's orange and blue.
            let names = [("no", class_color(4)), ("yes", class_color(0))];
            let names = names.map(|(answer, color)| (format!("{}: {answer}", column.name), color)).to_vec();
            (names, values.iter().map(|value| value.map(usize::from)).collect())
        }
        Values::Number(values) => {
            // Shades hold as many points each, so that a few extreme values do not take all the colours.
            let mut sorted: Vec<f32> = values.iter().copied().filter(|x| x.is_finite()).collect();
            sorted.sort_by(f32::total_cmp);
            let limit = |shade: usize| sorted[(shade * (sorted.len() - 1)) / N_SHADES];
            if sorted.is_empty() {
                return (Vec::new(), vec![None; values.len()]);
            }
            let mut limits: Vec<f32> = (0..=N_SHADES).map(limit).collect();
            limits.dedup();
            let n = limits.len().max(2) - 1;
            let name = |shade: usize| match limits.get(shade + 1) {
                Some(to) => format!("{:.3} to {to:.3}", limits[shade]),
                None => format!("{:.3}", limits[shade]),
            };
            let names = (0..n).map(|shade| (name(shade), number_color(shade as f32 / (n.max(2) - 1) as f32))).collect();
            let shade = |x: &f32| {
                x.is_finite().then(|| limits.partition_point(|limit| limit <= x).saturating_sub(1).min(n - 1))
            };
            (names, values.iter().map(shade).collect())
        }
        Values::Text(values) => (vec![("all".to_owned(), GREY)], vec![Some(0); values.len()]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow_schema::DataType;

    use super::*;
    use crate::{ColumnKind, Scope};

    #[test]
    fn answers_have_the_colours_of_the_page() {
        let column = SceneColumn {
            name: "correct".to_owned(),
            kind: ColumnKind::Boolean,
            role: None,
            classes: BTreeMap::new(),
            data_type: DataType::Boolean,
            scope: Scope::Table,
        };
        let (names, of_slots) = groups(&column, &Values::Boolean(vec![Some(true), None, Some(false)]));
        assert_eq!(names[0], ("correct: no".to_owned(), [213, 94, 0]));
        assert_eq!(names[1], ("correct: yes".to_owned(), [0, 114, 178]));
        assert_eq!(of_slots, [Some(1), None, Some(0)]);
    }
}
