//! Metrics that were computed elsewhere: the road into a run without a model.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array};
use serde_json::{Map, Value};
use tlc_core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, TableInfo, Url, key_columns,
    metrics_name,
};

use crate::columns::rows_of;
use crate::{PRODUCER, Run, RunError};

const EXAMPLE_ID: &str = "example_id";

/// A metrics table that is to be made of columns in memory, such as vectors that another program computed.
#[derive(Debug, Clone)]
pub struct NewMetrics {
    columns: Vec<Column>,
    name: Option<String>,
    foreign_table: Option<Url>,
    constants: Map<String, Value>,
}

impl NewMetrics {
    /// These columns, one value per sample. If there is one of int64 with the role `example_id` (or that name), it says
    /// which sample each row is of; otherwise row `i` is of sample `i`.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, name: None, foreign_table: None, constants: Map::new() }
    }

    /// Of the table at `url`: the samples are its rows.
    #[must_use]
    pub fn of(mut self, url: &Url) -> Self {
        self.foreign_table = Some(url.clone());
        self
    }

    /// With this readable name. Default: `{split}-epoch-{epoch}`, or the part of that which is known, or `metrics`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With the constant `epoch`.
    #[must_use]
    pub fn epoch(self, epoch: i64) -> Self {
        self.constant("epoch", epoch)
    }

    /// With the constant `split`, such as `train` or `val`.
    #[must_use]
    pub fn split(self, split: &str) -> Self {
        self.constant("split", split)
    }

    /// With a column that holds one value: a whole number, a number, a text or a boolean.
    #[must_use]
    pub fn constant(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.constants.insert(name.to_owned(), value.into());
        self
    }
}

impl Run {
    /// Writes metrics that were computed elsewhere as one metrics table, as if they had been collected: with
    /// `example_id`, and with `input_table_id` if they are [of a table](NewMetrics::of). Reduction, means and the page
    /// make no difference between both.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tlc_core::{Column, NumberRole};
    /// # use tlc_run::{NewMetrics, Project};
    /// # use tlc_table::MemoryStore;
    /// # let project = Project::new(Arc::new(MemoryStore::default()), "memory://p/project".parse()?);
    /// let texts = Column::texts("text", ["good", "bad"])?;
    /// let train = project.table_from_columns("mails", "train", vec![texts])?;
    ///
    /// let run = project.create_run("embedded", Default::default())?;
    /// let guesses = Column::labels("guess", [1, 0], ["spam", "ham"]);
    /// let table = run.add_metrics(NewMetrics::new(vec![guesses]).of(&train.url).epoch(0).split("train"))?;
    /// assert_eq!((table.rows, run.metrics_of(Some(0), Some("train"))?.len()), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Columns`]: no columns or rows, columns of different lengths or of one name, ids that are not int64, that
    /// the samples' table does not have, or that are missing where that table has another number of rows; a constant
    /// that is no plain value. No table at that URL; a failing store.
    pub fn add_metrics(&self, metrics: NewMetrics) -> Result<TableInfo, RunError> {
        let NewMetrics { mut columns, name, foreign_table, constants } = metrics;
        let name = name.unwrap_or_else(|| metrics_name(&constants));
        let refused = |reason: String| RunError::Columns { name: name.clone(), reason };
        let foreign = match &foreign_table {
            Some(url) => Some(self.project().store().info(&self.project().places().expanded(url)?)?),
            None => None,
        };
        let is_id =
            |column: &Column| column.field.role() == Some(NumberRole::ExampleId) || column.field.name() == EXAMPLE_ID;
        let ids = match columns.iter().position(is_id) {
            Some(at) => given_ids(&columns.remove(at), foreign.as_ref()).map_err(refused)?,
            None => {
                let n = columns.first().map_or(0, |column| column.values.len());
                if let Some(foreign) = foreign.as_ref().filter(|foreign| foreign.rows != n as u64) {
                    return Err(refused(format!(
                        "there are {n} rows where {} has {}; a column {EXAMPLE_ID:?} must say which of those these are",
                        foreign.url, foreign.rows
                    )));
                }
                (0..n as i64).collect()
            }
        };
        if columns.is_empty() {
            return Err(refused(format!("it has no columns besides {EXAMPLE_ID:?}; at least one is needed")));
        }
        let keys = key_columns(&ids, foreign.as_ref().map(|table| &table.url), &constants);
        let keys = keys.map_err(|error| refused(error.to_string()))?;
        let rows = rows_of(&name, keys.into_iter().chain(columns).collect())?;
        let operation = Operation::new("add_metrics", 1).with("constants", constants.clone());
        let mut lineage = Lineage::new(PRODUCER, operation);
        lineage.inputs.extend(foreign.as_ref().map(TableInfo::as_input));
        let foreign_table = foreign.map(|table| table.url);
        let table = MetricsTable { name, foreign_table, constants, lineage };
        let schema = rows.schema();
        Ok(self.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter()))?)
    }
}

