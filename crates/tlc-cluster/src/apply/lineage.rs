//! Where the new table says that it comes from.

use arrow_schema::FieldRef;
use serde_json::json;
use tlc_core::{FittedReducer, Lineage, LineageInput, ModelRef, Operation, TableInfo, Url};

use super::Apply;

/// What lineage calls this crate.
pub(super) const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The kind of operation that lineage gives to tables made here. Not `reduce`, which means that the model was fitted on
/// the last of the inputs.
const APPLY: &str = "apply";

/// As a reduced table's, except for the kind of operation and the table that the model was fitted on, which a model
/// does not name.
pub(super) fn lineage(
    job: &Apply,
    source: &TableInfo,
    kept: &[FieldRef],
    column: &str,
    target: &str,
    fitted: &dyn FittedReducer,
    digest: &str,
) -> Lineage {
    let reducer = serde_json::to_value(fitted.reducer()).expect("parameters are plain data");
    let columns = json!({ target: { "source": column, "reducer": reducer } });
    let mut lineage = Lineage::new(PRODUCER, Operation::new(APPLY, 1).with("columns", columns));
    let inside = |url: &Url| job.project.as_ref().map_or_else(|| url.clone(), |places| places.stored(url));
    let input = source.as_input();
    lineage.inputs.push(LineageInput { url: inside(&input.url), ..input });
    lineage.models.insert(target.to_owned(), ModelRef { url: inside(&job.model), digest: digest.to_owned() });
    lineage.derive_column(target, 0, column);
    for field in kept {
        lineage.keep_column(field.name(), 0);
    }
    lineage
}
