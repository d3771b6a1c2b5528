//! Tables in this process: the contract in its plainest form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use tlc_core::digest::{self, TableDigest};
use tlc_core::{
    BatchStream, Filter, ObjectVersion, PluginInfo, PluginKind, Scan, Scheme, StoreError, TableInfo, TableStore, Url,
    WriteCondition, select,
};

/// Keeps tables in memory, under `memory://` URLs; gone with the last clone.
///
/// Read from a file, it is empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryStore {
    #[serde(skip)]
    contents: Arc<Mutex<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    tables: BTreeMap<Url, Arc<Table>>,
    objects: BTreeMap<Url, Vec<u8>>,
}

#[derive(Debug)]
struct Table {
    info: TableInfo,
    batches: Vec<RecordBatch>,
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change is a single insertion or removal, so a panic elsewhere leaves it sound.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self, url: &Url) -> Result<Arc<Table>, StoreError> {
        check_scheme(url)?;
        self.contents().tables.get(url).cloned().ok_or_else(|| StoreError::NotFound { url: url.clone() })
    }
}

/// All methods pass here. Tables in memory have one version, so none is named.
fn check_scheme(url: &Url) -> Result<(), StoreError> {
    url.refuse_version()?;
    if url.scheme() == Some(Scheme::Memory) {
        return Ok(());
    }
    Err(StoreError::Unsupported { url: url.clone(), reason: "it serves memory://name/path only".to_owned() })
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::TableStore,
        tag: "memory/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "tables in this process's memory",
    }
}

#[typetag::serde(name = "memory/1")]
impl TableStore for MemoryStore {
    fn create(&self, url: &Url, schema: SchemaRef, rows: BatchStream<'_>) -> Result<TableInfo, StoreError> {
        let exists = || StoreError::exists(url);
        check_scheme(url)?;
        if self.contents().tables.contains_key(url) {
            return Err(exists());
        }
        let invalid = |reason: String| StoreError::InvalidData { url: url.clone(), reason };
        let mut digest = TableDigest::new(&schema);
        let mut batches = Vec::new();
        for batch in rows {
            let batch = RecordBatch::try_new(schema.clone(), batch?.columns().to_vec())
                .map_err(|error| invalid(error.to_string()))?;
            digest.update(&batch).map_err(invalid)?;
            batches.push(batch);
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let info = TableInfo { url: url.clone(), schema, rows, digest: Some(digest.finish()) };
        let mut contents = self.contents();
        if contents.tables.contains_key(url) {
            return Err(exists());
        }
        contents.tables.insert(url.clone(), Arc::new(Table { info: info.clone(), batches }));
        Ok(info)
    }

    fn info(&self, url: &Url) -> Result<TableInfo, StoreError> {
        Ok(self.table(url)?.info.clone())
    }

    fn scan(&self, url: &Url, scan: Scan) -> Result<BatchStream<'static>, StoreError> {
        let table = self.table(url)?;
        let columns = match scan.columns_to_read() {
            None => (0..table.info.schema.fields().len()).collect(),
            Some(names) => indices(url, &table.info.schema, &names)?,
        };
        let filtered_by: Vec<String> = scan.filter.iter().flat_map(Filter::columns).map(str::to_owned).collect();
        indices(url, &table.info.schema, &filtered_by)?;
        let batch_rows = scan.batch_rows.max(1);
        let mut cut = Vec::new();
        for batch in &table.batches {
            let batch = batch.project(&columns).expect("the columns are of this schema");
            let starts = (0..batch.num_rows()).step_by(batch_rows);
            cut.extend(starts.map(|start| Ok(batch.slice(start, batch_rows.min(batch.num_rows() - start)))));
        }
        Ok(select(url, Box::new(cut.into_iter()), &scan))
    }

    fn delete(&self, url: &Url) -> Result<(), StoreError> {
        check_scheme(url)?;
        let removed = self.contents().tables.remove(url);
        removed.map(|_| ()).ok_or_else(|| StoreError::NotFound { url: url.clone() })
    }

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        check_scheme(folder)?;
        let in_folder = |url: &&Url| url.parent().as_ref() == Some(folder);
        Ok(self.contents().tables.keys().filter(in_folder).cloned().collect())
    }

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
        check_scheme(url)?;
        let contents = self.contents();
        let tables = contents.tables.iter().filter(|(at, _)| at.is_within(url));
        let tables: usize = tables.flat_map(|(_, table)| &table.batches).map(RecordBatch::get_array_memory_size).sum();
        let objects: usize =
            contents.objects.iter().filter(|(at, _)| at.is_within(url)).map(|(_, object)| object.len()).sum();
        Ok((tables + objects) as u64)
    }

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
        check_scheme(url)?;
        let content = self.contents().objects.get(url).cloned();
        let content = content.ok_or_else(|| StoreError::NotFound { url: url.clone() })?;
        let version = ObjectVersion(digest::of_bytes(&content));
        Ok((content, version))
    }

    fn write_object(&self, url: &Url, content: &[u8], condition: WriteCondition) -> Result<ObjectVersion, StoreError> {
        check_scheme(url)?;
        let mut contents = self.contents();
        match (condition, contents.objects.get(url)) {
            (WriteCondition::Absent, None) => {}
            (WriteCondition::Absent, Some(_)) => return Err(StoreError::exists(url)),
            (WriteCondition::Unchanged(_), None) => return Err(StoreError::NotFound { url: url.clone() }),
            (WriteCondition::Unchanged(expected), Some(current)) => {
                if ObjectVersion(digest::of_bytes(current)) != expected {
                    return Err(StoreError::Conflict { url: url.clone() });
                }
            }
        }
        contents.objects.insert(url.clone(), content.to_vec());
        Ok(ObjectVersion(digest::of_bytes(content)))
    }

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        check_scheme(folder)?;
        let contents = self.contents();
        let names: BTreeSet<String> = contents
            .objects
            .keys()
            .chain(contents.tables.keys())
            .filter(|url| url.is_within(folder))
            .filter_map(|url| {
                let below = url.path()[folder.path().len()..].trim_start_matches('/');
                below.split_once('/').map(|(name, _)| name.to_owned())
            })
            .collect();
        Ok(names.into_iter().collect())
    }

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
        check_scheme(folder)?;
        let mut contents = self.contents();
        contents.objects.retain(|url, _| !url.is_within(folder));
        contents.tables.retain(|url, _| !url.is_within(folder));
        Ok(())
    }
}

fn indices(url: &Url, schema: &Schema, names: &[String]) -> Result<Vec<usize>, StoreError> {
    let index = |name: &String| {
        schema
            .index_of(name)
            .map_err(|_| StoreError::Unsupported { url: url.clone(), reason: format!("it has no column {name:?}") })
    };
    names.iter().map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        tlc_core::conformance::check_store(&MemoryStore::default(), &"memory://test/project".parse().expect("a URL"));
    }
}
