//! Making tables.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::digest;
use tlc_core::{
    BatchStream, Column, FieldRoles, Lineage, LineageInput, NumberRole, Operation, StoreError, TableStore, UniqueName,
    Url,
};

use super::{DESCRIPTION_KEY, Table};
use crate::{TableError, read_file};

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The column of weights, and the argument of the operation that says their value.
const WEIGHT: &str = "weight";

/// What happens if the folder has a table of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IfExists {
    /// It is used as it is, if it was made by the same operation of the same rows; otherwise the new one becomes its
    /// neighbour.
    #[default]
    Reuse,
    /// The new one becomes its neighbour under the same name, told apart by its identity.
    Rename,
    /// An error.
    Raise,
    /// The new one is written, and then the one is deleted that the same operation made, of whatever rows; tables that
    /// another operation made, such as revisions, stay. It is an error if a table of the same folder was made from it or
    /// describes its rows. Of other folders a store knows nothing: in a project, `Project::delete_table` asks all tables
    /// and runs.
    Overwrite,
}

/// A table that is to be made: what is said of it besides its columns.
#[derive(Debug, Clone)]
pub struct NewTable {
    name: String,
    description: Option<String>,
    if_exists: IfExists,
    weight: Option<f32>,
    operation: Operation,
    inputs: Vec<LineageInput>,
}

impl NewTable {
    /// A table of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: None,
            if_exists: IfExists::default(),
            weight: None,
            operation: Operation::new("create", 1),
            inputs: Vec::new(),
        }
    }

    /// With a text that says what it is.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self
    }

    /// With another rule for a name that is taken. Default [`IfExists::Reuse`].
    #[must_use]
    pub fn if_exists(mut self, rule: IfExists) -> Self {
        self.if_exists = rule;
        self
    }

    /// With a column `weight` of this value in all rows.
    #[must_use]
    pub fn weight_column(mut self, value: f32) -> Self {
        self.weight = Some(value);
        self
    }

    /// With what made it, as lineage says. Default: `create`. Unless it has the argument
    /// [`content`](Operation::CONTENT), that is added where the rows are at hand.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = operation;
        self
    }

    /// With a table that it was made from.
    #[must_use]
    pub fn input(mut self, input: LineageInput) -> Self {
        self.inputs.push(input);
        self
    }
}

impl Table {
    /// Writes `columns` into a new table in `folder` (the specification's `Table.from_dict`). Its lineage says by a digest
    /// what they are: other columns give another table.
    ///
    /// # Errors
    /// No column, columns of different lengths or of the same name; a name that is taken, where that is refused; a
    /// failing store.
    pub fn from_columns(
        store: Arc<dyn TableStore>,
        folder: &Url,
        new: NewTable,
        columns: Vec<Column>,
    ) -> Result<Self, TableError> {
        let refused = |reason: String| TableError::Data { name: new.name.clone(), reason };
        let Some(first) = columns.first() else {
            return Err(refused("it has no columns; at least one is needed".into()));
        };
        let n = first.values.len();
        if let Some(column) = columns.iter().find(|column| column.values.len() != n) {
            let (name, found) = (column.field.name(), column.values.len());
            return Err(refused(format!("column {name:?} has {found} values and {:?} has {n}", first.field.name())));
        }
        let (fields, values): (Vec<Field>, Vec<ArrayRef>) =
            columns.into_iter().map(|column| (column.field, column.values)).unzip();
        let names: Vec<&String> = fields.iter().map(Field::name).collect();
        if let Some((_, twice)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(refused(format!("two columns are called {twice:?}; rename one")));
        }
        let schema = Schema::new(fields);
        let rows =
            RecordBatch::try_new(Arc::new(schema.clone()), values).map_err(|error| refused(error.to_string()))?;
        let content = digest::of_batch(&rows).map_err(refused)?;
        let mut new = new;
        new.operation.args.entry(Operation::CONTENT).or_insert(content.into());
        Self::from_rows(store, folder, new, &schema, Box::new([Ok(rows)].into_iter()))
    }

