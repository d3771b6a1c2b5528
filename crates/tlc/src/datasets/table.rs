//! The rows of a table as samples.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{Float32Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, cast::AsArray};
use arrow_schema::{DataType, Field};
use tch::{Kind, Tensor};
use tlc_collect::{Batch, CollectError, Dataset};
use tlc_core::{
    FieldRoles, LineageInput, NumberRole, Scan, TableStore, Url, columns_with_role, tensor_shape, value_map,
};

use super::{DatasetError, Preparation};

/// The rows of a table, in their order; a row's number is its `example_id`, also where the table has a column of that role.
///
/// The input column holds encoded pictures (binary), paths of pictures (text), or tensors: vectors of one width of
/// float32, int64 or bytes, of the shape that the column [says](tlc_core::FieldRoles::with_tensor_shape).
/// Bytes become numbers from 0 to 1. The column with the role `label` gives labels and class names, that with the role
/// `weight` weights.
#[derive(Debug)]
pub struct TableDataset {
    store: Arc<dyn TableStore>,
    url: Url,
    rows: usize,
    column: String,
    /// Of a sample; empty for pictures.
    shape: Vec<i64>,
    preparation: Preparation,
    label: Option<String>,
    class_names: Vec<String>,
    weights: Option<Vec<f32>>,
    table: LineageInput,
}

impl TableDataset {
    /// The table at `url`; `column` is the input column, the one with the role `image` or else the only usable one if
    /// not given.
    ///
    /// # Errors
    /// A table without a column that can be used, or with several of which none was named; a failing store.
    pub fn open(
        store: Arc<dyn TableStore>,
        url: &Url,
        column: Option<&str>,
        preparation: Preparation,
    ) -> Result<Self, DatasetError> {
        let info = store.info(url)?;
        let refused = |reason: String| DatasetError::Table { url: url.clone(), reason };
        preparation.check().map_err(refused)?;
        let field = input_field(&info.schema, column).map_err(refused)?.clone();
        let shape = match field.data_type() {
            DataType::FixedSizeList(_, width) => tensor_shape(&field).unwrap_or_else(|| vec![i64::from(*width)]),
            _ => Vec::new(),
        };
        let is_whole =
            |name: &String| info.schema.field_with_name(name).is_ok_and(|f| f.data_type() == &DataType::Int64);
        let label = columns_with_role(&info.schema, &NumberRole::Label).into_iter().find(is_whole);
        let names = label.as_ref().and_then(|name| info.schema.field_with_name(name).ok()).map(value_map);
        let weight = columns_with_role(&info.schema, &NumberRole::Weight).into_iter().next();
        let weights = weight.map(|name| read_weights(store.as_ref(), url, &name)).transpose()?;
        Ok(Self {
            url: url.clone(),
            rows: info.rows as usize,
            column: field.name().clone(),
            shape,
            preparation,
            label,
            class_names: names.unwrap_or_default().into_values().collect(),
            weights,
            table: info.as_input(),
            store,
        })
    }

    /// The names of the classes that the label column has, in the order of their numbers.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Whether the table has labels.
    pub fn has_labels(&self) -> bool {
        self.label.is_some()
    }
}

impl Dataset for TableDataset {
    fn len(&self) -> usize {
        self.rows
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        let numbers: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        let columns: Vec<String> = [Some(&self.column), self.label.as_ref()].into_iter().flatten().cloned().collect();
        let taken = self.store.take(&self.url, &numbers, Some(&columns))?;
        let name = |place: usize| format!("row {} of {}", rows[place], self.url);
        let (inputs, kept, skipped) = if self.shape.is_empty() {
            let pictures = self.preparation.prepare_all(rows.len(), |place| picture(taken.column(0), place), name)?;
            (pictures.inputs, pictures.kept, pictures.skipped)
        } else {
            let tensors = tensors(taken.column(0), &self.shape).map_err(|what| CollectError::Data { what })?;
            (tensors, (0..rows.len()).collect(), Vec::new())
        };
        let labels = self.label.as_ref().map(|_| labels(taken.column(1), &kept)).transpose()?;
        Ok(Batch { skipped, ..Batch::new(inputs, labels) })
    }

