//! SQL over the tables of a project, in this process.
//!
//! Tables are scanned in ranges of rows by several threads, only the columns that a query names. Conditions are checked
//! after reading: Lance's own push-down would need its types here, and few of our tables have an index to win by.
//!
//! What is sorted, grouped or joined has a limit of memory. Sorts and groups that need more go on in temporary files, one
//! share of the limit for each; joins end with an error.

mod knn;
mod tables;

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use tempfile::TempDir;
use tlc_core::{Progress, Url, with_causes};

use crate::error::told;
use crate::runtime::Engine;
use crate::{ClusterError, functions};
use knn::Knn;
use tables::ProjectTables;

/// Memory that is worth a thread: a sort needs some tens of MiB, and each thread that reads a table has as much again for
/// what Lance reads ahead.
const THREAD_BYTES: usize = 128 << 20;

/// The rows that answer a query, batch by batch.
pub struct Rows {
    engine: Engine,
    progress: Progress,
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    /// What did not fit in memory. The engine removes its files itself, but not when it is stopped and the process ends.
    _spilled: TempDir,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Answers `sql`, which may read the `tables` of the project at `root`.
///
/// A table is named by its path in the project without `.lance`, by the readable part of its name where that is
/// unique, or by that with `_` for what a bare SQL name cannot hold: `"runs/demo/metrics/val-01J…"`, `"val-epoch-3"`,
/// `val_epoch_3`. In double quotes an absolute URL will do too.
///
/// Besides SQL's there are [`tlc_reduce`](crate::reduce), [`tlc_place`](crate::place),
/// [`tlc_distance`](crate::distance), and as a table `tlc_knn('table', 'column', row, k)`: the `k` rows nearest to that
/// one, with their `distance`. Itself and exact copies of it come first, in any order.
///
/// What is sorted, grouped or joined takes at most `memory_bytes`; sorts and groups go on in temporary files (`TMPDIR`). One
/// thread is used for each 128 MiB of it, and each reads ahead as much again.
///
/// # Errors
/// A query that cannot be understood, or writes; a temporary folder that cannot be made. The rows themselves may fail to be
/// read, or need more memory.
pub fn query(
    root: &Url,
    tables: &[Url],
    sql: &str,
    memory_bytes: usize,
    progress: &Progress,
) -> Result<Rows, ClusterError> {
    let engine = Engine::new()?;
    let tables = Arc::new(ProjectTables::new(root, tables));
    let spilled = tempfile::Builder::new().prefix("tlc-sql-").tempdir();
    let spilled =
        spilled.map_err(|error| ClusterError::engine("make a temporary folder (TMPDIR says where)", error))?;
    let stream = engine.wait("plan the query", progress, || async {
        let context = session(&tables, memory_bytes, spilled.path())?;
        let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        context.sql_with_options(sql, only_reads).await?.execute_stream().await
    })?;
    let stream = stream.map_err(|error| match unknown_table(&tables, &error) {
        Some(reason) => ClusterError::Query { reason },
        None => failed(&error),
    })?;
    Ok(Rows { engine, progress: progress.clone(), schema: stream.schema(), stream, _spilled: spilled })
}

fn failed(error: &DataFusionError) -> ClusterError {
    let hint = match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => "; `tlc sql --memory` allows more",
        _ => "",
    };
    ClusterError::Query { reason: format!("{}{hint}", told(error)) }
}

/// What there is, where a query names a table that is not.
fn unknown_table(tables: &ProjectTables, error: &DataFusionError) -> Option<String> {
    let text = with_causes(error);
    let (_, rest) = text.split_once("table 'datafusion.public.")?;
    let (name, _) = rest.split_once("' not found")?;
    Some(with_causes(&tables.table(name.trim_matches('"')).err()?))
}

fn session(
    tables: &Arc<ProjectTables>,
    memory_bytes: usize,
    spilled: &Path,
) -> Result<SessionContext, DataFusionError> {
    let config = SessionConfig::new().with_information_schema(true);
    let n_threads = config.target_partitions().min(memory_bytes / THREAD_BYTES).max(1);
    let mut config = config.with_target_partitions(n_threads);
    // Names of tables and columns are as they are written; many hold capital letters.
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
        .with_temp_file_path(spilled)
        // The disk is the limit.
        .with_max_temp_directory_size(u64::MAX)
        .build()?;
    let context = SessionContext::new_with_config_rt(config, Arc::new(runtime));
    let catalog = context.catalog("datafusion").ok_or_else(|| DataFusionError::Internal("no catalog".to_owned()))?;
    catalog.register_schema("public", tables.clone())?;
    for function in [functions::reduce(), functions::place(), functions::distance()] {
        context.register_udf(function.as_ref().clone());
    }
    context.register_udtf("tlc_knn", Arc::new(Knn(tables.clone())));
    Ok(context)
}

impl Rows {
    /// Their columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ClusterError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { engine, progress, stream, .. } = self;
        match engine.wait("answer the query", progress, || stream.next()) {
            Ok(None) => None,
            Ok(Some(batch)) => Some(batch.map_err(|error| failed(&error))),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
