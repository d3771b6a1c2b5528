//! Applying a fitted model to a whole table: one plan, run by this process or by a cluster, and one commit.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PhysicalExpr};
use futures::TryStreamExt;
use serde_json::json;
use tlc_core::ulid::Ulid;
use tlc_core::{
    ColumnLineage, ColumnSource, FieldRoles, FittedReducer, Lineage, LineageInput, ModelRef, NumberRole, Operation,
    Progress, StoreError, TableInfo, TableStore, Url, columns_with_role, embedding_field, embedding_width,
};
use tlc_table::TableInParts;

use crate::error::cause_of;
use crate::plan::{PinnedTable, RowsExec, WriteExec, columns_of, parts_in_order, ranges_of};
use crate::runtime::Engine;
use crate::{ClusterError, functions, models};

/// What lineage calls this crate.
const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The kind of operation that lineage gives to tables made here. Not `reduce`, which means that the model was fitted on
/// the last of the inputs.
const APPLY: &str = "apply";

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
    /// from those that were fitted. Rows keep their order. The result does not depend on where the job runs.
    ///
    /// Tasks read only the columns they need, so the source is not compared with its digest; that it is the same table
    /// is checked by each.
    ///
    /// # Errors
    /// A model that cannot be loaded, or does not fit the table; a table that is there already, or is being written by
    /// another job; a source that changes meanwhile; a cluster that cannot be reached, is of another version, gives up or
    /// does not go on; cancellation, which cancels the job on the cluster, too. Then nothing of the new table is visible.
    pub fn run(&self, place: &Where, progress: &Progress) -> Result<TableInfo, ClusterError> {
        if !self.out.file_name().ends_with(".lance") {
            let reason = "the name of a table ends in .lance, by which projects find it".to_owned();
            return Err(StoreError::Unsupported { url: self.out.clone(), reason }.into());
        }
        let digest = models::digest_of(&self.model)?;
        let fitted = models::model(&self.model, &digest)?;
        let source = models::store().info(&self.table)?;
        let form = Form::of(self, &source, fitted.as_ref(), &digest)?;
        let place = Place::of(place)?;
        let table = models::store().begin_parts(&self.out)?;
        let plan = form.plan(self, &source, &digest, table.key())?;
        let n_tasks = plan.output_partitioning().partition_count();
        if n_tasks > 0 {
            place.run(self, plan, &table, source.rows, progress)?;
        }
        let parts = parts_in_order(&self.out, table.key(), n_tasks)?;
        Ok(table.commit(&form.schema, parts, progress)?)
    }
}

/// A place that can be reached.
enum Place {
    Here(Engine),
    #[cfg(feature = "ballista")]
    Cluster(Engine, crate::ClusterAddress),
}

impl Place {
    /// Before anything is written.
    fn of(place: &Where) -> Result<Self, ClusterError> {
        match place {
            Where::Here => Ok(Self::Here(Engine::new()?)),
            #[cfg(feature = "ballista")]
            Where::Cluster(address) => {
                address.check()?;
                Ok(Self::Cluster(Engine::new()?, address.clone()))
            }
        }
    }

    /// Until all parts of `table` are written.
    #[cfg_attr(not(feature = "ballista"), expect(unused_variables, reason = "a cluster needs more than this process"))]
    fn run(
        &self,
        job: &Apply,
        plan: Arc<dyn ExecutionPlan>,
        table: &TableInParts,
        rows: u64,
        progress: &Progress,
    ) -> Result<(), ClusterError> {
        match self {
            Self::Here(engine) => run_here(engine, &plan, rows, progress),
            #[cfg(feature = "ballista")]
            Self::Cluster(engine, address) => {
                let job = crate::ballista::Job { plan, table, out: &job.out, rows, patience: job.patience };
                crate::ballista::run(engine, address, &job, progress)
            }
        }
    }
}

/// One task after the other: memory is that of one, and a model's transform uses all cores anyway.
fn run_here(
    engine: &Engine,
    plan: &Arc<dyn ExecutionPlan>,
    rows: u64,
    progress: &Progress,
) -> Result<(), ClusterError> {
    let n_tasks = plan.output_partitioning().partition_count();
    let task = progress.task("apply", rows);
    let mut done = 0;
    for partition in 0..n_tasks {
        let plan = plan.clone();
        let batches: Result<Vec<RecordBatch>, DataFusionError> =
            engine.wait("apply the model", progress, || async move {
                plan.execute(partition, Arc::new(TaskContext::default()))?.try_collect().await
            })?;
        batches.map_err(|error| ClusterError::engine("apply the model", cause_of(error)))?;
        let until = rows * (partition as u64 + 1) / n_tasks as u64;
        task.advance(until - done)?;
        done = until;
    }
    Ok(())
}

/// The columns of the new table, and where they come from.
struct Form {
    source: String,
    target: String,
    n_components: usize,
    kept: Vec<FieldRef>,
    /// With lineage.
    schema: SchemaRef,
}

