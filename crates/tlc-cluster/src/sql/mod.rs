//! SQL over the tables of a project, in this process.
//!
//! Tables are scanned in ranges of rows by several threads, only the columns that a query names. Conditions are checked
//! after reading: Lance's own push-down would need its types here, and few of our tables have an index to win by.

mod knn;
mod tables;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use tlc_core::{Progress, Url, with_causes};

use crate::error::told;
use crate::runtime::Engine;
use crate::{ClusterError, functions};
use knn::Knn;
use tables::ProjectTables;

/// The rows that answer a query, batch by batch.
pub struct Rows {
    engine: Engine,
    progress: Progress,
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
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
/// one, which comes first, with their `distance`.
///
/// # Errors
/// A query that cannot be understood, or writes. The rows themselves may fail to be read.
pub fn query(root: &Url, tables: &[Url], sql: &str, progress: &Progress) -> Result<Rows, ClusterError> {
    let engine = Engine::new()?;
    let tables = Arc::new(ProjectTables::new(root, tables));
    let stream = engine.wait("plan the query", progress, || async {
        let context = session(&tables)?;
        let only_reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        context.sql_with_options(sql, only_reads).await?.execute_stream().await
    })?;
    let stream = stream.map_err(|error| match unknown_table(&tables, &error) {
        Some(reason) => ClusterError::Query { reason },
        None => failed(&error),
    })?;
    Ok(Rows { engine, progress: progress.clone(), schema: stream.schema(), stream })
}

fn failed(error: &DataFusionError) -> ClusterError {
    ClusterError::Query { reason: told(error) }
}

/// What there is, where a query names a table that is not.
fn unknown_table(tables: &ProjectTables, error: &DataFusionError) -> Option<String> {
    let text = with_causes(error);
    let (_, rest) = text.split_once("table 'datafusion.public.")?;
    let (name, _) = rest.split_once("' not found")?;
    Some(with_causes(&tables.table(name.trim_matches('"')).err()?))
}

fn session(tables: &Arc<ProjectTables>) -> Result<SessionContext, DataFusionError> {
    let mut config = SessionConfig::new().with_information_schema(true);
    // Names of tables and columns are as they are written; many hold capital letters.
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let context = SessionContext::new_with_config(config);
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
