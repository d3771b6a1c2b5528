//! Reduction of tables: fit on one, apply to the others.
//!
//! [`Run`](crate::Run)'s methods reduce the tables of a run and replace them in its record (`run.rs`); the free
//! functions reduce any tables (`tables.rs`). Both put tables together that share a model (`streams.rs`), fit it
//! (`fit.rs`), to all rows or to a sample (`sample.rs`), and apply it (`apply.rs`), going on where an interrupted
//! reduction ended (`pieces.rs`).

mod apply;
mod fit;
mod pieces;
mod replay;
mod run;
mod sample;
mod source;
mod streams;
mod tables;

use tlc_core::{Reducer, Url};

use self::fit::TakenNames;
use crate::RunError;

pub(crate) use fit::check_model;
pub(crate) use pieces::{Interrupted, PIECES_SUFFIX};
pub use sample::{FitRows, FitSize};
pub use tables::{
    reduce_embeddings, reduce_embeddings_by_foreign_table_url, reduce_embeddings_multiple_parameters,
    reduce_embeddings_per_dataset, reduce_embeddings_with_producer_consumer, reductions_among, reductions_of,
};

/// A reducer, and the name of the column it makes.
#[derive(Debug, Clone)]
pub struct Reduction {
    /// The method with its parameters.
    pub reducer: Box<dyn Reducer>,
    /// The new column's name. Default `{source}_{method}`, for example `embeddings_90_pacmap`; if
    /// several reductions use one method, `{source}_{method}_{n}d`. Where that name was given to other parameters
    /// before, in the run or among what was made of the same table, it is told apart by the components if they differ,
    /// or by a number: `embeddings_90_pacmap_3d`, `embeddings_90_pacmap_2`. The same parameters get the same name again.
    pub target_embedding_column: Option<String>,
}

impl From<Box<dyn Reducer>> for Reduction {
    fn from(reducer: Box<dyn Reducer>) -> Self {
        Self { reducer, target_embedding_column: None }
    }
}

/// How tables are reduced.
#[derive(Debug, Clone)]
pub struct ReduceOptions {
    /// What to make of each embedding column; at least one.
    pub reductions: Vec<Reduction>,
    /// The columns to reduce. Default: all with the role `nn_embedding`. A column that is named needs
    /// no role.
    pub source_embedding_columns: Option<Vec<String>>,
    /// Whether the reduced tables keep the embeddings. Default false.
    pub retain_source_embedding_column: bool,
    /// Whether the source tables are deleted once all reduced tables are written and verified; those that something
    /// else needs stay, with a warning. Default: the methods of a run delete, the functions on tables do not.
    pub delete_source_tables: Option<bool>,
    /// Whether a column `{target}_ood` says how far each row is from those that were fitted. Default: yes, unless a
    /// table of which all rows are fitted is reduced by itself: they would have the score 0.
    pub out_of_distribution_column: Option<bool>,
    /// The table to fit on. Default: the most recently written one. Only where one model is made.
    pub fit_table: Option<Url>,
    /// Which rows of that table are fitted. Default: all up to 1 GiB of embeddings, a seeded sample of larger tables.
    /// The lineage of the reduced tables states the sample.
    pub fit_rows: FitRows,
    /// After how many rows what was computed is kept, so that a reduction that was killed or stopped goes on from
    /// there when it is asked for again. Default: every 262,144 rows of tables with 1 GiB of embeddings or more, not at
    /// all for smaller ones. The result does not depend on it.
    pub piece_rows: Option<u64>,
}

impl ReduceOptions {
    /// The defaults, with these reductions.
    pub fn new(reductions: impl IntoIterator<Item = impl Into<Reduction>>) -> Self {
        Self {
            reductions: reductions.into_iter().map(Into::into).collect(),
            source_embedding_columns: None,
            retain_source_embedding_column: false,
            delete_source_tables: None,
            out_of_distribution_column: None,
            fit_table: None,
            fit_rows: FitRows::default(),
            piece_rows: None,
        }
    }

    /// Refuses a table to fit on where it has no meaning.
    fn refuse_fit_table(&self, why: &str) -> Result<(), RunError> {
        match &self.fit_table {
            None => Ok(()),
            Some(url) => Err(RunError::Options { reason: format!("fit_table names {url}, but {why}") }),
        }
    }

    /// The name of each reduction's column made from `source`.
    fn targets(&self, source: &str, taken: &TakenNames) -> Result<Vec<String>, RunError> {
        let method = |reduction: &Reduction| reduction.reducer.method();
        let targets: Vec<String> = self
            .reductions
            .iter()
            .map(|reduction| {
                let alone = self.reductions.iter().filter(|other| method(other) == method(reduction)).count() == 1;
                let name = match &reduction.target_embedding_column {
                    Some(target) => return target.clone(),
                    None if alone => format!("{source}_{}", method(reduction)),
                    None => format!("{source}_{}_{}d", method(reduction), reduction.reducer.n_components()),
                };
                taken.free(&name, source, reduction.reducer.as_ref())
            })
            .collect();
        match targets.iter().enumerate().find(|(i, target)| targets[..*i].contains(target)) {
            None => Ok(targets),
            Some((_, target)) => Err(RunError::Options {
                reason: format!("two reductions would make the column {target:?}; give them target_embedding_column"),
            }),
        }
    }
}

/// Which reduced table was made from which source table, in the run's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlMapping(Vec<(Url, Url)>);

impl UrlMapping {
    /// The reduced table made from `source`.
    pub fn get(&self, source: &Url) -> Option<&Url> {
        self.0.iter().find(|(from, _)| from == source).map(|(_, to)| to)
    }

    /// Source and reduced table, in the run's order.
    pub fn iter(&self) -> impl Iterator<Item = (&Url, &Url)> {
        self.0.iter().map(|(from, to)| (from, to))
    }

    /// The number of reduced tables.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no table was reduced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod scale_tests;
#[cfg(test)]
mod tests;