    /// Writes what a file holds into a new table in `folder`: Parquet, CSV, Arrow, npy or safetensors, by the file's
    /// extension (see [`read_file`]). Its lineage says which file, by name and digest: a file that was changed since gives
    /// another table.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tlc_table::{MemoryStore, NewTable, Table};
    /// # let folder = tempfile::tempdir()?;
    /// let file = folder.path().join("toys.csv");
    /// std::fs::write(&file, "name,price\ncar,3.5\ndoll,9.0\n")?;
    /// let store = Arc::new(MemoryStore::default());
    /// let table = Table::from_file(store, &"memory://p/datasets/toys".parse()?, NewTable::new("initial"), &file)?;
    /// assert_eq!((table.rows(), table.columns().len()), (2, 2));
    /// assert_eq!(table.write_file(&folder.path().join("toys.parquet"))?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read, or is not what its extension says; as [`from_columns`](Self::from_columns).
    pub fn from_file(store: Arc<dyn TableStore>, folder: &Url, new: NewTable, file: &Path) -> Result<Self, TableError> {
        let (schema, rows) = read_file(file)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let failed =
            |error: std::io::Error| TableError::File { action: "read", path: file.to_owned(), source: error.into() };
        let content = File::open(file).and_then(digest::of_reader).map_err(failed)?;
        let new = new.operation(Operation::new("import", 1).with("file", name).with(Operation::CONTENT, content));
        Self::from_rows(store, folder, new, &schema, rows)
    }

