//! A digest of a table's content.
//!
//! Lance keeps no checksums: flipped bits in a data page are read as values. The digest is computed
//! while rows are written, stored with the table, and compared before a source is deleted.
//!
//! It covers column names, types and values in row order. It does not depend on how rows are cut
//! into batches, on file layout, or on metadata such as lineage.

use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Schema};
use ndarray::ArrayView2;
use sha2::{Digest, Sha256};

use crate::schema::meanings;

/// SHA-256 of bytes, as `sha256:<hex>`.
pub fn of_bytes(bytes: &[u8]) -> String {
    render(Sha256::digest(bytes).as_slice())
}

/// SHA-256 of all that `reader` still holds, as `sha256:<hex>`, without keeping it in memory.
///
/// # Errors
/// Those of `reader`.
pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(render(hash.finalize().as_slice())),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// SHA-256 of the shape and the values of a matrix, as `sha256:<hex>`: of the rows that a model is fitted on.
pub fn of_values(rows: ArrayView2<'_, f32>) -> String {
    let mut hash = Sha256::new();
    rows.shape().iter().for_each(|n| hash.update((*n as u64).to_le_bytes()));
    let mut bytes = vec![0_u8; 4 * rows.ncols()];
    for row in rows.outer_iter() {
        bytes.chunks_exact_mut(4).zip(row).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
        hash.update(&bytes);
    }
    render(hash.finalize().as_slice())
}

/// The digest of all that a batch says, as `sha256:<hex>`: names, types and values of its columns, and what these mean
/// (roles, names of classes, shapes of tensors). For [`Operation::CONTENT`](crate::Operation::CONTENT).
///
/// # Errors
/// Names a column whose type has no digest.
pub fn of_batch(batch: &RecordBatch) -> Result<String, String> {
    let schema = batch.schema();
    let mut rows = TableDigest::new(&schema);
    rows.update(batch)?;
    let meanings = serde_json::to_string(&meanings(&schema)).expect("texts are valid JSON");
    Ok(of_bytes(format!("{}\n{meanings}", rows.finish()).as_bytes()))
}

/// Whether values of this type have a digest, and so can be a column of a table.
pub fn covers(kind: &DataType) -> bool {
    match kind {
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => true,
        DataType::FixedSizeList(item, _) | DataType::List(item) => covers(item.data_type()),
        other => other.primitive_width().is_some(),
    }
}

fn render(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Computes a table's digest batch by batch.
///
/// ```
/// use tlc_core::digest::TableDigest;
/// let schema = arrow_schema::Schema::empty();
/// assert!(TableDigest::new(&schema).finish().starts_with("sha256:"));
/// ```
#[derive(Debug)]
pub struct TableDigest {
    names: Vec<(String, DataType)>,
    columns: Vec<ColumnDigest>,
    n_rows: u64,
}

#[derive(Debug, Default)]
struct ColumnDigest {
    values: Sha256,
    nulls: Sha256,
    null_items: Sha256,
    n_items: u64,
}

impl TableDigest {
    /// The digest of a table with this schema and no rows yet.
    pub fn new(schema: &Schema) -> Self {
        let names: Vec<_> =
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
        let columns = names.iter().map(|_| ColumnDigest::default()).collect();
        Self { names, columns, n_rows: 0 }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// Names a column whose type has no digest.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<(), String> {
        for ((column, (name, _)), values) in self.columns.iter_mut().zip(&self.names).zip(batch.columns()) {
            column
                .update(values, self.n_rows)
                .map_err(|kind| format!("column {name:?} has type {kind}, which has no digest"))?;
        }
        self.n_rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The digest of all rows, as `sha256:<hex>`.
    pub fn finish(self) -> String {
        let mut table = Sha256::new();
        table.update(self.n_rows.to_le_bytes());
        for ((name, kind), column) in self.names.into_iter().zip(self.columns) {
            table.update((name.len() as u64).to_le_bytes());
            table.update(name);
            table.update(type_name(&kind));
            table.update(column.values.finalize());
            table.update(column.nulls.finalize());
            table.update(column.null_items.finalize());
        }
        render(table.finalize().as_slice())
    }
}

/// Independent of nullability and metadata, which a round trip through a file may change.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::FixedSizeList(item, size) => format!("fixed_size_list<{},{size}>", type_name(item.data_type())),
        DataType::List(item) | DataType::LargeList(item) => format!("list<{}>", type_name(item.data_type())),
        DataType::Utf8 | DataType::LargeUtf8 => "utf8".into(),
        DataType::Binary | DataType::LargeBinary => "binary".into(),
        other => other.to_string(),
    }
}

