//! Columns and what they mean.
//!
//! A column's *role* says what its numbers are, so that tools choose the right columns without
//! knowing their names. It is metadata of the Arrow field and is written with the table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, BinaryArray, FixedSizeListArray, Float16Array, Float32Array, Int64Array, RecordBatch,
    StringArray,
    cast::AsArray,
    types::{Float16Type, Float32Type},
};
use arrow_schema::{DataType, Field, Schema};
use half::f16;
use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use crate::ColumnError;

const ROLE_KEY: &str = "tlc:number_role";
const VALUE_MAP_KEY: &str = "tlc:value_map";
const TENSOR_SHAPE_KEY: &str = "tlc:tensor_shape";

/// What the numbers of a column are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NumberRole {
    /// Activations of a layer: input of dimensionality reduction, never sent to a page.
    NnEmbedding,
    /// Coordinates made by a reducer.
    ReducedEmbedding,
    /// How far outside the fitted data a transformed row lies; about 1 is typical.
    OutOfDistribution,
    /// Which sample the row is of: the 0-based number of its row in the foreign table, int64, the only join key.
    ///
    /// What the foreign table itself has in a column of this role plays no part. In a table that names no foreign table the
    /// values name samples that are in no table, and its own rows are found by them. Without such a column row `i` is of
    /// sample `i`; a foreign table must then have as many rows.
    ExampleId,
    /// Which foreign table the row describes; the column's value map holds its URL.
    ForeignTableId,
    /// The training epoch.
    Epoch,
    /// A class index that was given.
    Label,
    /// A class index that the model chose.
    Prediction,
    /// A per-sample loss, in nats for cross entropy.
    Loss,
    /// A probability, `0..=1`.
    Confidence,
    /// Whether every embedding value of the row is finite.
    Finite,
    /// The sample as a picture: an encoded file's bytes, or the path of one.
    Image,
    /// The sample as text.
    Text,
    /// How much the sample counts; 0 leaves it out where asked for.
    Weight,
    /// Any other role, kept as written.
    Other(String),
}

const ROLES: [(NumberRole, &str); 14] = [
    (NumberRole::NnEmbedding, "nn_embedding"),
    (NumberRole::ReducedEmbedding, "reduced_embedding"),
    (NumberRole::OutOfDistribution, "out_of_distribution"),
    (NumberRole::ExampleId, "example_id"),
    (NumberRole::ForeignTableId, "foreign_table_id"),
    (NumberRole::Epoch, "epoch"),
    (NumberRole::Label, "label"),
    (NumberRole::Prediction, "prediction"),
    (NumberRole::Loss, "loss"),
    (NumberRole::Confidence, "confidence"),
    (NumberRole::Finite, "finite"),
    (NumberRole::Image, "image"),
    (NumberRole::Text, "text"),
    (NumberRole::Weight, "weight"),
];

impl fmt::Display for NumberRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let NumberRole::Other(name) = self {
            return f.write_str(name);
        }
        ROLES.iter().find(|(role, _)| role == self).map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

impl FromStr for NumberRole {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| role.clone());
        Ok(known.unwrap_or_else(|| NumberRole::Other(name.to_owned())))
    }
}

/// Reads and sets what a field means.
pub trait FieldRoles: Sized {
    /// The field with this role.
    #[must_use]
    fn with_role(self, role: NumberRole) -> Self;
    /// The field's role, if it has one.
    fn role(&self) -> Option<NumberRole>;
    /// The field with names for its integer values, such as class names or table URLs.
    #[must_use]
    fn with_value_map(self, names: &BTreeMap<i64, String>) -> Self;
    /// The field, of vectors, with the shape of the tensor that each of them is.
    #[must_use]
    fn with_tensor_shape(self, shape: &[i64]) -> Self;
}

impl FieldRoles for Field {
    fn with_role(self, role: NumberRole) -> Self {
        with_metadata(self, ROLE_KEY, role.to_string())
    }

    fn role(&self) -> Option<NumberRole> {
        let Ok(role) = self.metadata().get(ROLE_KEY)?.parse();
        Some(role)
    }

    fn with_value_map(self, names: &BTreeMap<i64, String>) -> Self {
        let json = serde_json::to_string(names).expect("a map of texts is valid JSON");
        with_metadata(self, VALUE_MAP_KEY, json)
    }

