//! One run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::{Field, Schema};
use tlc_core::{
    BatchStream, FieldRoles, MetricsSink, MetricsTable, NumberRole, Progress, StoreError, TableInfo, Url,
    WriteCondition, aggregate, value_map, with_causes,
};

use crate::record::FORMAT;
use crate::{Inventory, MetricsEntry, Need, Project, RunError, RunRecord, RunStatus};

/// A run of a [`Project`]: its record and its tables.
///
/// The record is read anew for each operation and replaced only if nobody changed it meanwhile, so
/// several threads and processes can add tables to one run.
#[derive(Debug, Clone)]
pub struct Run {
    project: Project,
    name: String,
    url: Url,
    record_url: Url,
}

impl Run {
    pub(crate) fn at(project: Project, name: String) -> Result<Self, RunError> {
        let url = project.root().join("runs")?.join(&name)?;
        let record_url = url.join("run.json")?;
        Ok(Self { project, name, url, record_url })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The project it belongs to.
    pub fn project(&self) -> &Project {
        &self.project
    }

    pub(crate) fn record_url(&self) -> &Url {
        &self.record_url
    }

    /// Its record as it is now.
    ///
    /// # Errors
    /// An unreadable record; a failing store.
    pub fn record(&self) -> Result<RunRecord, RunError> {
        Ok(self.versioned_record()?.0)
    }

    fn versioned_record(&self) -> Result<(RunRecord, tlc_core::ObjectVersion), RunError> {
        let (content, version) = self.project.store().read_object(&self.record_url)?;
        let unreadable = |reason: String| RunError::Record { url: self.record_url.clone(), reason };
        let record: RunRecord = serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
        if record.schema != FORMAT {
            return Err(unreadable(format!("its format is {:?}; this version reads {FORMAT:?}", record.schema)));
        }
        Ok((record, version))
    }

    /// Changes the record; `change` may be called again if somebody else changed it meanwhile. If it fails,
    /// the record stays as it is.
    pub(crate) fn try_update(
        &self,
        mut change: impl FnMut(&mut RunRecord) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        loop {
            let (mut record, version) = self.versioned_record()?;
            change(&mut record)?;
            let content = serde_json::to_vec_pretty(&record).expect("a record is plain data");
            match self.project.store().write_object(&self.record_url, &content, WriteCondition::Unchanged(version)) {
                Err(StoreError::Conflict { .. }) => {}
                result => return result.map(|_| ()).map_err(RunError::from),
            }
        }
    }

    /// Changes the record, as [`try_update`](Self::try_update) does.
    pub(crate) fn update(&self, mut change: impl FnMut(&mut RunRecord)) -> Result<(), RunError> {
        self.try_update(|record| {
            change(record);
            Ok(())
        })
    }

    /// How the run stands.
    ///
    /// # Errors
    /// An unreadable record; a failing store.
    pub fn status(&self) -> Result<RunStatus, RunError> {
        Ok(self.record()?.status)
    }

    /// Records how the run stands.
    ///
    /// # Errors
    /// A failing store.
    pub fn set_status(&self, status: RunStatus) -> Result<(), RunError> {
        self.update(|record| record.status = status)
    }

    /// Records what the run was started with or what became known later, under `name`; an earlier value is replaced.
    ///
    /// # Errors
    /// A failing store.
    pub fn set_parameter(&self, name: &str, value: impl Into<serde_json::Value>) -> Result<(), RunError> {
        let value = value.into();
        self.update(|record| {
            record.parameters.insert(name.to_owned(), value.clone());
        })
    }

    /// Adds to a parameter that is a list, as several processes may at once; what is no list becomes its first element.
    ///
    /// # Errors
    /// A failing store.
    pub fn extend_parameter(
        &self,
        name: &str,
        values: impl IntoIterator<Item = impl Into<serde_json::Value>>,
    ) -> Result<(), RunError> {
        let values: Vec<serde_json::Value> = values.into_iter().map(Into::into).collect();
        self.update(|record| {
            let list = match record.parameters.remove(name) {
                None => Vec::new(),
                Some(serde_json::Value::Array(list)) => list,
                Some(other) => vec![other],
            };
            record.parameters.insert(name.to_owned(), list.into_iter().chain(values.iter().cloned()).collect());
        })
    }

    /// Its metrics tables, oldest first, with absolute URLs; only below an alias that is not defined here, a foreign table's
    /// stays as it is.
    ///
    /// # Errors
    /// An unreadable record; a failing store.
    pub fn metrics(&self) -> Result<Vec<MetricsEntry>, RunError> {
        let mut metrics = self.record()?.metrics;
        for entry in &mut metrics {
            entry.url = self.project.inside(&entry.url)?;
            for url in [&mut entry.foreign_table, &mut entry.reduced_from].into_iter().flatten() {
                *url = self.project.places().expanded_if_known(url)?;
            }
        }
        Ok(metrics)
    }

    /// Those of its metrics tables whose constants are `epoch` and `split`, oldest first; `None` takes any. What they are
    /// on average is said by [`epoch_metrics`](Self::epoch_metrics). One read of the record, whatever the number of
    /// tables.
    ///
    /// ```no_run
    /// # fn show(run: &tlc_run::Run) -> Result<(), tlc_run::RunError> {
    /// for table in run.metrics_of(Some(3), Some("val"))? {
    ///     println!("{}: {} rows", table.url, table.rows);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An unreadable record; a failing store.
    pub fn metrics_of(&self, epoch: Option<i64>, split: Option<&str>) -> Result<Vec<MetricsEntry>, RunError> {
        let mut metrics = self.metrics()?;
        metrics.retain(|entry| {
            epoch.is_none_or(|epoch| entry.epoch() == Some(epoch))
                && split.is_none_or(|split| entry.split() == Some(split))
        });
        Ok(metrics)
    }

    /// Deletes the tables that a reduction has replaced, each after a note in the project's log of deletions. Called by
    /// the reduction itself and before the next one; it finishes what an interrupted one left. A table stays, with a
    /// warning, if nothing took its place, if what did cannot be read back, or if something else has come to need it.
    ///
    /// # Errors
    /// A failing store; what was deleted until then stays recorded.
    pub fn finish_deletions(&self) -> Result<(), RunError> {
        let sources = self.record()?.to_delete;
        if sources.is_empty() {
            return Ok(());
        }
        let inventory = self.project.inventory()?;
        for source in sources {
            match self.finish_deletion(&source, &inventory) {
                Err(RunError::Needed { url, needs }) => {
                    tracing::warn!(table = %url, reason = needs, "not deleted, although it was replaced");
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Deletes one of the tables that were replaced; `source` is its URL as the record has it.
    pub(crate) fn finish_deletion(&self, source: &Url, inventory: &Inventory) -> Result<(), RunError> {
        let url = self.project.inside(source)?;
        let record = self.record()?;
        if !record.to_delete.contains(source) {
            return Ok(());
        }
        let made = record.metrics.iter().filter(|entry| entry.reduced_from.as_ref() == Some(source));
        let replaced_by: Vec<Url> = made.map(|entry| entry.url.clone()).collect();
        if !matches!(self.project.store().info(&url), Err(StoreError::NotFound { .. })) {
            self.check_replaced(&url, &replaced_by, &record, inventory)?;
        }
        self.project.delete_recorded(&url, replaced_by)?;
        self.update(|record| record.to_delete.retain(|other| other != source))
    }

    /// No source goes before its successors are there and whole, whatever happened to them since they were recorded, and
    /// none that anything needs but what was made of it by the reduction that replaced it.
    fn check_replaced(
        &self,
        url: &Url,
        replaced_by: &[Url],
        record: &RunRecord,
        inventory: &Inventory,
    ) -> Result<(), RunError> {
        let stays = |needs: String| Err(RunError::Needed { url: url.clone(), needs });
        if replaced_by.is_empty() {
            return stays("no table of the run took its place".to_owned());
        }
        for successor in replaced_by {
            match self.project.store().verify(&self.project.inside(successor)?, &Progress::default()) {
                Ok(()) => {}
                Err(error) => {
                    return stays(format!("what took its place cannot be read back: {}", with_causes(&error)));
                }
            }
        }
        // The reduction has asked who needs its sources before it recorded anything, so what it made counts no more.
        let reduced = record.metrics.iter().filter(|entry| entry.reduced_from.is_some()).map(|entry| &entry.url);
        let counts_no_more: BTreeSet<Url> =
            reduced.chain(&record.to_delete).filter_map(|url| self.project.inside(url).ok()).collect();
        let counts = |need: &Need| match need {
            Need::MadeFrom(other) | Need::Describes(other) => !counts_no_more.contains(other),
            _ => true,
        };
        let needs: Vec<String> = inventory.needs(url).iter().filter(|need| counts(need)).map(Need::to_string).collect();
        match needs.is_empty() {
            true => Ok(()),
            false => stays(needs.join("; ")),
        }
    }

    /// The entry of a new table, with URLs as the record keeps them.
    pub(crate) fn entry(&self, table: &MetricsTable, info: &TableInfo) -> MetricsEntry {
        let places = self.project.places();
        MetricsEntry {
            url: places.stored(&info.url),
            table_id: table.lineage.table_id,
            name: table.name.clone(),
            foreign_table: table.foreign_table.as_ref().map(|url| places.stored(url)),
            constants: table.constants.clone(),
            rows: info.rows,
            digest: info.digest.clone(),
            aggregates: BTreeMap::new(),
            reduced_from: None,
        }
    }

    /// The schema with foreign tables named relative to the project or by their alias, so that both can be moved.
    fn with_stored_tables(&self, schema: &Schema) -> Schema {
        let places = self.project.places();
        let stored = |text: String| text.parse().map_or(text, |url: Url| places.stored(&url).to_string());
        let field = |field: &Arc<Field>| {
            if field.role() != Some(NumberRole::ForeignTableId) {
                return field.as_ref().clone();
            }
            let names = value_map(field).into_iter().map(|(id, url)| (id, stored(url))).collect();
            field.as_ref().clone().with_value_map(&names)
        };
        let fields: Vec<Field> = schema.fields().iter().map(field).collect();
        Schema::new_with_metadata(fields, schema.metadata().clone())
    }
}

impl MetricsSink for Run {
    /// Writes the table below `metrics/` and appends it to the record, together with what its columns add up to: see
    /// [`epoch_metrics`](Run::epoch_metrics).
    fn write_metrics(
        &self,
        mut table: MetricsTable,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<TableInfo, StoreError> {
        let places = self.project.places();
        table.lineage.run = Some(places.stored(&self.url));
        for input in &mut table.lineage.inputs {
            input.url = places.stored(&input.url);
        }
        let mut aggregates = BTreeMap::new();
        let rows = rows.inspect(|rows| {
            if let Ok(rows) = rows {
                aggregate(rows, &mut aggregates);
            }
        });
        let schema = self.with_stored_tables(schema);
        let info = self.project.write_table(&self.url.join("metrics")?, &table, &schema, Box::new(rows))?;
        aggregates.retain(|column, _| !table.constants.contains_key(column));
        let entry = MetricsEntry { aggregates, ..self.entry(&table, &info) };
        let recorded = self.update(|record| {
            record.status = RunStatus::Running;
            // There already, if an object store's answer to the first attempt was lost.
            if record.metrics.iter().all(|known| known.table_id != entry.table_id) {
                record.metrics.push(entry.clone());
            }
        });
        if let Err(error) = recorded {
            // A table that no run knows of would only take space; but the record may have been written although that is
            // not known.
            let is_it = |known: &MetricsEntry| known.table_id == entry.table_id;
            if self.record().is_ok_and(|record| !record.metrics.iter().any(is_it)) {
                let _ = self.project.store().delete(&info.url);
            }
            return Err(match error {
                RunError::Store(error) => error,
                other => StoreError::backend("record the new table in", &self.record_url, other),
            });
        }
        Ok(info)
    }
}
