//! What can be wrong with a project, and how each is said.

use std::fmt;

use tlc_core::Url;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// Where.
    pub url: Url,
    /// Whether it was put right.
    pub is_repaired: bool,
    /// What was in the way of looking closer, or of putting it right.
    pub failure: Option<String>,
}

impl Finding {
    pub(super) fn new(url: Url, problem: Problem) -> Self {
        Self { problem, url, is_repaired: false, failure: None }
    }
}

/// What can be wrong with a project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A table that cannot be opened, or whose rows are not those that were written. Cannot be put right.
    DamagedTable(String),
    /// A table with a manifest that is torn or lost, while its rows are whole. Put right: by a copy, or where another
    /// program left a torn one, by setting that aside. Nothing is deleted.
    TornManifest(String),
    /// A model, which a table was made with, whose files are not those that were written. Cannot be put right.
    DamagedModel(String),
    /// A run whose record cannot be read. Cannot be put right.
    DamagedRun(String),
    /// A run lists something that is outside of the project, where it is not followed. Cannot be put right.
    Outside {
        /// The run.
        run: String,
    },
    /// A run lists a table that is not there. Put right: the entry gets the table's new place; it is removed if the table is
    /// nowhere in the project.
    MissingTable {
        /// The run.
        run: String,
    },
    /// A table that was replaced and was to be deleted. Put right: it is, if what took its place is whole and nothing else
    /// needs it.
    InterruptedDeletion {
        /// The run.
        run: String,
    },
    /// A table that was written for a run which does not list it. Put right: it is deleted.
    UnlistedTable,
    /// What a writer left that was killed before its table was whole. Put right: it is removed.
    UnfinishedTable,
    /// A model that no table was made with. Put right: it is removed.
    UnusedModel,
    /// What is finished of a reduction that was stopped; it goes on from there when it is asked for again. Put right: it
    /// is removed.
    InterruptedReduction,
    /// What a deletion (`x.lance.deleted-…`), or a write of a small object (`.run.json.deleted-…`, beside the one that it was
    /// to replace and did not), left that was killed; nothing else shows it. Put right: it is removed.
    Leftover,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedTable(reason) => {
                write!(f, "damaged: {reason}; restore it from a copy, or delete it with `tlc rm --force`")
            }
            Self::DamagedModel(reason) => {
                write!(f, "damaged: {reason}; restore it from a copy: new rows cannot be placed with it")
            }
            Self::TornManifest(reason) => f.write_str(reason),
            Self::DamagedRun(reason) => write!(f, "its record cannot be read: {reason}; restore run.json from a copy"),
            Self::MissingTable { run } => write!(f, "run {run:?} lists it, but it is not there"),
            Self::Outside { run } => write!(f, "run {run:?} lists it, but it is outside of the project"),
            Self::InterruptedDeletion { .. } => {
                f.write_str("was replaced and is to be deleted; the deletion was interrupted")
            }
            Self::UnlistedTable => f.write_str("was written for a run that does not list it; its writer was stopped"),
            Self::UnfinishedTable => f.write_str("no whole table; its writer, or its deletion, was stopped"),
            Self::UnusedModel => f.write_str("no table was made with this model; its writer was stopped"),
            Self::InterruptedReduction => f.write_str(
                "finished pieces of a reduction that was stopped; reduce again to go on, or remove them by a repair",
            ),
            Self::Leftover => f.write_str(
                "there for nobody, but it takes space; a deletion, or the write of a small file, was stopped",
            ),
        }
    }
}
