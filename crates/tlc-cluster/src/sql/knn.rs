//! `tlc_knn('table', 'column', row, k)`: the rows nearest to one, as a table.
//!
//! It is the query `select …, tlc_distance(column, …) as distance from table order by distance limit k`, of which the
//! engine keeps `k` rows per thread; no index is needed or used, and the answer is exact. Rows do not know their numbers
//! here, so among exact copies of the row that is asked for it is one of several.

use std::sync::Arc;

use arrow_array::{Array, FixedSizeListArray, Float32Array};
use arrow_schema::{DataType, Field};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use tlc_core::{FieldRoles, NumberRole, TableStore, embedding_values, embedding_width};

use super::tables::ProjectTables;
use crate::models::store;
use crate::{ClusterError, functions};

const FUNCTION: &str = "tlc_knn";

#[derive(Debug)]
pub(super) struct Knn(pub(super) Arc<ProjectTables>);

fn refused(reason: String) -> ClusterError {
    ClusterError::Arguments { function: FUNCTION, reason }
}

impl TableFunctionImpl for Knn {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let [table, column, row, k] = args.exprs() else {
            let reason = format!("{} arguments were given; ('table', 'column', row, k) are needed", args.exprs().len());
            return Err(refused(reason).into());
        };
        let (name, column) = (text(table)?, text(column)?);
        let (row, k) = (number(row, "row")?, number(k, "k")?);
        let table = self.0.table(&name)?;
        let schema = table.info.schema.clone();
        if schema.field_with_name(&column).ok().and_then(embedding_width).is_none() {
            let vectors = schema.fields().iter().filter(|field| embedding_width(field).is_some());
            let vectors = vectors.map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            let reason = format!("{name} has no column of vectors {column:?}; it has {vectors}");
            return Err(refused(reason).into());
        }
        let query = query_vector(&table.info.url, &column, row)?;
        // Embeddings are not shown: they are wide, and what is asked for is which rows they are.
        let is_shown = |field: &&Arc<Field>| field.role() != Some(NumberRole::NnEmbedding);
        let mut shown: Vec<Expr> = schema.fields().iter().filter(is_shown).map(|field| ident(field.name())).collect();
        shown.push(functions::distance().call(vec![ident(&column), lit(query)]).alias("distance"));
        let k = usize::try_from(k).map_err(|_| refused(format!("k is {k}; that are too many")))?;
        let plan = LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(Arc::new(table)), None)?
            .project(shown)?
            .sort(vec![ident("distance").sort(true, false)])?
            // A node of its own: the engine drops orders of subqueries, and a limit within one with it.
            .limit(0, Some(k))?
            .build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn text(argument: &Expr) -> Result<String, ClusterError> {
    match argument {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Ok(text.clone()),
        other => Err(refused(format!("{other} was given where a text in single quotes is needed"))),
    }
}

fn number(argument: &Expr, what: &str) -> Result<u64, ClusterError> {
    let found = match argument {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => u64::try_from(*number).ok(),
        Expr::Literal(ScalarValue::UInt64(Some(number)), _) => Some(*number),
        _ => None,
    };
    found.ok_or_else(|| refused(format!("{what} is {argument}; a whole number from 0 on is needed")))
}

/// The vector of a row.
fn query_vector(url: &tlc_core::Url, column: &str, row: u64) -> Result<ScalarValue, ClusterError> {
    let batch = store().take(url, &[row], Some(&[column.to_owned()]))?;
    let values = embedding_values(&batch, column).filter(|_| batch.column(0).is_valid(0));
    let values = values.ok_or_else(|| refused(format!("row {row} of {url} has no vector in {column:?}")))?;
    if values.iter().any(|value| !value.is_finite()) {
        let reason =
            format!("row {row} of {url} holds NaN or infinity in {column:?}, so it has no distance to any row");
        return Err(refused(reason));
    }
    let width = i32::try_from(values.ncols()).map_err(|error| ClusterError::engine("read a vector", error))?;
    let items = Arc::new(Float32Array::from_iter_values(values.iter().copied()));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Ok(ScalarValue::FixedSizeList(Arc::new(FixedSizeListArray::new(item, width, items, None))))
}
