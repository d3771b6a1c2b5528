//! Tables of datasets: when one is used again, and where they lie.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::{FieldRoles, Lineage, NumberRole, Operation, Url};
use tlc_table::MemoryStore;

use crate::{Project, RunError};

fn project() -> Project {
    Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"))
}

fn create(project: &Project, operation: Operation, role: NumberRole, values: &[i64]) -> Result<Url, RunError> {
    let schema = Schema::new(vec![Field::new("value", DataType::Int64, false).with_role(role)]);
    let values = Arc::new(Int64Array::from(values.to_vec()));
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![values]).expect("one column");
    let lineage = Lineage::new("test/1", operation);
    Ok(project.create_table("toys", "train", &schema, &lineage, Box::new([Ok(rows)].into_iter()))?.url)
}

#[test]
fn a_table_is_used_again_only_if_it_is_the_same() {
    let project = project();
    let import = || Operation::new("import", 1).with("folder", "toys");
    let first = create(&project, import(), NumberRole::Label, &[1, 2]).expect("new");
    assert_eq!(create(&project, import(), NumberRole::Label, &[1, 2]).expect("the same"), first);
    let error = create(&project, import(), NumberRole::Label, &[1, 3]).expect_err("another row").to_string();
    assert!(error.contains("the same operation made it of other rows"), "{error}");
    let error = create(&project, import(), NumberRole::Weight, &[1, 2]).expect_err("another role").to_string();
    assert!(error.contains("the same operation made it of other columns"), "{error}");
    let corrected = import().with(Operation::CONTENT, "sha256:13");
    let other = create(&project, corrected.clone(), NumberRole::Label, &[1, 3]).expect("another operation");
    assert_ne!(other, first);
    assert_eq!(create(&project, corrected, NumberRole::Label, &[1, 3]).expect("the same"), other);
    let folder = project.dataset_folder("toys").expect("a name");
    assert_eq!(project.store().list_tables(&folder).expect("listable").len(), 2, "what was refused left nothing");
}

#[test]
fn a_dataset_is_a_folder_of_its_own_in_which_tables_are_found() {
    let project = project();
    assert_eq!(project.dataset_folder("toys").expect("a name").to_string(), "memory://p/datasets/toys");
    for name in ["../runs/x", "a/b", "", ".hidden", "toys.lance", "toys.lance-old", "toys.pieces"] {
        let error = project.dataset_folder(name).expect_err(name);
        assert!(matches!(error, RunError::Name { what: "dataset", .. }), "{error}");
    }
}