/// The ids that a column holds, each the number of a row of the table that is described.
fn given_ids(column: &Column, foreign: Option<&TableInfo>) -> Result<Vec<i64>, String> {
    let name = column.field.name();
    let found = column.values.as_primitive_opt::<Int64Type>().filter(|ids: &&Int64Array| ids.null_count() == 0);
    let ids = found.ok_or_else(|| {
        let (kind, nulls) = (column.values.data_type(), column.values.null_count());
        format!("its {name:?} is of {kind} with {nulls} nulls; int64 without nulls is needed")
    })?;
    if let Some(table) = foreign {
        let is_row = |id: &&i64| u64::try_from(**id).is_ok_and(|row| row < table.rows);
        if let Some(id) = ids.values().iter().find(|id| !is_row(id)) {
            let (url, n) = (&table.url, table.rows);
            return Err(format!("{name} {id} is no row of {url}, which has {n} rows, counted from 0"));
        }
    }
    Ok(ids.values().to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float32Array, StringArray};
    use arrow_schema::{DataType, Field};
    use serde_json::json;
    use tlc_core::{Progress, Scan, reducer_from_args, value_map};
    use tlc_reduce as _;
    use tlc_table::MemoryStore;

    use super::*;
    use crate::{Project, ReduceOptions};

    const N: usize = 30;

    fn project() -> Project {
        Project::new(Arc::new(MemoryStore::default()), "memory://test/project".parse().expect("a URL"))
    }

    fn samples(project: &Project, name: &str) -> TableInfo {
        let labels = Column::labels("label", (0..N as i64).map(|i| i % 2), ["cat", "dog"]);
        project.table_from_columns("pets", name, vec![labels]).expect("writable")
    }

    fn losses(n: usize) -> Column {
        let values = Arc::new(Float32Array::from_iter_values((0..n).map(|i| i as f32)));
        Column { field: Field::new("loss", DataType::Float32, true).with_role(NumberRole::Loss), values }
    }

    fn vectors(n: usize) -> Column {
        let values = (0..4 * n).map(|i| (i as f32).sin()).collect();
        Column::embedding("vectors", 4, values, NumberRole::NnEmbedding).expect("whole vectors")
    }

    fn ids(values: ArrayRef) -> Column {
        Column { field: Field::new("example_id", values.data_type().clone(), true), values }
    }

    #[test]
    fn what_was_computed_elsewhere_is_written_and_reduced_as_what_was_collected() {
        let project = project();
        let (train, val) = (samples(&project, "train"), samples(&project, "val"));
        let run = project.create_run("r", Map::new()).expect("creatable");
        let all = NewMetrics::new(vec![vectors(N), losses(N)]).of(&train.url).epoch(1).split("train");
        let table = run.add_metrics(all).expect("writable");
        let names: Vec<&String> = table.schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["example_id", "input_table_id", "epoch", "split", "vectors", "loss"]);
        let stored = value_map(table.schema.field_with_name("input_table_id").expect("there"));
        assert_eq!(stored[&0], train.url.relative_to(project.root()).to_string(), "so that the project can be moved");
        let lineage = table.lineage().expect("has one");
        assert_eq!(
            (lineage.operation.kind.as_str(), lineage.inputs[0].table_id),
            ("add_metrics", train.as_input().table_id)
        );

        // Some of the samples, one of them twice, by their ids.
        let some = ids(Arc::new(Int64Array::from(vec![7, 0, 7])));
        let some = NewMetrics::new(vec![some, vectors(3)]).of(&val.url).split("val").name("hard ones");
        let some = run.add_metrics(some).expect("writable");
        let rows =
            project.store().scan(&some.url, Scan::default()).expect("there").next().expect("rows").expect("readable");
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[7, 0, 7]);
        assert_eq!(rows.schema().field(0).role(), Some(NumberRole::ExampleId));

        let entries = run.metrics_of(Some(1), Some("train")).expect("readable");
        assert_eq!((entries.len(), entries[0].name.as_str(), entries[0].rows), (1, "train-epoch-1", N as u64));
        assert_eq!(run.epoch_metrics().expect("readable")[0].means()["train_loss_avg"], (N - 1) as f64 / 2.0);
        let pca =
            reducer_from_args("pca", [("n_components".to_owned(), json!(2))].into_iter().collect()).expect("valid");
        let reduced =
            run.reduce_embeddings_by_foreign_table_url(&train.url, &ReduceOptions::new([pca]), &Progress::default());
        assert_eq!(reduced.expect("reducible").len(), 2);
    }

    #[test]
    fn without_a_table_rows_are_counted() {
        let run = project().create_run("r", Map::new()).expect("creatable");
        let table = run.add_metrics(NewMetrics::new(vec![losses(3)])).expect("writable");
        let names: Vec<&String> = table.schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["example_id", "loss"]);
        assert_eq!(run.metrics().expect("readable")[0].name, "metrics");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_is_written() {
        let project = project();
        let train = samples(&project, "train");
        let run = project.create_run("r", Map::new()).expect("creatable");
        let refused = |metrics: NewMetrics| run.add_metrics(metrics).expect_err("refused").to_string();
        let of = |columns: Vec<Column>| NewMetrics::new(columns).of(&train.url);
        assert!(refused(NewMetrics::new(vec![])).contains("it has no columns"));
        assert!(refused(NewMetrics::new(vec![losses(0)])).contains("no rows"));
        let fewer = refused(of(vec![losses(3)]));
        assert!(fewer.contains("there are 3 rows where") && fewer.contains("has 30; a column"), "{fewer}");
        assert!(refused(of(vec![ids(Arc::new(Int64Array::from(vec![0])))])).contains("no columns besides"));
        let unknown = refused(of(vec![ids(Arc::new(Int64Array::from(vec![0, 30]))), losses(2)]));
        assert!(unknown.contains("example_id 30 is no row of"), "{unknown}");
        let texts = refused(of(vec![ids(Arc::new(StringArray::from(vec!["a"]))), losses(1)]));
        assert!(texts.contains("is of Utf8 with 0 nulls"), "{texts}");
        let nulls = refused(of(vec![ids(Arc::new(Int64Array::from(vec![Some(1), None]))), losses(2)]));
        assert!(nulls.contains("is of Int64 with 1 nulls"), "{nulls}");
        assert!(refused(NewMetrics::new(vec![losses(2), vectors(3)])).contains("\"vectors\" has 3 values"));
        let epochs = refused(NewMetrics::new(vec![losses(2), losses(2)]));
        assert_eq!(epochs, "cannot make the table \"metrics\": two columns are called \"loss\"; rename one");
        assert!(refused(NewMetrics::new(vec![losses(2)]).constant("loss", 1)).contains("two columns are called"));
        assert!(
            refused(NewMetrics::new(vec![losses(2)]).constant("shape", vec![1])).contains("constant \"shape\" is [1]")
        );
        let nowhere = NewMetrics::new(vec![losses(2)]).of(&train.url.join("x").expect("a name"));
        assert!(matches!(run.add_metrics(nowhere), Err(RunError::Store(tlc_core::StoreError::NotFound { .. }))));
        assert!(run.metrics().expect("readable").is_empty());
    }
}