impl ColumnDigest {
    fn update(&mut self, array: &ArrayRef, first_row: u64) -> Result<(), DataType> {
        if let Some(nulls) = array.nulls() {
            for row in (0..array.len()).filter(|&row| nulls.is_null(row)) {
                self.nulls.update((first_row + row as u64).to_le_bytes());
            }
        }
        self.values(array)
    }

    /// Hashes the valid values. What a null slot holds is left to chance and is skipped.
    fn values(&mut self, array: &dyn Array) -> Result<(), DataType> {
        let valid_rows = || (0..array.len()).filter(|&row| array.is_valid(row));
        match array.data_type() {
            kind if kind.primitive_width().is_some() => {
                let width = kind.primitive_width().expect("checked by the guard");
                let data = array.to_data();
                let bytes = &data.buffers()[0].as_slice()[data.offset() * width..][..array.len() * width];
                if array.null_count() == 0 {
                    self.values.update(bytes);
                } else {
                    valid_rows().for_each(|row| self.values.update(&bytes[row * width..][..width]));
                }
            }
            DataType::Boolean => {
                let values = array.as_boolean();
                valid_rows().for_each(|row| self.values.update([u8::from(values.value(row))]));
            }
            DataType::Utf8 => {
                let values = array.as_string::<i32>();
                valid_rows().for_each(|row| self.bytes(values.value(row).as_bytes()));
            }
            DataType::LargeUtf8 => {
                let values = array.as_string::<i64>();
                valid_rows().for_each(|row| self.bytes(values.value(row).as_bytes()));
            }
            DataType::Binary => {
                let values = array.as_binary::<i32>();
                valid_rows().for_each(|row| self.bytes(values.value(row)));
            }
            DataType::LargeBinary => {
                let values = array.as_binary::<i64>();
                valid_rows().for_each(|row| self.bytes(values.value(row)));
            }
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                if list.null_count() == 0 {
                    self.items(list.values().as_ref())?;
                } else {
                    valid_rows().try_for_each(|row| self.items(list.value(row).as_ref()))?;
                }
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                for row in valid_rows() {
                    let items = list.value(row);
                    self.values.update((items.len() as u64).to_le_bytes());
                    self.items(items.as_ref())?;
                }
            }
            other => return Err(other.clone()),
        }
        Ok(())
    }

    /// Items of a list: which of all items so far are null, and the values of the others.
    fn items(&mut self, items: &dyn Array) -> Result<(), DataType> {
        // Asked once: items are many, and mostly none is null.
        if let Some(nulls) = items.nulls() {
            for item in (0..items.len()).filter(|&item| nulls.is_null(item)) {
                self.null_items.update((self.n_items + item as u64).to_le_bytes());
            }
        }
        self.n_items += items.len() as u64;
        self.values(items)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.values.update((bytes.len() as u64).to_le_bytes());
        self.values.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, ListArray, StringArray};
    use arrow_schema::Field;

    use super::*;
    use crate::{Column, NumberRole};

    fn table() -> RecordBatch {
        let lists = (0..10).map(|i| Some((0..i % 3).map(move |j| (i != 5 + j).then_some(i))));
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let embedding = Column::embedding("e", 3, (0..30).map(|i| i as f32).collect(), NumberRole::NnEmbedding)
            .expect("whole vectors");
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("list", lists.data_type().clone(), true),
            embedding.field,
        ]);
        let ids = Int64Array::from_iter((0..10).map(|i| (i != 4).then_some(i)));
        let names = StringArray::from_iter((0..10).map(|i| (i % 3 != 0).then(|| format!("n{i}"))));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(names), Arc::new(lists), embedding.values])
            .expect("valid")
    }

    fn digest(batches: &[RecordBatch]) -> String {
        let mut digest = TableDigest::new(&batches[0].schema());
        batches.iter().for_each(|batch| digest.update(batch).expect("supported types"));
        digest.finish()
    }

    #[test]
    fn a_reader_and_its_bytes_have_one_digest() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        assert_eq!(of_reader(bytes.as_slice()).expect("memory"), of_bytes(&bytes));
        assert_ne!(of_reader(&bytes[1..]).expect("memory"), of_bytes(&bytes));
    }

    #[test]
    fn the_digest_of_a_matrix_knows_its_values_and_its_shape() {
        let values = ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let first = of_values(values.view());
        assert_eq!(of_values(ndarray::arr2(&[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]).t()), first);
        assert_ne!(of_values(values.t()), first);
        assert_ne!(of_values(ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).view()), first);
        assert_ne!(of_values((&values + 1e-6).view()), first);
    }

    #[test]
    fn the_digest_of_a_batch_knows_values_and_what_they_mean() {
        let classes = |names: [&str; 2]| {
            let column = Column::labels("label", [0_i64, 1], names);
            RecordBatch::try_new(Arc::new(Schema::new(vec![column.field])), vec![column.values]).expect("one column")
        };
        let first = of_batch(&classes(["cat", "dog"])).expect("int64");
        assert_eq!(of_batch(&classes(["cat", "dog"])), Ok(first.clone()));
        assert_ne!(of_batch(&classes(["dog", "cat"])), Ok(first.clone()));
        assert_ne!(of_batch(&classes(["cat", "dog"]).slice(0, 1)), Ok(first));
    }

    #[test]
    fn the_cut_into_batches_does_not_matter() {
        let whole = table();
        let cut = [whole.slice(0, 1), whole.slice(1, 6), whole.slice(7, 3)];
        assert_eq!(digest(&[whole]), digest(&cut));
    }

    #[test]
    fn order_values_and_nulls_matter() {
        let whole = table();
        let swapped = [whole.slice(5, 5), whole.slice(0, 5)];
        assert_ne!(digest(std::slice::from_ref(&whole)), digest(&swapped));
        let mut columns = whole.columns().to_vec();
        columns[0] = Arc::new(Int64Array::from_iter((0..10).map(|i| (i != 5).then_some(if i == 4 { 5 } else { i }))));
        let moved_null = RecordBatch::try_new(whole.schema(), columns).expect("valid");
        assert_ne!(digest(&[whole]), digest(&[moved_null]));
    }

    #[test]
    fn types_have_a_digest_exactly_if_their_values_do() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        let text = || Box::new(DataType::Utf8);
        for (kind, expected) in [
            (DataType::Float16, true),
            (DataType::Timestamp(arrow_schema::TimeUnit::Second, None), true),
            (DataType::Boolean, true),
            (DataType::LargeBinary, true),
            (list(DataType::Utf8), true),
            (list(list(DataType::Int8)), true),
            (DataType::Null, false),
            (DataType::Utf8View, false),
            (DataType::FixedSizeBinary(4), false),
            (DataType::Dictionary(Box::new(DataType::Int32), text()), false),
            (DataType::LargeList(Arc::new(Field::new("item", DataType::Int8, true))), false),
            (list(DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into())), false),
        ] {
            assert_eq!(covers(&kind), expected, "{kind}");
            let schema = Schema::new(vec![Field::new("column", kind.clone(), true)]);
            let batch = RecordBatch::new_empty(Arc::new(schema.clone()));
            // Of a list without items, the type of items is not asked for.
            if !matches!(kind, DataType::List(_)) {
                assert_eq!(TableDigest::new(&schema).update(&batch).is_ok(), expected, "{kind}");
            }
        }
    }
}
