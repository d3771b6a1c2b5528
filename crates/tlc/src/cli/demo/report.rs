//! What the reduced tables say, epoch by epoch.

use anyhow::{Context, bail};
use tlc::core::{NumberRole, Progress};
use tlc::reduce::quality::{knn_accuracy, knn_accuracy_of_others};
use tlc::view::{Scene, SceneColumn, SceneLayout, Values};

const NEIGHBOURS: usize = 10;
/// The dataset among whose rows those of others look for neighbours.
const TRAIN: &str = "train";

/// Prints accuracy and loss, and for each layout, in the order of the layers, the accuracy of a 10-nearest-neighbour vote
/// in the map: for training rows among the others, for validation rows among the training rows.
pub(super) fn print(scene: &Scene, layers: &[usize], method: &str, progress: &Progress) -> anyhow::Result<()> {
    let labels = scene.column_with_role(&NumberRole::Label).context("the run's tables have no labels")?;
    let mut layouts: Vec<&SceneLayout> = scene.layouts.iter().collect();
    let rank = |layout: &&SceneLayout| {
        layers.iter().position(|layer| layout.name.starts_with(&format!("embeddings_{layer}_{method}")))
    };
    layouts.sort_by_key(rank);
    let header: String = layouts.iter().map(|layout| format!("  {}", layout.name)).collect();
    say!("\n{NEIGHBOURS}-NN accuracy in the maps, beside the model's own accuracy and loss:");
    say!("epoch split accuracy   loss{header}");
    let split_of = |table: usize| scene.datasets[scene.tables[table].dataset].name.as_str();
    for (index, table) in scene.tables.iter().enumerate() {
        let is_train = |&other: &usize| scene.tables[other].epoch == table.epoch && split_of(other) == TRAIN;
        let train = (0..scene.tables.len()).find(is_train).filter(|&train| train != index);
        let (epoch, split) = (table.epoch.unwrap_or_default(), split_of(index));
        let mean = |name: &str| table.means.get(name).copied().unwrap_or(f64::NAN);
        let mut line = format!("{epoch:>5} {split:<5} {:>8.3} {:>6.3}", mean("correct"), mean("loss"));
        let own = classes(scene, labels, index)?;
        for layout in &layouts {
            let map = scene.coordinates(layout, index)?;
            let accuracy = match train {
                Some(train) => {
                    let (known, of_known) = (scene.coordinates(layout, train)?, classes(scene, labels, train)?);
                    knn_accuracy_of_others(known.view(), &of_known, map.view(), &own, NEIGHBOURS, progress)?
                }
                None => knn_accuracy(map.view(), &own, NEIGHBOURS, progress)?,
            };
            line += &format!("  {accuracy:>width$.3}", width = layout.name.len());
        }
        say!("{line}");
    }
    Ok(())
}

/// The classes of a table's samples.
fn classes(scene: &Scene, labels: &SceneColumn, table: usize) -> anyhow::Result<Vec<i64>> {
    let Values::Category(values) = scene.values(labels, table)? else { bail!("{:?} holds no classes", labels.name) };
    values.into_iter().map(|class| class.map(i64::from).context("a sample has no label")).collect()
}