    fn with_tensor_shape(self, shape: &[i64]) -> Self {
        let json = serde_json::to_string(shape).expect("numbers are valid JSON");
        with_metadata(self, TENSOR_SHAPE_KEY, json)
    }
}

fn with_metadata(field: Field, key: &str, value: String) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(key.to_owned(), value);
    field.with_metadata(metadata)
}

/// The names of a field's integer values; empty if it has none.
pub fn value_map(field: &Field) -> BTreeMap<i64, String> {
    field.metadata().get(VALUE_MAP_KEY).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The shape of the tensors that a column's vectors are, without the batch; `None` if the column does not say.
pub fn tensor_shape(field: &Field) -> Option<Vec<i64>> {
    serde_json::from_str(field.metadata().get(TENSOR_SHAPE_KEY)?).ok()
}

/// The names of all columns, and what is said of their values: roles, names of classes, shapes of tensors.
pub(crate) fn meanings(schema: &Schema) -> Vec<(&str, BTreeMap<&str, &str>)> {
    let keys = [ROLE_KEY, VALUE_MAP_KEY, TENSOR_SHAPE_KEY];
    let fields = schema.fields().iter().map(|field| {
        let said = keys.into_iter().filter_map(|key| Some((key, field.metadata().get(key)?.as_str())));
        (field.name().as_str(), said.collect())
    });
    fields.collect()
}

/// The columns of `schema` that have `role`, in their order.
pub fn columns_with_role(schema: &Schema, role: &NumberRole) -> Vec<String> {
    let has_role = |field: &&Arc<Field>| field.role().as_ref() == Some(role);
    schema.fields().iter().filter(has_role).map(|field| field.name().clone()).collect()
}

/// A column of `width` float32 values per row.
///
/// # Errors
/// [`ColumnError::Width`] if `width` is not in `1..2³¹`.
pub fn embedding_field(name: impl Into<String>, width: usize, role: NumberRole) -> Result<Field, ColumnError> {
    vector_field(name.into(), width, DataType::Float32, role)
}

fn vector_field(name: String, width: usize, item: DataType, role: NumberRole) -> Result<Field, ColumnError> {
    let item = Arc::new(Field::new("item", item, true));
    match i32::try_from(width) {
        Ok(size) if size > 0 => Ok(Field::new(name, DataType::FixedSizeList(item, size), true).with_role(role)),
        _ => Err(ColumnError::Width { name, width }),
    }
}

/// The number of values per row of a vector column, or `None` for other columns.
pub fn embedding_width(field: &Field) -> Option<usize> {
    match field.data_type() {
        DataType::FixedSizeList(item, width) if matches!(item.data_type(), DataType::Float32 | DataType::Float16) => {
            usize::try_from(*width).ok()
        }
        _ => None,
    }
}

/// The values of a vector column, `(n, d)`, without a copy if they are float32, widened if they are float16; `None` if
/// it is no such column.
///
/// Rows that are null hold arbitrary values: ask the column's null buffer.
pub fn embedding_values<'a>(batch: &'a RecordBatch, column: &str) -> Option<CowArray<'a, f32, Ix2>> {
    let list: &FixedSizeListArray = batch.column_by_name(column)?.as_fixed_size_list_opt()?;
    let shape = (list.len(), usize::try_from(list.value_length()).ok()?);
    if let Some(values) = list.values().as_primitive_opt::<Float32Type>() {
        return ArrayView2::from_shape(shape, values.values()).ok().map(CowArray::from);
    }
    let values = list.values().as_primitive_opt::<Float16Type>()?;
    Array2::from_shape_vec(shape, values.values().iter().map(|value| value.to_f32()).collect()).ok().map(CowArray::from)
}

/// A column of a batch: its field, with role, and its values.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name, type and role.
    pub field: Field,
    /// One value per row.
    pub values: ArrayRef,
}

