//! Means of the columns of a metrics table.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, Field};
use serde::{Deserialize, Serialize};

use crate::{FieldRoles, NumberRole, value_map};

/// The values of one column of metrics, added up over samples.
///
/// Sums and counts instead of a mean, so that the parts that several processes collected give the true mean over all
/// samples when they are [put together](Self::merge), however uneven the parts are.
///
/// ```
/// use tlc_core::Aggregate;
///
/// let mut loss: Aggregate = [1.0, 2.0, 3.0].into_iter().collect();
/// loss.merge([6.0].into_iter().collect());
/// assert_eq!((loss.mean(), loss.count), (3.0, 4));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The sum of the finite values; of booleans, how many are true.
    pub sum: f64,
    /// How many values are finite.
    pub count: u64,
    /// How many are NaN or infinite; nulls count nowhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_finite: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Aggregate {
    /// The mean over all values; NaN if one of them is not finite, or if there are none.
    pub fn mean(&self) -> f64 {
        if self.not_finite > 0 { f64::NAN } else { self.mean_of_finite() }
    }

    /// The mean over the finite values; NaN if there are none.
    pub fn mean_of_finite(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Adds the values of `other`.
    pub fn merge(&mut self, other: Self) {
        let sum = self.sum + other.sum;
        if sum.is_finite() {
            self.sum = sum;
            self.count += other.count;
        } else {
            self.not_finite += other.count;
        }
        self.not_finite += other.not_finite;
    }

    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        // Also a sum that leaves the range of numbers: JSON could not hold it.
        if sum.is_finite() {
            self.sum = sum;
            self.count += 1;
        } else {
            self.not_finite += 1;
        }
    }
}

impl Extend<f64> for Aggregate {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl FromIterator<f64> for Aggregate {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut aggregate = Self::default();
        aggregate.extend(values);
        aggregate
    }
}

/// Adds the rows of a metrics table, batch by batch, to `aggregates`, by column: those of numbers and of booleans
/// (true is 1) whose mean says something, so neither ids, epochs nor classes, nor columns of vectors.
///
/// Values are added in the order of rows, so how rows are cut into batches does not matter.
pub fn aggregate(rows: &RecordBatch, aggregates: &mut BTreeMap<String, Aggregate>) {
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        if let Some(values) = numbers(field, values) {
            aggregates.entry(field.name().clone()).or_default().extend(values);
        }
    }
}

/// The values of a column that has a mean, without nulls.
fn numbers<'a>(field: &Field, values: &'a dyn Array) -> Option<Box<dyn Iterator<Item = f64> + 'a>> {
    use NumberRole::{Epoch, ExampleId, Finite, ForeignTableId, Label, Prediction};
    let is_name = matches!(field.role(), Some(Epoch | ExampleId | Finite | ForeignTableId | Label | Prediction));
    if is_name || !value_map(field).is_empty() {
        return None;
    }
    fn of<'a, T: ArrowPrimitiveType>(
        values: &'a dyn Array,
        number: impl Fn(T::Native) -> f64 + 'a,
    ) -> Option<Box<dyn Iterator<Item = f64> + 'a>> {
        Some(Box::new(values.as_primitive_opt::<T>()?.iter().flatten().map(number)))
    }
    match values.data_type() {
        DataType::Boolean => Some(Box::new(values.as_boolean_opt()?.iter().flatten().map(f64::from))),
        DataType::Int8 => of::<Int8Type>(values, f64::from),
        DataType::Int16 => of::<Int16Type>(values, f64::from),
        DataType::Int32 => of::<Int32Type>(values, f64::from),
        DataType::Int64 => of::<Int64Type>(values, |value| value as f64),
        DataType::UInt8 => of::<UInt8Type>(values, f64::from),
        DataType::UInt16 => of::<UInt16Type>(values, f64::from),
        DataType::UInt32 => of::<UInt32Type>(values, f64::from),
        DataType::UInt64 => of::<UInt64Type>(values, |value| value as f64),
        DataType::Float16 => of::<Float16Type>(values, f64::from),
        DataType::Float32 => of::<Float32Type>(values, f64::from),
        DataType::Float64 => of::<Float64Type>(values, |value| value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, UInt8Array};
    use arrow_schema::Schema;

    use super::*;

    fn rows() -> RecordBatch {
        let number = |name: &str, kind: DataType| Field::new(name, kind, true);
        let names = BTreeMap::from([(0, "cat".to_owned())]);
        let columns: Vec<(Field, ArrayRef)> = vec![
            (number("loss", DataType::Float64), Arc::new(Float64Array::from(vec![0.5, 1.5, f64::NAN]))),
            (number("is_right", DataType::Boolean), Arc::new(BooleanArray::from(vec![true, true, false]))),
            (number("rank", DataType::Int64), Arc::new(Int64Array::from(vec![Some(-3), None, Some(7)]))),
            (number("words", DataType::UInt8), Arc::new(UInt8Array::from(vec![200, 255, 1]))),
            (number("animal", DataType::Int64).with_value_map(&names), Arc::new(Int64Array::from(vec![0; 3]))),
            (
                number("example_id", DataType::Int64).with_role(NumberRole::ExampleId),
                Arc::new(Int64Array::from(vec![0; 3])),
            ),
            (number("split", DataType::Utf8), Arc::new(StringArray::from(vec!["train"; 3]))),
        ];
        let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), values).expect("one length")
    }

    #[test]
    fn numbers_and_booleans_have_means_and_names_of_things_have_none() {
        let mut found = BTreeMap::new();
        aggregate(&rows(), &mut found);
        let expected = [
            ("is_right", Aggregate { sum: 2.0, count: 3, not_finite: 0 }),
            ("loss", Aggregate { sum: 2.0, count: 2, not_finite: 1 }),
            ("rank", Aggregate { sum: 4.0, count: 2, not_finite: 0 }),
            ("words", Aggregate { sum: 456.0, count: 3, not_finite: 0 }),
        ];
        assert!(found.iter().map(|(name, value)| (name.as_str(), *value)).eq(expected), "{found:?}");
        assert!(found["loss"].mean().is_nan() && found["loss"].mean_of_finite() == 1.0);
        let json = serde_json::to_string(&found).expect("plain data");
        assert_eq!(serde_json::from_str::<BTreeMap<String, Aggregate>>(&json).expect("the same"), found);
    }

    #[test]
    fn how_rows_are_cut_into_batches_does_not_matter() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i).sin() * 1e3_f64.powi(i % 5)).collect();
        let field = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
        let all = RecordBatch::try_new(field, vec![Arc::new(Float64Array::from(values))]).expect("one length");
        let cut = |size: usize| {
            let mut found = BTreeMap::new();
            (0..1000).step_by(size).for_each(|start| aggregate(&all.slice(start, size.min(1000 - start)), &mut found));
            found["x"]
        };
        assert_eq!(cut(1000), cut(7));
    }

    #[test]
    fn a_sum_beyond_all_numbers_stays_readable() {
        let largest: Aggregate = [f64::MAX, f64::MAX].into_iter().collect();
        assert_eq!(largest, Aggregate { sum: f64::MAX, count: 1, not_finite: 1 });
        let mut twice = largest;
        twice.merge(largest);
        assert_eq!(twice, Aggregate { sum: f64::MAX, count: 1, not_finite: 3 });
        let json = serde_json::to_string(&largest).expect("plain data");
        assert_eq!(serde_json::from_str::<Aggregate>(&json).expect("no null").not_finite, 1);
        assert!(Aggregate::default().mean().is_nan(), "of nothing there is no mean");
    }
}
