//! What is in a project's folders without being a whole table. Links are not followed, since it is looked for to be removed.

use tlc_core::{StoreError, Url};

use crate::links::is_link;
use crate::reduce::PIECES_SUFFIX;
use crate::{Project, RunError};

impl Project {
    /// Whether no whole table is there.
    pub(super) fn is_missing(&self, url: &Url) -> bool {
        matches!(self.store().info(url), Err(StoreError::NotFound { .. }))
    }

    /// What was left that only the store knows of. Links are not followed, since it is looked for to be removed.
    pub(super) fn leftovers(&self, folder: &Url, depth: usize) -> Result<Vec<Url>, RunError> {
        let mut found = self.store().list_leftovers(folder)?;
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            let is_of_table = name.contains(".lance") || name.ends_with(PIECES_SUFFIX);
            if depth > 0 && !is_of_table && !is_link(&url) {
                found.extend(self.leftovers(&url, depth - 1)?);
            }
        }
        Ok(found)
    }

    /// Folders that are called as tables are, and are none; not through links.
    pub(super) fn unfinished_tables(&self, folder: &Url, depth: usize) -> Result<Vec<Url>, RunError> {
        let mut found = Vec::new();
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            if is_link(&url) {
                continue;
            }
            if !name.contains(".lance") {
                if depth > 0 && !name.ends_with(PIECES_SUFFIX) {
                    found.extend(self.unfinished_tables(&url, depth - 1)?);
                }
            } else if self.is_missing(&url) {
                found.push(url);
            }
        }
        Ok(found)
    }

    /// The folders of models of all runs; not through links.
    pub(super) fn models(&self) -> Result<Vec<Url>, RunError> {
        let runs = self.root().join("runs")?;
        let mut models = Vec::new();
        for run in self.store().list_folders(&runs)? {
            let folder = runs.join(&run)?.join("models")?;
            if is_link(&runs.join(&run)?) || is_link(&folder) {
                continue;
            }
            for name in self.store().list_folders(&folder)? {
                models.push(folder.join(&name)?);
            }
        }
        Ok(models)
    }
}
