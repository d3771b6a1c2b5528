//! Where places are that are reached through symbolic links.
//!
//! The text of a URL does not show a link, and whoever unpacked, copied or renamed something may have made one: a table
//! that nothing seems to need at one place may be the one that a run lists at another. Object stores have no links.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tlc_core::Url;

/// The links of a project's folder, as they are followed at one time.
#[derive(Debug)]
pub(crate) struct Links {
    root: Url,
    real_root: Option<PathBuf>,
    followed: Mutex<BTreeMap<Url, Url>>,
}

impl Links {
    pub(crate) fn below(root: &Url) -> Self {
        let real_root = root.to_path().and_then(|path| canonical(&path));
        Self { root: root.clone(), real_root, followed: Mutex::default() }
    }

    /// Where `url` leads, as a place below the project's root if it is in there.
    pub(crate) fn followed(&self, url: &Url) -> Url {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.entry(url.clone()).or_insert_with(|| self.follow(url).unwrap_or_else(|| url.clone())).clone()
    }

    /// Whether `url` leads into the project.
    pub(crate) fn is_inside(&self, url: &Url) -> bool {
        self.followed(url).is_within(&self.root)
    }

    /// Whether `url` is a link by which the project, or a part of it, is met a second time.
    pub(crate) fn is_second_way(&self, url: &Url) -> bool {
        is_link(url) && (self.is_inside(url) || self.root.is_within(&self.followed(url)))
    }

    fn follow(&self, url: &Url) -> Option<Url> {
        let real = canonical(&url.to_path()?)?;
        match real.strip_prefix(self.real_root.as_ref()?) {
            Ok(below) if below.as_os_str().is_empty() => Some(self.root.clone()),
            Ok(below) => self.root.join(below.to_str()?).ok(),
            Err(_) => Url::from_path(&real).ok(),
        }
    }
}

/// Whether this very place is a link.
pub(crate) fn is_link(url: &Url) -> bool {
    url.to_path().is_some_and(|path| path.is_symlink())
}

/// Without links. What is not there lies in its folder.
fn canonical(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| Some(canonical(path.parent()?)?.join(path.file_name()?)))
}
