//! Applying a fitted model to a whole table: one plan, run by this process or by a cluster, and one commit.

mod form;
mod lineage;
mod place;

use std::time::Duration;

use datafusion::physical_plan::ExecutionPlanProperties;
use tlc_core::ulid::Ulid;
use tlc_core::{Progress, StoreError, TableInfo, TableStore, Url};
use tlc_table::TableInParts;

use crate::plan::parts_in_order;
use crate::{ClusterError, models};
use form::Form;
use place::Place;

/// Which model is applied to which table.
///
/// ```no_run
/// # use tlc_cluster::{Apply, Where};
/// # use tlc_core::Progress;
/// let job = Apply::new(
///     "s3://bucket/project/models/embeddings_pacmap-01J".parse()?,
///     "s3://bucket/project/datasets/all/initial-01J.lance".parse()?,
///     "s3://bucket/project/datasets/all/reduced.lance".parse()?,
/// );
/// let table = job.run(&Where::Here, &Progress::default())?;
/// println!("{}: {} rows", table.url, table.rows);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Apply {
    /// The folder of the fitted model.
    pub model: Url,
    /// The table whose rows are placed.
    pub table: Url,
    /// The table that is made.
    pub out: Url,
    /// The column of vectors. Default: the only one with the role `nn_embedding` that has the model's width.
    pub column: Option<String>,
    /// The new column's name. Default `{column}_{method}`.
    pub target: Option<String>,
    /// Whether the new table keeps the vectors. Default false.
    pub keep_embeddings: bool,
    /// The project, relative to which lineage names what lies inside, so that projects can be moved, and its aliases.
    pub project: Option<tlc_core::Places>,
    /// Rows per task, at least 1. Default 250,000: some hundred tasks for as many million rows, seconds to repeat one.
    pub rows_per_task: u64,
    /// How long a cluster may take until one more task is done: longer than a task takes, and than it takes to notice
    /// that an executor is lost. Then the job is submitted again, three times in a row at most. Default 5 minutes.
    pub patience: Duration,
}

/// Where a job runs.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Where {
    /// In this process, task after task; each uses all cores.
    #[default]
    Here,
    /// On a cluster of `tlc cluster` processes.
    #[cfg(feature = "ballista")]
    Cluster(crate::ClusterAddress),
}

impl Apply {
    /// The defaults.
    pub fn new(model: Url, table: Url, out: Url) -> Self {
        Self {
            model,
            table,
            out,
            column: None,
            target: None,
            keep_embeddings: false,
            project: None,
            rows_per_task: 250_000,
            patience: Duration::from_secs(300),
        }
    }

    /// Makes the table. It gets the columns of the source, the coordinates, and `{target}_ood`: how far each row is
    /// from those that were fitted. Rows keep their order. The result does not depend on where the job runs, to the bit
    /// among processors of one family: of others BLAS chooses other kernels, which round differently.
    ///
    /// Tasks read only the columns they need, so the source is not compared with its digest; that it is the same table
    /// is checked by each.
    ///
    /// A job that was killed, or failed when parts of the table were written, goes on with them when it is run again: the
    /// same model, source, columns and rows per task, by the same version of tlc. That holds also while another process
    /// runs it: both work on the same parts, and one of them makes the table.
    ///
    /// # Errors
    /// A model that cannot be loaded, or does not fit the table; a table that is there already, is being written by
    /// another job, or was made meanwhile by another process with this one; a source that changes meanwhile; a cluster that
    /// cannot be reached, is of another version, gives up or does not go on; cancellation, which cancels the job on the
    /// cluster, too. Then nothing of the new table is visible. Parts stay only after [`ClusterError::Stopped`], and where
    /// another process has run the same job.
    pub fn run(&self, place: &Where, progress: &Progress) -> Result<TableInfo, ClusterError> {
        if !self.out.file_name().ends_with(".lance") {
            let reason = "the name of a table ends in .lance, by which projects find it".to_owned();
            return Err(StoreError::Unsupported { url: self.out.clone(), reason }.into());
        }
        let prepared = self.prepared()?;
        let place = Place::of(place)?;
        let table = models::store().begin_parts(&self.out, prepared.key)?;
        match self.make(&prepared, &place, &table, progress) {
            Ok(made) => Ok(made),
            Err(error) => Err(self.ended(error, prepared.key, table)),
        }
    }

    fn prepared(&self) -> Result<Prepared, ClusterError> {
        let digest = models::digest_of(&self.model)?;
        let fitted = models::model(&self.model, &digest)?;
        let source = models::store().info(&self.table)?;
        let form = Form::of(self, &source, fitted.as_ref(), &digest)?;
        let key = form.key(self, &source, &digest)?;
        Ok(Prepared { digest, source, form, key })
    }

    fn make(
        &self,
        prepared: &Prepared,
        place: &Place,
        table: &TableInParts,
        progress: &Progress,
    ) -> Result<TableInfo, ClusterError> {
        let Prepared { digest, source, form, .. } = prepared;
        let n_found = table.kept_parts()?.len();
        if n_found > 0 {
            tracing::info!(table = %self.out, parts = n_found, "goes on where an earlier job ended");
        }
        let plan = form.plan(self, source, digest, table.key())?;
        let n_tasks = plan.output_partitioning().partition_count();
        if n_tasks > 0 {
            place.run(self, plan, table, source.rows, progress)?;
        }
        let parts = parts_in_order(&self.out, table.key(), n_tasks)?;
        Ok(table.commit(&form.schema, parts, progress)?)
    }

    /// What is said of a job that did not make its table. Its parts stay if the same job can go on with them; who
    /// wanted to stop wants nothing to be left.
    fn ended(&self, error: ClusterError, key: Ulid, table: TableInParts) -> ClusterError {
        if !error.is_cancelled() {
            if matches!(error, ClusterError::Store(StoreError::NotFlushed { .. })) {
                return error;
            }
            // Another process that ran the same job was faster, which tasks notice in many ways.
            if models::store().info(&self.out).is_ok() {
                return StoreError::exists(&self.out).into();
            }
            let has_parts = table.kept_parts().map_or(true, |parts| !parts.is_empty());
            if has_parts && self.is_still(key) {
                return ClusterError::Stopped { url: self.out.clone(), source: Box::new(error) };
            }
        }
        match table.give_up() {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                table = %self.out,
                "its parts stay, since another process has run the same job, which can go on with them; `tlc doctor --repair` \
                 removes them when nobody has written there for an hour"
            ),
            Err(error) => tracing::warn!(
                table = %self.out,
                %error,
                "cannot remove an unfinished table; it takes space until `tlc doctor --repair`"
            ),
        }
        error
    }

    /// Whether this job may have the key `key` when it is run again: model and source may be other ones by now. What
    /// cannot be found just now may be on a disk that was unmounted, and comes back.
    fn is_still(&self, key: Ulid) -> bool {
        self.prepared().map_or(true, |now| now.key == key)
    }
}

/// What a job is, before anything is written.
struct Prepared {
    /// Of the model.
    digest: String,
    source: TableInfo,
    form: Form,
    /// Jobs of one key write the same parts.
    key: Ulid,
}
