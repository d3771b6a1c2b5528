//! Immutable tables with lineage.
//!
//! [`LanceStore`] keeps each table as one Lance dataset directory whose only version is 1, on local disk or in an
//! object store (features `s3`, `gcs`, `azure`); pylance, LanceDB and DuckDB open it as it is. [`MemoryStore`] keeps
//! tables in this process: the reference implementation of the contract, and a quick store for tests.
//!
//! No Lance, tokio or file-system type appears in the interface: Lance releases a breaking major every
//! few weeks, and an upgrade touches this crate only.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{Int64Array, RecordBatch};
//! use arrow_schema::{DataType, Field, Schema};
//! use tlc_core::{Lineage, Operation, Scan, TableStore};
//! use tlc_table::LanceStore;
//!
//! let folder = tempfile::tempdir()?;
//! let root = tlc_core::Url::from_path(folder.path())?;
//! let schema = Schema::new(vec![Field::new("example_id", DataType::Int64, false)]);
//! let schema = Arc::new(Lineage::new("docs/1", Operation::new("example", 1)).write_into(&schema));
//! let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![0, 1, 2]))])?;
//!
//! let store = LanceStore::default();
//! let table = store.create(&root.join("numbers.lance")?, schema, Box::new([Ok(rows)].into_iter()))?;
//! assert_eq!(table.rows, 3);
//! assert_eq!(store.scan(&table.url, Scan::default())?.next().expect("one batch")?.num_rows(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod cause;
mod error;
mod files;
mod formats;
mod lance;
mod manifests;
mod memory;
#[cfg(feature = "remote")]
mod remote;
mod runtime;
mod table;

pub use error::TableError;
pub use formats::{FileFormat, read_file, write_bytes, write_file};
pub use lance::LanceStore;
pub use memory::MemoryStore;
pub use table::{Derivation, IfExists, NewTable, Table};
