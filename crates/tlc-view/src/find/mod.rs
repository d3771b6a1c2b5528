//! Samples that are worth a look, each kind by a rule that can be said in a sentence.
//!
//! All rules work on neighbours: in the space of the embeddings where the table still has them, otherwise in the map.

mod lists;
#[cfg(feature = "server")]
mod nearest;
mod over_epochs;
mod space;
mod within_table;

use serde::Serialize;
use tlc_core::{NumberRole, Progress};
use tlc_reduce::knn::DiskOptions;

use crate::{Scene, SceneLayout, Values, ViewError};

use lists::Lists;
#[cfg(feature = "server")]
pub(crate) use nearest::nearest;
#[cfg(feature = "server")]
pub(crate) use over_epochs::{step, tables_over_epochs};
pub(crate) use space::Space;
#[cfg(feature = "server")]
pub(crate) use space::why_no_embeddings;

/// Neighbours that vote.
pub(crate) const NEIGHBOURS: usize = 10;

/// A kind of sample to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finder {
    /// Labels that the neighbours do not share.
    Mislabelled,
    /// Between classes.
    Between,
    /// Far from everything.
    Outliers,
    /// In the midst of another class than the epoch before.
    Switched,
    /// The longest ways over the epochs.
    Movers,
    /// Nearly the same as another.
    Duplicates,
}

impl Finder {
    /// All of them.
    pub const ALL: [Finder; 6] =
        [Self::Mislabelled, Self::Between, Self::Outliers, Self::Switched, Self::Movers, Self::Duplicates];

    /// What commands and addresses call it.
    pub fn id(self) -> &'static str {
        match self {
            Self::Mislabelled => "mislabelled",
            Self::Between => "between",
            Self::Outliers => "outliers",
            Self::Switched => "switched",
            Self::Movers => "movers",
            Self::Duplicates => "duplicates",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Mislabelled => "Mislabelled suspects",
            Self::Between => "Between clusters",
            Self::Outliers => "Outliers",
            Self::Switched => "Changed cluster",
            Self::Movers => "Longest movers",
            Self::Duplicates => "Near duplicates",
        }
    }

    /// Its rule.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Mislabelled => {
                "The label differs from that of most of the 10 nearest neighbours; the more of them agree on another \
                 label, the higher the score."
            }
            Self::Between => {
                "The 10 nearest neighbours have different labels; the score is the entropy of their labels, 1 if all \
                 classes among them are equally frequent."
            }
            Self::Outliers => "The distance to the 10th nearest neighbour, as a multiple of the median of all samples.",
            Self::Switched => {
                "The class that most of the 10 nearest neighbours in the map have changed from one epoch to the next; the \
                 score is the number of changes, the latest first."
            }
            Self::Movers => "The length of the way through the map over all epochs, in units of the map's diameter.",
            Self::Duplicates => {
                "The nearest neighbour is much nearer than is usual; the score is the median distance to the nearest \
                 neighbour divided by this one."
            }
        }
    }

    /// Whether it needs tables of several epochs.
    pub fn needs_epochs(self) -> bool {
        matches!(self, Self::Switched | Self::Movers)
    }

    /// Whether it needs labels.
    pub fn needs_labels(self) -> bool {
        matches!(self, Self::Mislabelled | Self::Between | Self::Switched)
    }

    /// The finder that `id` names.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn named(id: &str) -> Result<Self, ViewError> {
        let known = || Self::ALL.map(Self::id).join(", ");
        let found = Self::ALL.into_iter().find(|finder| finder.id() == id);
        found.ok_or_else(|| ViewError::Unknown { what: "finder", name: id.to_owned(), known: known() })
    }

    /// Those that have what they need in `scene`.
    pub fn available(scene: &Scene) -> Vec<Finder> {
        let has_labels = scene.column_with_role(&NumberRole::Label).is_some();
        let has_epochs = scene.layouts.iter().any(|layout| {
            let of_one_dataset =
                |dataset| layout.tables.iter().filter(|&&t| scene.tables[t].dataset == dataset).count();
            (0..scene.datasets.len()).any(|dataset| of_one_dataset(dataset) > 1)
        });
        let has_needs =
            |finder: &Finder| (has_labels || !finder.needs_labels()) && (has_epochs || !finder.needs_epochs());
        Self::ALL.into_iter().filter(has_needs).collect()
    }
}

