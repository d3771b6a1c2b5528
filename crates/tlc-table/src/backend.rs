//! What Lance leaves to its caller: claiming a table's folder, listing and removing folders, and the small objects
//! beside tables.

use std::time::SystemTime;

use tlc_core::{ObjectVersion, StoreError, Url, WriteCondition};

/// Ends the name of a table's folder.
pub(crate) const TABLE_SUFFIX: &str = ".lance";
/// Where in a table's folder its manifests are. A table is there when it has one.
pub(crate) const MANIFEST_FOLDER: &str = "_versions";
/// Ends the name of a manifest.
pub(crate) const MANIFEST_SUFFIX: &str = ".manifest";

/// A kind of place where folders are. Methods that have the name of one of [`TableStore`](tlc_core::TableStore) do what
/// that promises.
pub(crate) trait Backend: Send + Sync {
    /// What Lance calls `url`.
    fn lance_uri(&self, url: &Url) -> Result<String, StoreError>;

    /// Whether a committed table is there, readable or not.
    fn has_table(&self, url: &Url) -> Result<bool, StoreError>;

    /// Takes the place of a new table, which only one of several writers can; the others are told that it exists.
    fn claim(&self, url: &Url) -> Result<(), StoreError>;

    /// Whether somebody took the place and has not given it back.
    fn is_claimed(&self, url: &Url) -> Result<bool, StoreError>;

    /// Gives the place back, with all that was written there since.
    fn withdraw(&self, url: &Url) -> Result<(), StoreError>;

    /// Makes the files of a table that is about to be committed survive a power loss.
    fn flush_rows(&self, url: &Url) -> Result<(), StoreError>;

    /// Makes a committed table survive a power loss, and where the medium may lose a file, the loss of its manifest.
    /// If that fails, the table stays: somebody may have read it.
    fn flush(&self, url: &Url) -> Result<(), StoreError>;

    fn delete(&self, url: &Url) -> Result<(), StoreError>;

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError>;

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError>;

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError>;

    fn write_object(&self, url: &Url, content: &[u8], condition: &WriteCondition) -> Result<ObjectVersion, StoreError>;

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError>;

    /// The names of the objects in `folder`, sorted; none if there is no such folder.
    fn list_objects(&self, folder: &Url) -> Result<Vec<String>, StoreError>;

    /// Removes one object, or a file of a table; nothing there is fine.
    fn delete_object(&self, url: &Url) -> Result<(), StoreError>;

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError>;

    fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError>;

    fn list_leftovers(&self, folder: &Url) -> Result<Vec<Url>, StoreError>;
}