impl Column {
    /// A column of `width` float32 values per row, `values.len() = n · width`.
    ///
    /// ```
    /// use tlc_core::{Column, NumberRole};
    /// let column = Column::embedding("embedding", 2, vec![0., 1., 2., 3.], NumberRole::NnEmbedding)?;
    /// assert_eq!(column.values.len(), 2);
    /// let error = Column::embedding("embedding", 2, vec![0., 1., 2.], NumberRole::NnEmbedding).unwrap_err();
    /// assert!(error.to_string().ends_with("3 values are no whole number of vectors of 2"));
    /// # Ok::<(), tlc_core::ColumnError>(())
    /// ```
    ///
    /// # Errors
    /// [`ColumnError::NotVectors`] if the number of values is not a multiple of `width`; [`ColumnError::Width`] if that is
    /// not in `1..2³¹`.
    pub fn embedding(
        name: impl Into<String>,
        width: usize,
        values: Vec<f32>,
        role: NumberRole,
    ) -> Result<Self, ColumnError> {
        let field = vector_field(name.into(), width, DataType::Float32, role)?;
        Self::vectors(field, width, Arc::new(Float32Array::from(values)))
    }

    /// As [`embedding`](Self::embedding), of float16 values: half the room, three digits.
    ///
    /// # Errors
    /// As there.
    pub fn embedding_f16(
        name: impl Into<String>,
        width: usize,
        values: Vec<f16>,
        role: NumberRole,
    ) -> Result<Self, ColumnError> {
        let field = vector_field(name.into(), width, DataType::Float16, role)?;
        Self::vectors(field, width, Arc::new(Float16Array::from(values)))
    }

    /// A column of classes: numbers, and the names of those that have one. A row may be without a class.
    ///
    /// ```
    /// use tlc_core::{Column, value_map};
    /// let column = Column::labels("label", [Some(1), None, Some(0)], ["cat", "dog"]);
    /// assert_eq!(value_map(&column.field)[&1], "dog");
    /// ```
    pub fn labels(
        name: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<Option<i64>>>,
        class_names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let values: Int64Array = values.into_iter().map(Into::into).collect();
        let names: BTreeMap<i64, String> = (0..).zip(class_names.into_iter().map(Into::into)).collect();
        let field = Field::new(name, DataType::Int64, true).with_role(NumberRole::Label);
        Self { field: if names.is_empty() { field } else { field.with_value_map(&names) }, values: Arc::new(values) }
    }