    fn as_sync(&self) -> Option<&(dyn Dataset + Sync)> {
        Some(self)
    }

    fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    fn table(&self) -> Option<&LineageInput> {
        Some(&self.table)
    }
}

/// Whether a model can be run on what the column holds.
fn is_usable(field: &Field) -> bool {
    match field.data_type() {
        DataType::FixedSizeList(item, _) => {
            matches!(item.data_type(), DataType::Float32 | DataType::Int64 | DataType::UInt8)
        }
        DataType::Binary | DataType::Utf8 => field.role() == Some(NumberRole::Image),
        _ => false,
    }
}

fn input_field<'a>(schema: &'a arrow_schema::Schema, column: Option<&str>) -> Result<&'a Field, String> {
    let usable: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).filter(|field| is_usable(field)).collect();
    let names = |fields: &[&Field]| {
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let needed = "a column of pictures with the role image, or of vectors of float32, int64 or bytes, is needed";
    match column {
        Some(name) => usable.iter().find(|field| field.name() == name).copied().ok_or_else(|| {
            format!("{name:?} is no column that a model can be run on (those are: {}); {needed}", names(&usable))
        }),
        None => match usable.iter().find(|field| field.role() == Some(NumberRole::Image)) {
            Some(image) => Ok(image),
            None if usable.len() == 1 => Ok(usable[0]),
            None => Err(format!(
                "it has {} columns that a model can be run on ({}); {needed}",
                usable.len(),
                names(&usable)
            )),
        },
    }
}

fn read_weights(store: &dyn TableStore, url: &Url, column: &str) -> Result<Vec<f32>, DatasetError> {
    let mut weights = Vec::new();
    for batch in store.scan(url, Scan::columns([column]))? {
        let batch = batch?;
        let values = batch.column(0).as_primitive_opt::<Float32Type>().ok_or_else(|| DatasetError::Table {
            url: url.clone(),
            reason: format!("its weights {column:?} are of {}; float32 is needed", batch.column(0).data_type()),
        })?;
        weights.extend(values.iter().map(|weight| weight.unwrap_or(1.0)));
    }
    Ok(weights)
}

fn picture(column: &ArrayRef, row: usize) -> Result<image::DynamicImage, String> {
    if column.is_null(row) {
        return Err("it is null".to_owned());
    }
    match column.data_type() {
        DataType::Utf8 => super::folder::open(Path::new(column.as_string::<i32>().value(row)))?
            .decode()
            .map_err(|error| error.to_string()),
        _ => image::load_from_memory(column.as_binary::<i32>().value(row)).map_err(|error| error.to_string()),
    }
}

fn tensors(column: &ArrayRef, shape: &[i64]) -> Result<Tensor, String> {
    fn of<T: ArrowPrimitiveType>(items: &dyn Array, shape: &[i64]) -> Option<Tensor>
    where
        T::Native: tch::kind::Element,
    {
        let values = items.as_primitive_opt::<T>()?.values();
        Tensor::f_from_slice(values).ok()?.f_reshape(shape).ok()
    }
    let list = column.as_fixed_size_list();
    if list.null_count() > 0 {
        return Err(format!("{} of the samples are null", list.null_count()));
    }
    let all = [&[list.len() as i64], shape].concat();
    let items = list.values().slice(list.value_offset(0) as usize, list.len() * list.value_length() as usize);
    let tensor = match items.data_type() {
        DataType::UInt8 => of::<UInt8Type>(&items, &all).map(|bytes| bytes.to_kind(Kind::Float) / 255.0),
        DataType::Int64 => of::<Int64Type>(&items, &all),
        _ => of::<Float32Type>(&items, &all),
    };
    tensor.ok_or_else(|| format!("vectors of {} values cannot be tensors of shape {shape:?}", list.value_length()))
}

fn labels(column: &ArrayRef, kept: &[usize]) -> Result<Tensor, CollectError> {
    let column = column.as_primitive::<Int64Type>();
    if let Some(place) = kept.iter().find(|&&place| column.is_null(place)) {
        return Err(CollectError::Data { what: format!("the label of sample {place} of a batch is null") });
    }
    Ok(Tensor::from_slice(&kept.iter().map(|&place| column.value(place)).collect::<Vec<i64>>()))
}