    /// Writes `rows` of `schema` into a new table in `folder`. If a table is used that is there, they are read and compared
    /// with it, unless the [`operation`](NewTable::operation) says by its argument `content` what they are.
    ///
    /// # Errors
    /// As [`from_columns`](Self::from_columns); a table of the same operation with other rows; the first error of `rows`.
    pub fn from_rows(
        store: Arc<dyn TableStore>,
        folder: &Url,
        new: NewTable,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<Self, TableError> {
        check_columns(&new, schema)?;
        let mut new = new;
        if let Some(weight) = new.weight {
            // As text, which is compared as it was written: a number may come back from JSON rounded.
            new.operation = new.operation.with(WEIGHT, weight.to_string());
        }
        let mut there = Vec::new();
        for url in store.list_tables(folder)? {
            if UniqueName::stem_of(url.file_name()) == UniqueName::new(&new.name).stem() {
                there.push(Self::from_url(store.clone(), &url)?);
            }
        }
        let last_of = |is_it: &dyn Fn(&Operation) -> bool| {
            there.iter().rfind(|table| table.lineage().is_some_and(|lineage| is_it(&lineage.operation)))
        };
        let same = last_of(&|made| *made == new.operation);
        let of_other_rows = last_of(&|made| without_rows(made) == without_rows(&new.operation));
        match (new.if_exists, there.last(), same, of_other_rows) {
            (IfExists::Raise, Some(table), ..) => {
                return Err(TableError::Exists { name: new.name, url: table.url().clone() });
            }
            (IfExists::Reuse, _, Some(same), _) => {
                same.check_same(&new, folder, schema, rows)?;
                return Ok(same.clone());
            }
            (IfExists::Overwrite, .., Some(old)) => {
                old.check_not_needed()?;
                let table = write(store, folder, &new, schema, rows)?;
                // Only now: the new one is on disk. Meanwhile another process may have made something of the old one.
                old.check_not_needed()?;
                old.store.delete(old.url())?;
                return Ok(table);
            }
            _ => {}
        }
        write(store, folder, &new, schema, rows)
    }

    /// Refuses if `new` would be another table, although its operation made this one.
    fn check_same(
        &self,
        new: &NewTable,
        folder: &Url,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<(), TableError> {
        if new.operation.args.contains_key(Operation::CONTENT) {
            return Ok(());
        }
        let (schema, rows) = with_weights(new, folder, schema.clone(), rows);
        let Some(what) = self.info.difference(&schema, rows)? else { return Ok(()) };
        let reason = format!(
            "{} is there, which the same operation made of other {what}; name in the operation what is different, or choose \
             rename or overwrite",
            self.url()
        );
        Err(TableError::Data { name: new.name.clone(), reason })
    }

    /// Refuses if a neighbour could not be made again, or not be joined, without this table.
    fn check_not_needed(&self) -> Result<(), TableError> {
        for other in self.neighbours()?.iter().filter(|other| other.url() != self.url()) {
            let needs = if other.is_made_from(self) {
                "was made from it"
            } else if other.describes(self)? {
                "describes its rows"
            } else {
                continue;
            };
            let reason = format!("{} {needs}; choose rename, or delete that table first", other.url());
            return Err(self.unfit("overwrite", reason));
        }
        Ok(())
    }
}

/// Writes without asking what is there.
pub(super) fn write(
    store: Arc<dyn TableStore>,
    folder: &Url,
    new: &NewTable,
    schema: &Schema,
    rows: BatchStream<'_>,
) -> Result<Table, TableError> {
    let mut lineage = Lineage::new(PRODUCER, new.operation.clone());
    lineage.inputs.clone_from(&new.inputs);
    let mut schema = lineage.write_into(schema);
    if let Some(description) = &new.description {
        schema.metadata.insert(DESCRIPTION_KEY.to_owned(), description.clone());
    }
    let (schema, rows) = with_weights(new, folder, schema, rows);
    let url = folder.join(&format!("{}.lance", UniqueName::with_id(&new.name, lineage.table_id)))?;
    let info = store.create(&url, Arc::new(schema), rows)?;
    Ok(Table { store, info })
}

/// With the column of weights that `new` asks for.
fn with_weights<'a>(new: &NewTable, folder: &Url, schema: Schema, rows: BatchStream<'a>) -> (Schema, BatchStream<'a>) {
    let Some(weight) = new.weight else { return (schema, rows) };
    let field = Field::new(WEIGHT, DataType::Float32, false).with_role(NumberRole::Weight);
    let fields: Vec<_> = schema.fields().iter().cloned().chain([Arc::new(field)]).collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let (weighted, url) = (Arc::new(schema.clone()), folder.clone());
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let weights: ArrayRef = Arc::new(Float32Array::from(vec![weight; batch.num_rows()]));
        let columns = batch.columns().iter().cloned().chain([weights]).collect();
        RecordBatch::try_new(weighted.clone(), columns)
            .map_err(|error| StoreError::backend("add weights to rows for", &url, error))
    });
    (schema, Box::new(rows))
}

/// An operation without what it says of the rows that it makes.
fn without_rows(operation: &Operation) -> Operation {
    let mut operation = operation.clone();
    operation.args.retain(|name, _| name != Operation::CONTENT && name != WEIGHT);
    operation
}

fn check_columns(new: &NewTable, schema: &Schema) -> Result<(), TableError> {
    let refused = |reason: String| Err(TableError::Data { name: new.name.clone(), reason });
    if new.name.is_empty() {
        return refused("its name is empty".to_owned());
    }
    if schema.fields().is_empty() {
        return refused("it has no columns; at least one is needed".to_owned());
    }
    if new.weight.is_some() && schema.field_with_name(WEIGHT).is_ok() {
        return refused("it has a column \"weight\" already".to_owned());
    }
    if let Some(weight) = new.weight.filter(|weight| weight.is_nan() || *weight < 0.0) {
        return refused(format!("the weight is {weight}; 0 or more is needed"));
    }
    match schema.fields().iter().find(|field| field.name().contains('.') || field.name().starts_with('_')) {
        Some(field) => {
            refused(format!("the column {:?} has a dot in its name, or begins with _; rename it", field.name()))
        }
        None => Ok(()),
    }
}
