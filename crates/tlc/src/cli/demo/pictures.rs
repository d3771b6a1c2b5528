//! Scatter plots of every table, on the same axes over epochs.

use std::path::{Path, PathBuf};

use tlc::core::{NumberRole, Progress};
use tlc::view::{Scene, SceneLayout};

use crate::cli::plot::{draw, write_sheet};

/// Writes a PNG and an SVG per table and layer, and the contact sheet, whose path it returns.
pub(super) fn write(scene: &Scene, folder: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
    let labels = scene.column_with_role(&NumberRole::Label);
    let rows = draw(scene, &layouts_to_draw(scene), labels, folder, |_, _, _| Ok(()), progress)?;
    // Not the run's name: the same seed gives the same picture.
    write_sheet(folder, "from epoch to epoch, each row on the same axes", &rows)
}

/// One layout per layer: the one of two components, or else the first two axes of three.
fn layouts_to_draw(scene: &Scene) -> Vec<&SceneLayout> {
    let flat: Vec<&SceneLayout> = scene.layouts.iter().filter(|layout| layout.n_components == 2).collect();
    if flat.is_empty() { scene.layouts.iter().collect() } else { flat }
}
