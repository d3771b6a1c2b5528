//! Where collected metrics go.

use arrow_schema::Schema;

use crate::{BatchStream, Lineage, StoreError, TableInfo, Url};

/// What a new metrics table is about.
#[derive(Debug, Clone)]
pub struct MetricsTable {
    /// A readable name, for example `train-epoch-003`; it is made unique.
    pub name: String,
    /// The table whose rows the metrics describe.
    pub foreign_table: Option<Url>,
    /// Values that hold for all rows, such as `epoch` and `split`.
    pub constants: serde_json::Map<String, serde_json::Value>,
    /// How the rows were made.
    pub lineage: Lineage,
}

/// Takes metrics tables: a run, or a store of the user's own.
///
/// Collection knows only this, so it does not depend on how runs are kept.
pub trait MetricsSink: Sync {
    /// Writes one metrics table from `rows`.
    ///
    /// # Errors
    /// As [`TableStore::create`](crate::TableStore::create); if `rows` fails, no table is left.
    fn write_metrics(
        &self,
        table: MetricsTable,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<TableInfo, StoreError>;
}
