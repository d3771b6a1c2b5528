//! The tables of a project under the names that queries give them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tlc_core::{TableInfo, TableStore, UniqueName, Url, suggest};

use crate::ClusterError;
use crate::models::store;
use crate::plan::{PinnedTable, RowsExec, columns_of, ranges_of};

/// Rows that are worth a task.
const TASK_ROWS: u64 = 8192;

/// Names, and the tables that each may mean.
#[derive(Debug)]
pub(super) struct ProjectTables {
    root: Url,
    by_name: BTreeMap<String, Vec<Url>>,
}

impl ProjectTables {
    pub(super) fn new(root: &Url, tables: &[Url]) -> Self {
        let mut by_name: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        for url in tables {
            let stem = UniqueName::stem_of(url.file_name()).to_owned();
            let bare = stem.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let mut names = vec![path_in(root, url), stem, bare];
            names.dedup();
            names.into_iter().for_each(|name| by_name.entry(name).or_default().push(url.clone()));
        }
        Self { root: root.clone(), by_name }
    }

    /// The table that a query calls `name`.
    pub(super) fn table(&self, name: &str) -> Result<StoreTable> {
        let refused = |reason: String| DataFusionError::Plan(reason);
        let url = match self.by_name.get(name).map(Vec::as_slice) {
            Some([url]) => url.clone(),
            Some(several) => {
                let paths: Vec<String> =
                    several.iter().map(|url| format!("\"{}\"", path_in(&self.root, url))).collect();
                return Err(refused(format!("the name {name:?} may mean any of {}", paths.join(", "))));
            }
            None if name.contains("://") => name.parse().map_err(ClusterError::from)?,
            None => {
                let near = suggest(name, self.by_name.keys().map(String::as_str));
                let known = if near.is_empty() { self.by_name.keys().map(String::as_str).collect() } else { near };
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(refused(format!("the project {} has no table {name:?}; it has {known}", self.root)));
            }
        };
        Ok(StoreTable::new(store().info(&url).map_err(ClusterError::from)?))
    }
}

/// Where a table is in the project, without the ending.
fn path_in(root: &Url, url: &Url) -> String {
    let path = url.relative_to(root).to_string();
    path.strip_suffix(".lance").map_or(path.clone(), str::to_owned)
}

#[async_trait]
impl SchemaProvider for ProjectTables {
    /// Those that mean one table. Others are known as well, so that a query that uses one is told what it may mean.
    fn table_names(&self) -> Vec<String> {
        self.by_name.iter().filter(|(_, tables)| tables.len() == 1).map(|(name, _)| name.clone()).collect()
    }

    /// Without opening the table: whoever lists all of them would open each several times, and fail with the first that is
    /// damaged.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    /// `None` for other names, since functions that stand for tables are asked for here first.
    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.table_exist(name) {
            true => Ok(Some(Arc::new(ProjectTables::table(self, name)?))),
            false => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || name.contains("://")
    }
}

/// A table as DataFusion reads it.
#[derive(Debug)]
pub(super) struct StoreTable {
    pub(super) info: TableInfo,
    columns: SchemaRef,
}

impl StoreTable {
    fn new(info: TableInfo) -> Self {
        let columns = columns_of(&info.schema, |_| true);
        Self { info, columns }
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.columns.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            Some(projection) => Arc::new(self.columns.project(projection)?),
            None => self.columns.clone(),
        };
        let rows = limit.map_or(self.info.rows, |limit| self.info.rows.min(limit as u64));
        let each = rows.div_ceil(state.config().target_partitions().max(1) as u64).max(TASK_ROWS);
        let mut ranges = ranges_of(rows, each);
        if ranges.is_empty() {
            ranges.push(0..0); // A plan has at least one partition.
        }
        Ok(Arc::new(RowsExec::new(PinnedTable::of(&self.info)?, columns, ranges)))
    }
}