    /// A column of texts, with the role `text`.
    ///
    /// # Errors
    /// If they take 2 GiB or more: write these batch by batch.
    pub fn texts(
        name: impl Into<String>,
        values: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ColumnError> {
        Self::strings(name.into(), values, NumberRole::Text)
    }

    /// A column of pictures, each an encoded file's bytes (PNG, JPEG, …), with the role `image`.
    ///
    /// # Errors
    /// If they take 2 GiB or more: write these batch by batch, or [by their paths](Self::image_paths).
    pub fn images(
        name: impl Into<String>,
        files: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, ColumnError> {
        let (name, files) = (name.into(), files.into_iter().collect::<Vec<_>>());
        check_bytes(&name, files.iter().map(|file| file.as_ref().len()))?;
        let values = BinaryArray::from_iter_values(files);
        let field = Field::new(name, DataType::Binary, true).with_role(NumberRole::Image);
        Ok(Self { field, values: Arc::new(values) })
    }

    /// A column of pictures by the paths of their files, with the role `image`.
    ///
    /// # Errors
    /// If the paths take 2 GiB or more.
    pub fn image_paths(
        name: impl Into<String>,
        paths: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ColumnError> {
        Self::strings(name.into(), paths, NumberRole::Image)
    }

    fn strings(
        name: String,
        values: impl IntoIterator<Item = impl AsRef<str>>,
        role: NumberRole,
    ) -> Result<Self, ColumnError> {
        let values: Vec<_> = values.into_iter().collect();
        check_bytes(&name, values.iter().map(|value| value.as_ref().len()))?;
        let values = StringArray::from_iter_values(values);
        Ok(Self { field: Field::new(name, DataType::Utf8, true).with_role(role), values: Arc::new(values) })
    }

    /// A column that says how much each sample counts, 0 or more, with the role `weight`.
    pub fn weights(name: impl Into<String>, values: impl IntoIterator<Item = f32>) -> Self {
        let values = Float32Array::from_iter_values(values);
        let field = Field::new(name, DataType::Float32, false).with_role(NumberRole::Weight);
        Self { field, values: Arc::new(values) }
    }

    /// Of `field`, whose vectors have `width` values.
    fn vectors(field: Field, width: usize, items: ArrayRef) -> Result<Self, ColumnError> {
        let values = items.len();
        if !values.is_multiple_of(width) {
            return Err(ColumnError::NotVectors { name: field.name().clone(), width, values });
        }
        let DataType::FixedSizeList(item, size) = field.data_type() else { unreachable!("made by its callers") };
        let list = FixedSizeListArray::new(item.clone(), *size, items, None);
        Ok(Self { field, values: Arc::new(list) })
    }
}

/// Refuses what a column's 32-bit offsets cannot count.
fn check_bytes(name: &str, lengths: impl Iterator<Item = usize>) -> Result<(), ColumnError> {
    let bytes = lengths.map(|length| length as u64).sum();
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(ColumnError::TooLong { name: name.to_owned(), bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_for_a_column_is_an_error() {
        let mebibyte = vec![b'x'; 1 << 20];
        let text = std::str::from_utf8(&mebibyte).expect("ASCII");
        let files = Column::images("picture", std::iter::repeat_n(&mebibyte, 2048)).expect_err("2 GiB");
        assert_eq!(files, ColumnError::TooLong { name: "picture".to_owned(), bytes: 1 << 31 });
        let texts = Column::texts("caption", std::iter::repeat_n(text, 2048)).expect_err("2 GiB").to_string();
        assert!(texts.contains("\"caption\"") && texts.contains("2147483648 bytes"), "{texts}");
        assert!(Column::image_paths("file", std::iter::repeat_n(text, 2048)).is_err());
    }

    #[test]
    fn vectors_that_do_not_fit_are_an_error() {
        let of = |width: usize, n: usize| {
            let wide =
                Column::embedding("e", width, vec![0.0; n], NumberRole::NnEmbedding).map(|column| column.values.len());
            let half = Column::embedding_f16("e", width, vec![f16::ZERO; n], NumberRole::NnEmbedding);
            assert_eq!(half.map(|column| column.values.len()), wide);
            wide
        };
        let name = || "e".to_owned();
        assert_eq!((of(3, 6), of(3, 0)), (Ok(2), Ok(0)));
        assert_eq!(of(3, 7), Err(ColumnError::NotVectors { name: name(), width: 3, values: 7 }));
        for width in [0, 1 << 31] {
            assert_eq!(of(width, 6), Err(ColumnError::Width { name: name(), width }));
            assert!(embedding_field("e", width, NumberRole::ReducedEmbedding).is_err());
        }
    }

    #[test]
    fn every_role_survives_its_name() {
        for (role, name) in ROLES {
            assert_eq!(name.parse::<NumberRole>(), Ok(role.clone()));
            let field = Field::new("x", DataType::Int64, true).with_role(role.clone());
            assert_eq!(field.role(), Some(role));
        }
        assert_eq!("my_role".parse(), Ok(NumberRole::Other("my_role".into())));
    }

    #[test]
    fn a_vector_column_is_viewed_as_a_matrix_also_when_sliced() {
        let column = Column::embedding("e", 2, vec![1., 2., 3., 4., 5., 6.], NumberRole::NnEmbedding).expect("3 rows");
        let schema = Arc::new(Schema::new(vec![column.field]));
        let batch = RecordBatch::try_new(schema, vec![column.values]).expect("one column").slice(1, 2);
        let view = embedding_values(&batch, "e").expect("a vector column");
        assert_eq!(view, ndarray::arr2(&[[3., 4.], [5., 6.]]));
        let halves = [1., 2., 3., 65504.].map(f16::from_f32).to_vec();
        let column = Column::embedding_f16("h", 2, halves, NumberRole::NnEmbedding).expect("2 rows");
        assert_eq!(embedding_width(&column.field), Some(2));
        let schema = Arc::new(Schema::new(vec![column.field]));
        let halves = RecordBatch::try_new(schema, vec![column.values]).expect("one column").slice(1, 1);
        assert_eq!(embedding_values(&halves, "h").expect("a vector column"), ndarray::arr2(&[[3., 65504.]]));
        assert_eq!(columns_with_role(&batch.schema(), &NumberRole::NnEmbedding), ["e"]);
    }
}