impl Form {
    fn of(job: &Apply, source: &TableInfo, fitted: &dyn FittedReducer, digest: &str) -> Result<Self, ClusterError> {
        let column = column_to_reduce(job, source, fitted)?;
        let target = job.target.clone().unwrap_or_else(|| format!("{column}_{}", fitted.reducer().method()));
        let n_components = fitted.layout().ncols();
        let kept: Vec<FieldRef> = source
            .schema
            .fields()
            .iter()
            .filter(|field| job.keep_embeddings || *field.name() != column)
            .cloned()
            .collect();
        let score = Field::new(format!("{target}_ood"), DataType::Float32, true);
        let mut fields = kept.clone();
        let placed = embedding_field(&target, n_components, NumberRole::ReducedEmbedding).map_err(|error| {
            ClusterError::Column { column: column.clone(), url: source.url.clone(), reason: error.to_string() }
        })?;
        fields.push(Arc::new(placed));
        fields.push(Arc::new(score.with_role(NumberRole::OutOfDistribution)));
        if let Some(taken) = kept.iter().find(|field| fields[kept.len()..].iter().any(|new| new.name() == field.name()))
        {
            let reason = format!("the table already has a column {:?}; choose another target", taken.name());
            return Err(ClusterError::Column { column, url: source.url.clone(), reason });
        }
        let lineage = lineage(job, source, &kept, &column, &target, fitted, digest);
        let schema = Arc::new(lineage.write_into(&Schema::new(fields)));
        Ok(Self { source: column, target, n_components, kept, schema })
    }

    /// Rows → kept columns and the model's answer → parts, kept under `key`.
    fn plan(
        &self,
        job: &Apply,
        source: &TableInfo,
        digest: &str,
        key: Ulid,
    ) -> Result<Arc<dyn ExecutionPlan>, ClusterError> {
        let made = |error: DataFusionError| ClusterError::engine("plan the job", error);
        let is_kept = |name: &str| self.kept.iter().any(|field| field.name() == name);
        let columns = columns_of(&source.schema, |name| is_kept(name) || name == self.source);
        let ranges = ranges_of(source.rows, job.rows_per_task);
        let rows = Arc::new(RowsExec::new(PinnedTable::of(source), columns.clone(), ranges));
        let column = |name: &str| -> Result<Arc<dyn PhysicalExpr>, ClusterError> {
            Ok(Arc::new(Column::new_with_schema(name, &columns).map_err(made)?))
        };
        let literal = |value: ScalarValue| Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>;
        let n = ScalarValue::Int64(Some(self.n_components as i64));
        let args = vec![
            column(&self.source)?,
            literal(ScalarValue::from(job.model.to_string())),
            literal(ScalarValue::from(digest)),
            literal(n),
        ];
        let placed =
            ScalarFunctionExpr::try_new(functions::place(), args, &columns, Arc::new(ConfigOptions::default()));
        let mut expressions = Vec::new();
        for field in &self.kept {
            expressions.push(ProjectionExpr { expr: column(field.name())?, alias: field.name().clone() });
        }
        expressions.push(ProjectionExpr { expr: Arc::new(placed.map_err(made)?), alias: self.target.clone() });
        let placed = Arc::new(ProjectionExec::try_new(expressions, rows).map_err(made)?);
        Ok(Arc::new(WriteExec::new(job.out.clone(), key, self.schema.clone(), placed)))
    }
}

fn column_to_reduce(job: &Apply, source: &TableInfo, fitted: &dyn FittedReducer) -> Result<String, ClusterError> {
    let (url, wanted) = (source.url.clone(), fitted.n_features());
    let width = |name: &str| source.schema.field_with_name(name).ok().and_then(embedding_width);
    if let Some(column) = job.column.clone() {
        let reason = match (source.schema.field_with_name(&column), width(&column)) {
            (_, Some(width)) if width == wanted => return Ok(column),
            (_, Some(width)) => format!("its rows have {width} values, the model takes {wanted}"),
            (Ok(field), None) => {
                format!("its type is {}; vectors of float32 or float16 of one width are needed", field.data_type())
            }
            (Err(_), None) => "the table has no such column".to_owned(),
        };
        return Err(ClusterError::Column { column, url, reason });
    }
    let embeddings = columns_with_role(&source.schema, &NumberRole::NnEmbedding);
    let mut fitting: Vec<String> = embeddings.iter().filter(|name| width(name) == Some(wanted)).cloned().collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(column), true) => Ok(column),
        _ => {
            let widths = embeddings.iter().map(|name| format!("{name} ({})", width(name).unwrap_or(0)));
            let found = widths.collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { "none".to_owned() } else { found };
            let reason = format!("its embeddings are {found}, the model takes {wanted} values per row; name a column");
            Err(ClusterError::NoColumn { url, reason })
        }
    }
}

/// As a reduced table's, except for the kind of operation and the table that the model was fitted on, which a model
/// does not name.
fn lineage(
    job: &Apply,
    source: &TableInfo,
    kept: &[FieldRef],
    column: &str,
    target: &str,
    fitted: &dyn FittedReducer,
    digest: &str,
) -> Lineage {
    let reducer = serde_json::to_value(fitted.reducer()).expect("parameters are plain data");
    let columns = json!({ target: { "source": column, "reducer": reducer } });
    let mut lineage = Lineage::new(PRODUCER, Operation::new(APPLY, 1).with("columns", columns));
    let inside = |url: &Url| job.project.as_ref().map_or_else(|| url.clone(), |places| places.stored(url));
    let input = source.as_input();
    lineage.inputs.push(LineageInput { url: inside(&input.url), ..input });
    lineage.models.insert(target.to_owned(), ModelRef { url: inside(&job.model), digest: digest.to_owned() });
    lineage.derive_column(target, 0, column);
    for field in kept {
        let from = vec![ColumnSource { input: 0, field: field.name().clone() }];
        let origin = ColumnLineage { from, kind: "DIRECT".into(), subtype: "IDENTITY".into() };
        lineage.columns.insert(field.name().clone(), origin);
    }
    lineage
}