#[cfg(test)]
mod tests {
    use arrow_array::FixedSizeListArray;
    use arrow_array::{BinaryArray, Float32Array, Int64Array, RecordBatch, UInt8Array};
    use arrow_schema::Schema;
    use image::{ImageFormat, RgbImage};
    use tlc_core::StoreError;
    use tlc_table::MemoryStore;

    use super::*;

    fn stored(columns: Vec<(Field, ArrayRef)>) -> (Arc<dyn TableStore>, Url) {
        let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(schema.clone(), values).expect("they fit");
        let url: Url = "memory://t/t.lance".parse().expect("a URL");
        let store = MemoryStore::default();
        store.create(&url, schema, Box::new([Ok::<_, StoreError>(rows)].into_iter())).expect("new");
        (Arc::new(store), url)
    }

    fn open(columns: Vec<(Field, ArrayRef)>) -> Result<TableDataset, DatasetError> {
        let (store, url) = stored(columns);
        TableDataset::open(store, &url, None, Preparation::named("none", 4).expect("known"))
    }

    #[test]
    fn pictures_labels_and_weights_come_by_their_roles() {
        let png = |colour: [u8; 3]| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            RgbImage::from_pixel(8, 6, image::Rgb(colour)).write_to(&mut bytes, ImageFormat::Png).expect("encodable");
            bytes.into_inner()
        };
        let (white, damaged) = (png([255; 3]), png([9; 3])[..20].to_vec());
        let pictures = BinaryArray::from_iter_values([white.clone(), damaged, white]);
        let names = std::collections::BTreeMap::from([(0, "cat".to_owned()), (1, "dog".to_owned())]);
        let dataset = open(vec![
            (Field::new("picture", DataType::Binary, true).with_role(NumberRole::Image), Arc::new(pictures)),
            (
                Field::new("class", DataType::Int64, true).with_role(NumberRole::Label).with_value_map(&names),
                Arc::new(Int64Array::from(vec![0, 1, 1])),
            ),
            (
                Field::new("weight", DataType::Float32, true).with_role(NumberRole::Weight),
                Arc::new(Float32Array::from(vec![Some(1.0), Some(0.0), None])),
            ),
        ])
        .expect("usable");
        assert_eq!(dataset.class_names(), ["cat", "dog"]);
        assert_eq!(dataset.weights(), Some([1.0, 0.0, 1.0].as_slice()));
        let batch = dataset.batch(&[2, 1]).expect("one of them");
        assert_eq!(batch.skipped, [1]);
        let inputs = batch.inputs.only().expect("one tensor");
        assert_eq!((inputs.size(), inputs.min().double_value(&[])), (vec![1, 3, 4, 4], 1.0));
        assert_eq!(batch.labels.expect("labels").int64_value(&[0]), 1);
    }

    #[test]
    fn bytes_become_tensors_of_the_stated_shape() {
        let item = Arc::new(Field::new("item", DataType::UInt8, true));
        let bytes = Arc::new(UInt8Array::from_iter_values(0..24));
        let list = FixedSizeListArray::new(item.clone(), 8, bytes, None);
        let field = Field::new("x", DataType::FixedSizeList(item, 8), true).with_tensor_shape(&[1, 2, 4]);
        let dataset = open(vec![(field, Arc::new(list))]).expect("usable");
        let batch = dataset.batch(&[1]).expect("there");
        let inputs = batch.inputs.only().expect("one tensor");
        assert_eq!(inputs.size(), [1, 1, 2, 4]);
        assert_eq!(inputs.double_value(&[0, 0, 1, 3]), f64::from(15.0_f32 / 255.0));
    }

    #[test]
    fn a_table_without_a_usable_column_is_refused_with_what_it_needs() {
        let error = open(vec![(Field::new("n", DataType::Int64, true), Arc::new(Int64Array::from(vec![1])))])
            .expect_err("numbers only")
            .to_string();
        assert!(error.contains("0 columns that a model can be run on (none)"), "{error}");
    }
}
