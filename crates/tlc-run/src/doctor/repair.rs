//! Puts right what was found, one finding at a time.

use tlc_core::{Progress, StoreError, Url};

use super::in_use::was_stopped;
use super::{DoctorOptions, Problem};
use crate::inventory::id_of;
use crate::{Project, RunError};

impl Project {
    /// Puts right what can be. Whether it could. The project was looked through some time ago, so each finding is looked at
    /// once more: what is no longer so is right already.
    pub(super) fn put_right(
        &self,
        url: &Url,
        problem: &Problem,
        options: &DoctorOptions,
        progress: &Progress,
    ) -> Result<bool, RunError> {
        match problem {
            Problem::DamagedTable(_) | Problem::DamagedModel(_) | Problem::DamagedRun(_) | Problem::Outside { .. } => {
                return Ok(false);
            }
            Problem::TornManifest(_) => {
                self.check_writable(url)?;
                return Ok(self.store().repair(url, false, progress)?.is_some());
            }
            Problem::MissingTable { run } => self.find_or_forget(url, run)?,
            Problem::InterruptedDeletion { run } => {
                let run = self.open_run(run)?;
                let listed = run.record()?.to_delete.into_iter();
                let inventory = self.inventory()?;
                for source in listed.filter(|listed| self.inside(listed).is_ok_and(|listed| listed == *url)) {
                    run.finish_deletion(&source, &inventory)?;
                }
            }
            Problem::UnlistedTable => {
                let is_left = match self.store().info(url) {
                    Ok(info) => self.inventory_of(vec![info.clone()], Vec::new())?.is_leftover(&info),
                    Err(StoreError::NotFound { .. }) => false,
                    Err(error) => return Err(error.into()),
                };
                if is_left && self.is_old(url, options.least_age)? {
                    self.delete_recorded(url, Vec::new())?;
                }
            }
            Problem::UnfinishedTable => {
                if self.is_missing(url) && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::UnusedModel => {
                let inventory = self.inventory()?;
                let at_work = self.reductions_at_work(options.least_age)?;
                let is_unused = inventory.damaged_tables.is_empty() && !Self::is_used(url, &inventory, &at_work);
                if is_unused && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::InterruptedReduction => {
                let interrupted = self.interrupted_reductions()?;
                let is_stopped = interrupted.iter().any(|it| it.folder == *url && was_stopped(it, options.least_age));
                if is_stopped && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::Leftover => {
                if self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
        }
        Ok(true)
    }

    fn remove(&self, folder: &Url) -> Result<(), RunError> {
        self.check_deletable(folder)?;
        Ok(self.store().delete_folder(folder)?)
    }

    /// Corrects the entry of a table that is not where `run` lists it, as after its folder was renamed. It is forgotten only
    /// if the table is nowhere, and nothing that cannot be read may be it.
    fn find_or_forget(&self, url: &Url, run: &str) -> Result<(), RunError> {
        if !self.is_missing(url) {
            return Ok(());
        }
        let inventory = self.inventory()?;
        let run = self.open_run(run)?;
        let unreadable = inventory.damaged_tables.first().map(|(url, _)| url);
        run.try_update(|record| {
            let mut kept = Vec::new();
            for mut entry in std::mem::take(&mut record.metrics) {
                let is_it = self.inside(&entry.url).is_ok_and(|listed| listed == *url);
                // Of several copies the one in the run's own folder.
                let copies = || inventory.tables.iter().filter(|info| id_of(info) == Some(entry.table_id));
                let found = copies().find(|info| info.url.is_within(run.url())).or_else(|| copies().next());
                match (is_it, found, unreadable) {
                    (false, _, _) => {}
                    (true, Some(info), _) => entry.url = self.places().stored(&info.url),
                    (true, None, Some(unreadable)) => {
                        let reason = format!("{unreadable} cannot be read, and may be this table");
                        return Err(RunError::Repair { url: url.clone(), reason });
                    }
                    (true, None, None) => continue,
                }
                kept.push(entry);
            }
            record.metrics = kept;
            Ok(())
        })
    }
}
