//! What may still be needed, or somebody's work of this moment.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tlc_core::ulid::Ulid;
use tlc_core::{Lineage, TableInfo, Url};

use crate::reduce::Interrupted;
use crate::{Inventory, Project, RunError};

impl Project {
    /// Whether a table was made with the model in folder `url`, or is being made by one of the reductions `at_work`: by its
    /// name, which no other has, since a run that was renamed or copied keeps its models although their URLs are other ones.
    pub(super) fn is_used(url: &Url, inventory: &Inventory, at_work: &[Lineage]) -> bool {
        let names_it =
            |lineage: &Lineage| lineage.models.values().any(|model| model.url.file_name() == url.file_name());
        at_work.iter().any(names_it) || inventory.tables.iter().filter_map(TableInfo::lineage).any(|it| names_it(&it))
    }

    /// Of the reductions that have finished pieces of a table not long ago: of the tables to be.
    pub(super) fn reductions_at_work(&self, least_age: Duration) -> Result<Vec<Lineage>, RunError> {
        let interrupted = self.interrupted_reductions()?.into_iter();
        let mut at_work = Vec::new();
        for it in interrupted {
            if !(was_stopped(&it, least_age) && self.is_old(&it.folder, least_age)?) {
                at_work.extend(it.lineage);
            }
        }
        Ok(at_work)
    }

    /// Whether what is there was begun, and last written to, at least `least_age` ago. One who is at work for long is known
    /// by what was written, one who is about to write by the name.
    pub(super) fn is_old(&self, url: &Url, least_age: Duration) -> Result<bool, RunError> {
        if id_in_name(url).is_some_and(|id| age(id) < least_age) {
            return Ok(false);
        }
        // Nothing is older than nothing; a time to come is one of a clock that went backwards.
        let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
        Ok(self.store().last_modified(url)?.is_none_or(|time| age(time) >= least_age))
    }
}

/// The identity in `name-<ulid>.lance`, `….lance.deleted-<ulid>` or `name-<ulid>`.
fn id_in_name(url: &Url) -> Option<Ulid> {
    let name = url.file_name().strip_suffix(".lance").unwrap_or(url.file_name());
    Ulid::from_string(name.rsplit_once('-')?.1).ok()
}

/// Whether a reduction has finished no piece for `least_age`.
pub(super) fn was_stopped(reduction: &Interrupted, least_age: Duration) -> bool {
    reduction.newest.is_none_or(|id| age(id) >= least_age)
}

/// How long ago an identity was made; nothing for one from the future, as after a clock went backwards.
fn age(id: Ulid) -> Duration {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    Duration::from_millis(now.saturating_sub(id.timestamp_ms()))
}
