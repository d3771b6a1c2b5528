//! Scalar functions: coordinates by a fitted model, and distances.
//!
//! They are stateless and immutable; a plan that uses them names them, and holds texts and numbers.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tlc_core::{Progress, Transformed, Url, embedding_values};

use crate::{ClusterError, models};

const REDUCE: &str = "tlc_reduce";
const PLACE: &str = "tlc_place";
const DISTANCE: &str = "tlc_distance";
const METRICS: [&str; 2] = ["euclidean", "cosine"];

/// The function of this name, if it is one of ours.
#[cfg_attr(not(feature = "ballista"), expect(dead_code, reason = "plans of one process do not travel"))]
pub(crate) fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    match name {
        REDUCE => Some(reduce()),
        PLACE => Some(place()),
        DISTANCE => Some(distance()),
        _ => None,
    }
}

/// `tlc_reduce(embedding, 'model-url', 'sha256', n)`: the `n` coordinates that a model gives to each row, null for rows
/// that are null or hold NaN or infinity.
pub fn reduce() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Reduce::new(REDUCE, false)))
}

/// As [`reduce`], but a struct of `coordinates` and `out_of_distribution`: how far each row is from those that were
/// fitted.
pub fn place() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Reduce::new(PLACE, true)))
}

/// `tlc_distance(a, b)`, or `tlc_distance(a, b, 'cosine')`: the distance of two vectors of one width.
pub fn distance() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Distance { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Reduce {
    name: &'static str,
    has_score: bool,
    signature: Signature,
}

impl Reduce {
    fn new(name: &'static str, has_score: bool) -> Self {
        Self { name, has_score, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn refused(&self, reason: String) -> ClusterError {
        ClusterError::Arguments { function: self.name, reason }
    }

    /// The type of the result for `n` coordinates.
    fn result(&self, n: i32) -> DataType {
        let coordinates = DataType::FixedSizeList(item(), n);
        match self.has_score {
            false => coordinates,
            true => DataType::Struct(scored(coordinates)),
        }
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn scored(coordinates: DataType) -> Fields {
    Fields::from(vec![
        Field::new("coordinates", coordinates, true),
        Field::new("out_of_distribution", DataType::Float32, true),
    ])
}

/// Whether it is a column of vectors of one width, as reducers take them.
fn is_embedding(kind: &DataType) -> bool {
    let is_float = |item: &DataType| matches!(item, DataType::Float32 | DataType::Float16);
    matches!(kind, DataType::FixedSizeList(item, _) if is_float(item.data_type()))
}

impl ScalarUDFImpl for Reduce {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [embedding, _, _, _] = types else {
            let reason =
                format!("{} arguments were given; (embedding, 'model-url', 'sha256', n) are needed", types.len());
            return Err(self.refused(reason).into());
        };
        if !is_embedding(embedding) {
            let reason =
                format!("its first argument is {embedding}; vectors of float32 or float16 of one width are needed");
            return Err(self.refused(reason).into());
        }
        Ok(vec![embedding.clone(), DataType::Utf8, DataType::Utf8, DataType::Int64])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(self.refused("its type depends on n".to_owned()).into())
    }

    /// Planning needs no model: `n` is written in the query.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let n = match args.scalar_arguments.get(3).copied().flatten() {
            Some(ScalarValue::Int64(Some(n))) => i32::try_from(*n).ok().filter(|n| *n > 0),
            _ => None,
        };
        let Some(n) = n else {
            let found = args.scalar_arguments.get(3).copied().flatten().map(ToString::to_string);
            let found = found.unwrap_or_else(|| "no number".to_owned());
            return Err(self.refused(format!("n is {found}; a positive whole number is needed")).into());
        };
        Ok(Arc::new(Field::new(self.name, self.result(n), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [embedding, url, digest, _] = args.args.as_slice() else {
            return Err(self.refused("four arguments are needed".to_owned()).into());
        };
        let text = |value: &ColumnarValue, what: &str| match value {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Ok(text.clone()),
            _ => Err(self.refused(format!("{what} must be a text, the same for all rows"))),
        };
        let url: Url = text(url, "the model's URL")?.parse().map_err(ClusterError::from)?;
        if !url.is_absolute() {
            let reason = format!("{url} is relative; the model's absolute URL is needed");
            return Err(self.refused(reason).into());
        }
        let fitted = models::model(&url, &text(digest, "the model's digest")?)?;
        let n = fitted.layout().ncols();
        if *args.return_field.data_type() != self.result(i32::try_from(n).unwrap_or(i32::MAX)) {
            let (found, asked) = (n, args.return_field.data_type());
            return Err(self
                .refused(format!("the model {url} gives {found} coordinates, {asked} was asked for"))
                .into());
        }
        let column = embedding.to_array(args.number_rows)?;
        let nulls = column.logical_nulls();
        let batch = RecordBatch::try_from_iter_with_nullable([("embedding", column, true)])?;
        let Some(values) = embedding_values(&batch, "embedding") else {
            return Err(self.refused("vectors of float32 or float16 are needed".to_owned()).into());
        };
        let placed = fitted
            .transform(values.view(), &Progress::default())
            .map_err(|source| ClusterError::Model { url: url.clone(), source })?;
        let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Ok(ColumnarValue::Array(self.arrays(placed, is_valid)))
    }
}

impl Reduce {
    fn arrays(&self, placed: Transformed, is_valid: impl Fn(usize) -> bool) -> ArrayRef {
        let (coordinates, scores) = placed.into_arrays(is_valid);
        if !self.has_score {
            return coordinates;
        }
        Arc::new(StructArray::new(scored(coordinates.data_type().clone()), vec![coordinates, scores], None))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Distance {
    signature: Signature,
}

fn refused(reason: String) -> ClusterError {
    ClusterError::Arguments { function: DISTANCE, reason }
}

impl ScalarUDFImpl for Distance {
    fn name(&self) -> &str {
        DISTANCE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Both become vectors of float32; a list in brackets takes the width of the other.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (a, b) = match types {
            [a, b] | [a, b, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View] => (a, b),
            _ => return Err(refused("two vectors are needed, and perhaps the name of a metric".to_owned()).into()),
        };
        let width = |kind: &DataType| match kind {
            DataType::FixedSizeList(_, width) => Some(*width),
            _ => None,
        };
        let width = match (width(a), width(b)) {
            (Some(a), Some(b)) if a != b => {
                return Err(refused(format!("the vectors have {a} and {b} values; one width is needed")).into());
            }
            (Some(width), _) | (None, Some(width)) => width,
            (None, None) => {
                return Err(refused(format!("the arguments are {a} and {b}; one must be a column of vectors")).into());
            }
        };
        let vector = DataType::FixedSizeList(item(), width);
        let mut coerced = vec![vector.clone(), vector];
        coerced.extend(types.get(2).map(|_| DataType::Utf8));
        Ok(coerced)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let metric = match args.args.get(2) {
            None => METRICS[0],
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) if METRICS.contains(&name.as_str()) => name,
            Some(other) => {
                return Err(refused(format!("the metric is {other}; it is one of {}", METRICS.join(", "))).into());
            }
        };
        let measure = if metric == METRICS[0] { euclidean } else { cosine };
        let (a, b) = (Vectors::of(&args.args[0])?, Vectors::of(&args.args[1])?);
        let row = |row: usize| Some(measure(a.row(row)?, b.row(row)?));
        let distances: Float32Array = (0..args.number_rows).map(row).collect();
        Ok(ColumnarValue::Array(Arc::new(distances)))
    }
}

/// Vectors of a column, or one that stands for all rows.
struct Vectors {
    list: FixedSizeListArray,
    is_constant: bool,
}

impl Vectors {
    fn of(value: &ColumnarValue) -> Result<Self> {
        let (array, is_constant) = match value {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let list = array.as_fixed_size_list_opt().filter(|list| list.value_type() == DataType::Float32);
        let list = list.ok_or_else(|| refused(format!("an argument is {}", array.data_type())))?;
        Ok(Self { list: list.clone(), is_constant })
    }

    /// `None` where the row is null.
    fn row(&self, row: usize) -> Option<&[f32]> {
        let row = if self.is_constant { 0 } else { row };
        let width = usize::try_from(self.list.value_length()).ok()?;
        let values = self.list.values().as_primitive::<Float32Type>().values();
        self.list.is_valid(row).then(|| &values[row * width..][..width])
    }
}

fn euclidean(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
}

/// One minus the cosine of the angle; NaN for a vector of zeros, which has no direction.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}
