//! Looks a project through for what is damaged and what was left half done.

use std::collections::{BTreeMap, BTreeSet};

use tlc_core::{ModelRef, Progress, StoreError, TableInfo, Url, with_causes};

use super::in_use::was_stopped;
use super::{DoctorOptions, Finding, Problem};
use crate::inventory::DEPTH;
use crate::reduce::check_model;
use crate::{Inventory, Project, RunError};

impl Project {
    /// All that is wrong; nothing is put right.
    pub(super) fn diagnose(&self, options: &DoctorOptions, progress: &Progress) -> Result<Vec<Finding>, RunError> {
        let inventory = self.inventory()?;
        let unfinished = self.unfinished_tables(self.root(), DEPTH)?;
        // What a store can put right is looked for first: it would seem to be damaged, or no table at all.
        let mut findings = self.torn_manifests(&inventory, &unfinished, progress)?;
        let torn: BTreeSet<Url> = findings.iter().map(|finding| finding.url.clone()).collect();
        findings.extend(self.damage(&inventory, &torn, options, progress)?);
        findings.extend(self.wrong_records(&inventory, &torn));
        findings.extend(self.half_done(&inventory, unfinished, &torn, options)?);
        Ok(findings)
    }

    /// Tables with a manifest that is torn or lost, among those that are whole, damaged or unfinished.
    fn torn_manifests(
        &self,
        inventory: &Inventory,
        unfinished: &[Url],
        progress: &Progress,
    ) -> Result<Vec<Finding>, RunError> {
        let mut findings = Vec::new();
        let tables = inventory.tables.iter().map(|info| &info.url);
        for url in tables.chain(inventory.damaged_tables.iter().map(|(url, _)| url)).chain(unfinished) {
            let problem = match self.store().repair(url, true, progress) {
                Ok(None) => continue,
                Ok(Some(reason)) => Problem::TornManifest(reason),
                Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => Problem::DamagedTable(with_causes(&error)),
            };
            findings.push(Finding::new(url.clone(), problem));
        }
        Ok(findings)
    }

    /// Tables, records and models that cannot be read, or are not what was written.
    fn damage(
        &self,
        inventory: &Inventory,
        torn: &BTreeSet<Url>,
        options: &DoctorOptions,
        progress: &Progress,
    ) -> Result<Vec<Finding>, RunError> {
        let mut findings = Vec::new();
        for (url, error) in inventory.damaged_tables.iter().filter(|(url, _)| !torn.contains(url)) {
            findings.push(Finding::new(url.clone(), damaged(error)));
        }
        for (name, error) in &inventory.damaged_runs {
            let url = self.root().join("runs")?.join(name)?;
            findings.push(Finding::new(url, Problem::DamagedRun(error.to_string())));
        }
        for info in inventory.tables.iter().filter(|info| options.verify && !torn.contains(&info.url)) {
            match self.store().verify(&info.url, progress) {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => findings.push(Finding::new(info.url.clone(), damaged(&error))),
            }
        }
        if options.verify {
            findings.extend(self.damaged_models(&inventory.tables));
        }
        Ok(findings)
    }

    /// The models that `tables` were made with and that are there, but not as they were written.
    fn damaged_models(&self, tables: &[TableInfo]) -> Vec<Finding> {
        let lineages = tables.iter().filter_map(TableInfo::lineage);
        let models: BTreeMap<Url, ModelRef> = lineages
            .flat_map(|lineage| lineage.models.into_values())
            .filter_map(|model| Some((self.inside(&model.url).ok()?, model)))
            .collect();
        let mut found = Vec::new();
        for (url, model) in models {
            match check_model(self, &model) {
                Ok(()) | Err(RunError::Store(StoreError::NotFound { .. })) => {}
                Err(RunError::Model { source, .. }) => {
                    found.push(Finding::new(url, Problem::DamagedModel(with_causes(&source))));
                }
                Err(error) => found.push(Finding::new(url, Problem::DamagedModel(with_causes(&error)))),
            }
        }
        found
    }

    /// What the records of runs name, and should not: tables that are gone, that were to be deleted, or are elsewhere.
    fn wrong_records(&self, inventory: &Inventory, torn: &BTreeSet<Url>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, record) in &inventory.runs {
            let run = || name.clone();
            for url in &record.to_delete {
                findings.push(match self.inside(url) {
                    Ok(url) => Finding::new(url, Problem::InterruptedDeletion { run: run() }),
                    Err(_) => Finding::new(url.clone(), Problem::Outside { run: run() }),
                });
            }
            for entry in &record.metrics {
                let Ok(url) = self.inside(&entry.url) else {
                    findings.push(Finding::new(entry.url.clone(), Problem::Outside { run: run() }));
                    continue;
                };
                // Asked for by itself where it was not met: a link may lead to it.
                if inventory.table(&url).is_none() && !torn.contains(&url) && self.is_missing(&url) {
                    findings.push(Finding::new(url, Problem::MissingTable { run: run() }));
                }
            }
        }
        findings
    }

    /// What writers and deletions left that were stopped, if that was long enough ago.
    fn half_done(
        &self,
        inventory: &Inventory,
        unfinished: Vec<Url>,
        torn: &BTreeSet<Url>,
        options: &DoctorOptions,
    ) -> Result<Vec<Finding>, RunError> {
        let mut findings = Vec::new();
        // What is half done may be somebody's work of this moment.
        let mut push_old = |url: Url, problem: Problem| {
            let age = self.is_old(&url, options.least_age);
            if !matches!(age, Ok(false)) {
                let failure = age.err().map(|error| with_causes(&error));
                findings.push(Finding { failure, ..Finding::new(url, problem) });
            }
        };
        for info in inventory.tables.iter().filter(|info| inventory.is_leftover(info)) {
            push_old(info.url.clone(), Problem::UnlistedTable);
        }
        for url in unfinished.into_iter().filter(|url| !torn.contains(url)) {
            push_old(url, Problem::UnfinishedTable);
        }
        for it in self.interrupted_reductions()?.iter().filter(|it| was_stopped(it, options.least_age)) {
            push_old(it.folder.clone(), Problem::InterruptedReduction);
        }
        let at_work = self.reductions_at_work(options.least_age)?;
        // What cannot be read may have been made with any of them.
        let is_any_unreadable = !inventory.damaged_tables.is_empty() || !torn.is_empty();
        for url in self.models()?.into_iter().filter(|_| !is_any_unreadable) {
            if !Self::is_used(&url, inventory, &at_work) {
                push_old(url, Problem::UnusedModel);
            }
        }
        for url in self.leftovers(self.root(), DEPTH)? {
            push_old(url, Problem::Leftover);
        }
        Ok(findings)
    }
}

fn damaged(error: &StoreError) -> Problem {
    Problem::DamagedTable(match error {
        StoreError::Damaged { reason, .. } => reason.clone(),
        other => other.to_string(),
    })
}