/// A sample that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Its place among the dataset's samples.
    #[serde(skip)]
    pub slot: usize,
    /// Its number.
    pub example_id: i64,
    /// How much the rule holds of it; lists are sorted by it, the highest first.
    pub score: f64,
    /// What was seen of it.
    pub why: String,
}

/// What a finder found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// The finder's title.
    pub title: &'static str,
    /// The finder's rule, and in which space neighbours were looked for.
    pub rule: String,
    /// The samples.
    pub rows: Vec<Found>,
}

/// Looks in `table`, a table of `layout`, and returns at most `limit` samples, the clearest first.
///
/// Neighbours among embeddings of more than 1 GiB are searched in files in the system's folder for temporary files, which
/// take as much as the embeddings; what is found then is nearly all, and the rule says how much. `tlc neighbours` writes
/// them as a table, where they are wanted more than once.
///
/// # Errors
/// A finder that needs labels or epochs where there are none; a table that is gone; cancellation.
pub fn find(
    scene: &Scene,
    finder: Finder,
    layout: &SceneLayout,
    table: usize,
    limit: usize,
    progress: &Progress,
) -> Result<Findings, ViewError> {
    find_with(scene, finder, layout, table, limit, &DiskOptions::default(), progress)
}

/// As [`find`], with options for the search in files: how much memory it takes, and where the files are.
///
/// # Errors
/// As [`find`].
pub fn find_with(
    scene: &Scene,
    finder: Finder,
    layout: &SceneLayout,
    table: usize,
    limit: usize,
    options: &DiskOptions,
    progress: &Progress,
) -> Result<Findings, ViewError> {
    if finder.needs_labels() && scene.column_with_role(&NumberRole::Label).is_none() {
        let reason = format!("{} needs labels, and it has no column with the role label", finder.title());
        return Err(ViewError::Unusable { url: scene.table(table)?.url().clone(), reason });
    }
    let (mut rows, space) = match finder {
        Finder::Movers => (over_epochs::movers(scene, layout, table, progress)?, None),
        Finder::Switched => (over_epochs::switched(scene, layout, table, progress)?, None),
        _ => {
            let lists = Lists::of(scene, layout, table, lists::IN_MEMORY_BYTES, options, progress)?;
            let rows = within_table::find(scene, finder, &lists, table, limit)?;
            (rows, Some(lists.name))
        }
    };
    keep_clearest(&mut rows, limit);
    let rule = match space {
        Some(space) => format!("{} Neighbours are those in {space}.", finder.rule()),
        None => finder.rule().to_owned(),
    };
    Ok(Findings { title: finder.title(), rule, rows })
}

/// Sorts, the clearest first, and lets the others go.
fn keep_clearest(rows: &mut Vec<Found>, limit: usize) {
    rows.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.slot.cmp(&b.slot)));
    rows.truncate(limit);
}

/// Labels by slot, as places among the classes, and the classes' names.
pub(crate) struct Labels {
    pub(crate) of_slot: Vec<Option<usize>>,
    pub(crate) names: Vec<String>,
}

impl Labels {
    pub(crate) fn of(scene: &Scene, table: usize) -> Result<Option<Self>, ViewError> {
        let Some(column) = scene.column_with_role(&NumberRole::Label) else { return Ok(None) };
        let Values::Category(values) = scene.values(column, table)? else { return Ok(None) };
        let of_slot = values.into_iter().map(|class| class.map(|class| class as usize)).collect();
        Ok(Some(Self { of_slot, names: column.classes.values().cloned().collect() }))
    }

    pub(crate) fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("?", String::as_str)
    }

    /// How often each class occurs among some slots, the most frequent first; ties by class.
    pub(crate) fn counts(&self, slots: impl Iterator<Item = usize>) -> Vec<(usize, usize)> {
        let mut counts = vec![0; self.names.len()];
        for class in slots.filter_map(|slot| self.of_slot[slot]) {
            counts[class] += 1;
        }
        let mut counts: Vec<(usize, usize)> = counts.into_iter().enumerate().filter(|(_, n)| *n > 0).collect();
        counts.sort_by_key(|&(class, n)| (std::cmp::Reverse(n), class));
        counts
    }
}

#[cfg(test)]
mod tests;
