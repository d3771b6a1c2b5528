//! Scatter plots of every table, on the same axes over epochs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tlc::core::Progress;
use tlc::view::plot::{Scatter, Series, Window, class_color, write_contact_sheet};

use super::report::EpochMap;

/// Writes a PNG and an SVG per table and layer, and the contact sheet, whose path it returns.
pub(super) fn write(
    folder: &Path,
    maps: &[EpochMap],
    classes: &[String],
    progress: &Progress,
) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let columns = columns_to_draw(maps);
    let task = progress.task("draw", (maps.len() * columns.len()) as u64);
    let mut sheet = Vec::new();
    for column in &columns {
        let points = maps.iter().flat_map(|map| map.layout(column).outer_iter().map(|row| [row[0], row[1]]));
        let points: Vec<[f32; 2]> = points.collect();
        let window = Window::around(&points);
        for split in ["train", "val"] {
            let mut row = Vec::new();
            for map in maps.iter().filter(|map| map.split == split) {
                let plot = scatter(map, column, classes, window);
                let file = folder.join(format!("{}-{column}", map.table));
                plot.write_svg(&file.with_extension("svg"))?;
                plot.write_png(&file.with_extension("png"))?;
                row.push(plot);
                task.advance(1)?;
            }
            sheet.push(row);
        }
    }
    let path = folder.join("contact-sheet.png");
    write_contact_sheet(&path, "from epoch to epoch, each row on the same axes", &sheet)?;
    Ok(path)
}

/// One column per layer: the one of two components, or else the first two axes of three.
fn columns_to_draw(maps: &[EpochMap]) -> Vec<String> {
    let Some(first) = maps.first() else { return Vec::new() };
    let flat: Vec<String> =
        first.layouts.iter().filter(|(_, layout)| layout.ncols() == 2).map(|(column, _)| column.clone()).collect();
    if flat.is_empty() { first.layouts.iter().map(|(column, _)| column.clone()).collect() } else { flat }
}

fn scatter(map: &EpochMap, column: &str, classes: &[String], window: Window) -> Scatter {
    let layout = map.layout(column);
    let series = classes.iter().enumerate().map(|(class, name)| Series {
        name: name.clone(),
        color: class_color(class),
        points: layout
            .outer_iter()
            .zip(&map.labels)
            .filter(|(_, label)| **label == class as i64)
            .map(|(row, _)| [row[0], row[1]])
            .collect(),
    });
    let axes = if layout.ncols() > 2 { ", first two of three axes" } else { "" };
    Scatter { title: format!("{column}{axes}: {}, epoch {}", map.split, map.epoch), series: series.collect(), window }
}
