//! Arrays as columns: of NumPy, of safetensors, and back into plain columns.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, PrimitiveArray, RecordBatch, cast::AsArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use ndarray::ArrayD;
use ndarray_npy::{ReadNpyExt, ReadableElement};
use safetensors::{Dtype, SafeTensors};
use tlc_core::BatchStream;

use super::is_vector;
use crate::TableError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn read_npy(path: &Path) -> Result<(SchemaRef, BatchStream<'static>), TableError> {
    fn of<T: ReadableElement + Clone, A: ArrowPrimitiveType<Native = T>>(
        path: &Path,
    ) -> Result<(Vec<usize>, ArrayRef), Cause> {
        let array = ArrayD::<T>::read_npy(BufReader::new(File::open(path)?))?;
        let shape = array.shape().to_vec();
        // Fortran's order becomes row by row.
        let values: Vec<T> = array.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
        Ok((shape, Arc::new(PrimitiveArray::<A>::from_iter_values(values))))
    }
    let failed = |source: Cause| TableError::File { action: "read", path: path.to_owned(), source };
    let opened = File::open(path).map_err(|error| failed(error.into()))?;
    drop(opened);
    let readers = [
        of::<f32, Float32Type>,
        of::<f64, Float64Type>,
        of::<i64, Int64Type>,
        of::<i32, Int32Type>,
        of::<u8, UInt8Type>,
    ];
    let mut last = None;
    for read in readers {
        match read(path) {
            Ok((shape, values)) => {
                let name =
                    path.file_stem().map_or_else(|| "array".into(), |name| name.to_string_lossy().replace('.', "_"));
                let (field, values) = column(path, &name, &shape, values)?;
                return single(path, vec![(field, values)]);
            }
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(String::new, |error| format!(" ({error})"));
    let reason = format!("it holds no array of float32, float64, int64, int32 or uint8{reason}");
    Err(TableError::Format { path: path.to_owned(), reason })
}

pub(super) fn read_safetensors(path: &Path) -> Result<(SchemaRef, BatchStream<'static>), TableError> {
    let bytes = std::fs::read(path).map_err(|error| TableError::File {
        action: "read",
        path: path.to_owned(),
        source: error.into(),
    })?;
    let refused = |reason: String| TableError::Format { path: path.to_owned(), reason };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| refused(error.to_string()))?;
    let mut columns = Vec::new();
    let mut names = tensors.names();
    names.sort();
    for name in names {
        let tensor = tensors.tensor(name).map_err(|error| refused(error.to_string()))?;
        let data = tensor.data();
        let values: ArrayRef = match tensor.dtype() {
            Dtype::F32 => numbers::<Float32Type, 4>(data, f32::from_le_bytes),
            Dtype::F64 => numbers::<Float64Type, 8>(data, f64::from_le_bytes),
            Dtype::I64 => numbers::<Int64Type, 8>(data, i64::from_le_bytes),
            Dtype::I32 => numbers::<Int32Type, 4>(data, i32::from_le_bytes),
            Dtype::U8 => numbers::<UInt8Type, 1>(data, u8::from_le_bytes),
            other => return Err(refused(format!("{name:?} is of {other:?}; F32, F64, I64, I32 or U8 is needed"))),
        };
        columns.push(column(path, &name.replace('.', "_"), tensor.shape(), values)?);
    }
    single(path, columns)
}

fn numbers<A: ArrowPrimitiveType, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> A::Native) -> ArrayRef {
    let values = bytes.as_chunks::<N>().0.iter().map(|bytes| read(*bytes));
    Arc::new(PrimitiveArray::<A>::from_iter_values(values))
}

/// One column of an array: its first axis is the rows.
fn column(path: &Path, name: &str, shape: &[usize], values: ArrayRef) -> Result<(Field, ArrayRef), TableError> {
    let refused = |reason: String| TableError::Format { path: path.to_owned(), reason };
    match shape {
        [] => Err(refused(format!("{name:?} is a single number; an array is needed"))),
        [_] => Ok((Field::new(name, values.data_type().clone(), false), values)),
        [n, rest @ ..] => {
            let width: usize = rest.iter().product();
            let size = i32::try_from(width).ok().filter(|size| *size > 0);
            let size =
                size.ok_or_else(|| refused(format!("{name:?} is {shape:?}; rows of 1 to 2^31 values are needed")))?;
            // 64-bit floats are what NumPy makes by default; embeddings are of 32.
            let values = match values.as_primitive_opt::<Float64Type>() {
                Some(wide) => {
                    Arc::new(Float32Array::from_iter_values(wide.values().iter().map(|&x| x as f32))) as ArrayRef
                }
                None => values,
            };
            let item = Arc::new(Field::new("item", values.data_type().clone(), true));
            let list = FixedSizeListArray::try_new(item.clone(), size, values, None)
                .map_err(|error| refused(error.to_string()))?;
            debug_assert_eq!(list.len(), *n);
            let field = Field::new(name, DataType::FixedSizeList(item, size), false);
            let shape: Vec<i64> = rest.iter().map(|&length| length as i64).collect();
            let field = if shape.len() > 1 { tlc_core::FieldRoles::with_tensor_shape(field, &shape) } else { field };
            Ok((field, Arc::new(list)))
        }
    }
}

fn single(path: &Path, columns: Vec<(Field, ArrayRef)>) -> Result<(SchemaRef, BatchStream<'static>), TableError> {
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), values).map_err(|error| TableError::Format {
        path: path.to_owned(),
        reason: format!("its arrays do not make a table, of one length each: {error}"),
    })?;
    Ok((schema, Box::new([Ok(batch)].into_iter())))
}

/// The batch with vectors as one column per value: `embedding_0`, `embedding_1`, …
pub(super) fn spread_vectors(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !is_vector(field.data_type()) {
            fields.push(field.as_ref().clone());
            values.push(column.clone());
            continue;
        }
        let list = column.as_fixed_size_list();
        let (width, n) = (list.value_length() as usize, list.len());
        let items = list.values().slice(list.value_offset(0) as usize, n * width);
        for place in 0..width {
            let indices = arrow_array::UInt64Array::from_iter(
                (0..n).map(|row| list.is_valid(row).then_some((row * width + place) as u64)),
            );
            let cells = arrow_select::take::take(&items, &indices, None)?;
            fields.push(Field::new(format!("{}_{place}", field.name()), cells.data_type().clone(), true));
            values.push(cells);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values)
}
