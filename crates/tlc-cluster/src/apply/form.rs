//! What the new table looks like, and the plan that makes its rows.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use serde_json::json;
use tlc_core::ulid::Ulid;
use tlc_core::{
    FieldRoles, FittedReducer, NumberRole, TableInfo, columns_with_role, embedding_field, embedding_width, score_column,
};

use super::Apply;
use super::lineage::{PRODUCER, lineage};
use crate::plan::{PinnedTable, RowsExec, WriteExec, columns_of, ranges_of};
use crate::{ClusterError, functions};

/// The columns of the new table, and where they come from.
pub(super) struct Form {
    source: String,
    target: String,
    n_components: usize,
    kept: Vec<FieldRef>,
    /// With lineage.
    pub(super) schema: SchemaRef,
}

impl Form {
    pub(super) fn of(
        job: &Apply,
        source: &TableInfo,
        fitted: &dyn FittedReducer,
        digest: &str,
    ) -> Result<Self, ClusterError> {
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
        // Before the work: the commit would refuse them when all of it is done.
        if let Some(field) = kept.iter().find(|field| !tlc_core::digest::covers(field.data_type())) {
            let (column, kind) = (field.name().clone(), field.data_type().to_string());
            return Err(ClusterError::Kept { column, url: source.url.clone(), kind });
        }
        let score = Field::new(score_column(&target), DataType::Float32, true);
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

    /// Stands for the new table's rows, and for how they are dealt among parts. Another version of tlc may place them
    /// elsewhere.
    pub(super) fn key(&self, job: &Apply, source: &TableInfo, model: &str) -> Result<Ulid, ClusterError> {
        let fields = self.schema.fields().iter();
        let columns: Vec<_> = fields.map(|field| (field.name(), field.data_type().to_string())).collect();
        let pinned = PinnedTable::of(source)?;
        let identity = json!({
            "made_by": PRODUCER,
            "source": pinned,
            "column": self.source,
            "columns": columns,
            "model": model,
            "rows_per_task": job.rows_per_task,
        });
        let digest = tlc_core::digest::of_bytes(identity.to_string().as_bytes());
        let digits = &digest.trim_start_matches("sha256:")[..32];
        Ok(Ulid::from(u128::from_str_radix(digits, 16).expect("a digest is in hexadecimal digits")))
    }

    /// Rows → kept columns and the model's answer → parts, kept under `key`.
    pub(super) fn plan(
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
        let rows = Arc::new(RowsExec::new(PinnedTable::of(source)?, columns.clone(), ranges));
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

#[cfg(test)]
mod tests {
    use tlc_core::{Lineage, Operation, Progress, Url, reducer_from_args};
    use tlc_reduce as _;

    use super::*;

    #[test]
    fn jobs_of_the_same_parts_have_one_key() {
        let data = ndarray::Array2::from_shape_fn((20, 4), |(i, d)| ((i * 7 + d * 3) % 11) as f32);
        let pca = reducer_from_args("pca", Default::default()).expect("linked");
        let fitted = pca.fit(data.view(), &Progress::default()).expect("fits");
        let url = |text: &str| -> Url { text.parse().expect("a URL") };
        let vectors = embedding_field("embedding", 4, NumberRole::NnEmbedding).expect("a width");
        let schema = Schema::new(vec![vectors, Field::new("extra", DataType::Int64, true)]);
        let schema = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&schema));
        let digest = Some("sha256:bb".to_owned());
        let source = TableInfo { url: url("memory://p/t.lance"), schema, rows: 9, digest };
        let job = Apply::new(url("memory://p/m"), source.url.clone(), url("memory://p/out.lance"));
        let key = |job: &Apply, source: &TableInfo, model: &str| {
            let form = Form::of(job, source, fitted.as_ref(), model).expect("it fits");
            form.key(job, source, model).expect("it has a digest")
        };
        let same = key(&job, &source, "sha256:aa");
        assert_eq!(key(&job, &source, "sha256:aa"), same, "whenever it is asked for");
        let (one, other) = (job.clone(), source.clone());
        for (what, found) in [
            ("model", key(&job, &source, "sha256:ab")),
            ("rows", key(&job, &TableInfo { digest: Some("sha256:bc".to_owned()), ..other }, "sha256:aa")),
            ("parts", key(&Apply { rows_per_task: 3, ..one.clone() }, &source, "sha256:aa")),
            ("columns", key(&Apply { keep_embeddings: true, ..one.clone() }, &source, "sha256:aa")),
            ("names", key(&Apply { target: Some("xy".to_owned()), ..one }, &source, "sha256:aa")),
        ] {
            assert_ne!(found, same, "other {what}");
        }
    }

    #[test]
    fn a_column_that_no_table_can_have_is_refused_before_the_work() {
        let data = ndarray::Array2::from_shape_fn((20, 4), |(i, d)| ((i * 7 + d * 3) % 11) as f32);
        let pca = reducer_from_args("pca", Default::default()).expect("linked");
        let fitted = pca.fit(data.view(), &Progress::default()).expect("fits");
        let url = |text: &str| -> Url { text.parse().expect("a URL") };
        let form = |kind: DataType| {
            let vectors = embedding_field("embedding", 4, NumberRole::NnEmbedding).expect("a width");
            let schema = Schema::new(vec![vectors, Field::new("extra", kind, true)]);
            let schema = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&schema));
            let source = TableInfo { url: url("memory://p/t.lance"), schema, rows: 9, digest: None };
            let job = Apply::new(url("memory://p/m"), source.url.clone(), url("memory://p/out.lance"));
            Form::of(&job, &source, fitted.as_ref(), "sha256:aa").map(|form| form.kept.len())
        };
        assert_eq!(form(DataType::Utf8).expect("it can be kept"), 1);
        let fields = vec![Field::new("coordinates", DataType::Float32, true)];
        for kind in [
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            DataType::FixedSizeBinary(16),
            DataType::LargeList(Arc::new(Field::new("item", DataType::Int64, true))),
            DataType::Struct(fields.into()),
        ] {
            let text = form(kind.clone()).expect_err("refused").to_string();
            let named = text.contains("\"extra\" of memory://p/t.lance") && text.contains(&kind.to_string());
            assert!(named && text.contains("texts"), "{text}");
        }
    }
}
