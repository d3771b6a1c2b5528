//! The contract of tlc: what stores, reducers and collectors agree on.
//!
//! A training run produces *metrics tables*, one per epoch and split. A table is immutable, has a
//! [`Url`], a schema whose columns carry [roles](NumberRole), and a [`Lineage`] that says which
//! tables it was made from and how. A [`TableStore`] keeps tables, a [`Reducer`] turns a column of
//! wide vectors into a few coordinates.
//!
//! This crate does no IO, starts no thread and knows neither libtorch nor Lance. The interchange
//! types are Arrow's [`RecordBatch`](arrow_array::RecordBatch) and `ndarray` views; both crates are
//! re-exported, so that plugins share our versions: a table column becomes a kernel's input
//! without a copy.
//!
//! # Plugins
//!
//! Implement [`Reducer`] or [`TableStore`] under a versioned tag (`"my-reducer/1"`), submit a
//! [`PluginInfo`], and name the crate once in the executable (`use my_reducer as _;`): everything
//! that reads a tag from a file then finds it. See `examples/custom-reducer`.

mod aggregate;
pub mod digest;
mod error;
mod filter;
mod finite;
mod keys;
mod lineage;
mod model;
mod names;
mod places;
mod plugin;
mod progress;
mod reducer;
pub mod rng;
mod schema;
mod sink;
mod store;
mod url;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use arrow_array;
pub use arrow_schema;
pub use inventory;
pub use ndarray;
pub use typetag;
pub use ulid;

pub use aggregate::{Aggregate, aggregate};
pub use error::{ColumnError, ConstantError, ReduceError, StoreError, UrlError, with_causes};
pub use filter::{Comparison, Filter};
pub use finite::{FiniteFit, fit_finite_rows, is_measurable};
pub use keys::{key_columns, metrics_name};
pub use lineage::{ColumnLineage, ColumnSource, Lineage, LineageInput, ModelRef, Operation};
pub use model::{Array, Arrays, MODEL_DOCUMENT, ModelFile, decode_model, encode_model, verify_model};
pub use names::{UniqueName, distinct, suggest};
pub use places::Places;
pub use plugin::{PluginError, PluginInfo, PluginKind, check_plugins, plugins, reducer_from_args, reducer_from_json};
pub use progress::{Cancelled, Progress, ProgressSink, Task};
pub use reducer::{FittedReducer, Reducer, Transformed, score_column};
pub use schema::{
    Column, FieldRoles, NumberRole, columns_with_role, embedding_field, embedding_values, embedding_width,
    tensor_shape, value_map,
};
pub use sink::{MetricsSink, MetricsTable};
pub use store::{BatchStream, ObjectVersion, Scan, TableInfo, TableStore, WriteCondition, check_row_numbers, select};
pub use url::{Scheme, Url};
