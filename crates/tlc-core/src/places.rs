//! How URLs that are stored in a project are read, and how they are written so that they survive a move.

use std::collections::BTreeMap;

use crate::{Url, UrlError};

/// A project's folder, and folders outside of it that have a name.
///
/// What is stored names places inside the project relative to its folder, so that the project can be moved whole, and
/// places below a folder with an alias as `<NAME>/…`, so that data can lie elsewhere on every machine. Anybody may have
/// written what is stored: only the project's folder and those with an alias are [read](Self::covers).
///
/// ```
/// use tlc_core::{Places, Url};
/// let here = Places::new("/data/project".parse()?).with_alias("DATA", "/mnt/data".parse()?)?;
/// let there = Places::new("s3://bucket/project".parse()?).with_alias("DATA", "s3://data".parse()?)?;
///
/// let mnist: Url = "/mnt/data/mnist/train.lance".parse()?;
/// assert_eq!(here.stored(&mnist).to_string(), "<DATA>/mnist/train.lance");
/// assert_eq!(there.expanded(&here.stored(&mnist))?.to_string(), "s3://data/mnist/train.lance");
/// assert_eq!(here.stored(&"/data/project/runs/a".parse()?).to_string(), "runs/a");
/// # Ok::<(), tlc_core::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    root: Url,
    aliases: BTreeMap<String, Url>,
}

impl Places {
    /// What begins the names of environment variables that define aliases: `TLC_ALIAS_DATA=/mnt/data`.
    pub const VARIABLE_PREFIX: &str = "TLC_ALIAS_";

    /// A project's folder, without aliases.
    pub fn new(root: Url) -> Self {
        Self { root, aliases: BTreeMap::new() }
    }

    /// With the name `name` for `folder`.
    ///
    /// # Errors
    /// A name of other characters than A-Z, 0-9 and _, or that begins with none of A-Z; a folder that is not absolute, or
    /// names a version; a name that stands for another folder already.
    pub fn with_alias(mut self, name: &str, folder: Url) -> Result<Self, UrlError> {
        let text = format!("<{name}>/");
        let alias: Url = text.parse()?;
        if alias.to_string() != text {
            return Err(UrlError::new(text, "an alias is a name of A-Z, 0-9 and _, without a path"));
        }
        folder.refuse_version()?;
        if !folder.is_absolute() {
            let reason = format!("an absolute folder or URL is needed for the alias {name}");
            return Err(UrlError::new(folder.to_string(), reason));
        }
        if let Some(known) = self.aliases.get(name).filter(|known| **known != folder) {
            return Err(UrlError::new(alias.to_string(), format!("it stands for {known} already, not for {folder}")));
        }
        self.aliases.insert(name.to_owned(), folder);
        Ok(self)
    }

    /// With the aliases of those `variables` whose name begins with [`VARIABLE_PREFIX`](Self::VARIABLE_PREFIX), except
    /// for names that are defined already: what a program says goes before its environment.
    ///
    /// # Errors
    /// As [`with_alias`](Self::with_alias).
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, UrlError> {
        let defined = self.aliases.clone();
        for (variable, folder) in variables {
            let Some(name) = variable.strip_prefix(Self::VARIABLE_PREFIX) else { continue };
            if !defined.contains_key(name) {
                self = self.with_alias(name, folder.parse()?)?;
            }
        }
        Ok(self)
    }

    /// The project's folder.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// How `url` is stored: relative to the project if it lies inside, otherwise below the alias of the nearest folder
    /// above it, otherwise as it is.
    pub fn stored(&self, url: &Url) -> Url {
        if url.is_within(&self.root) {
            return url.relative_to(&self.root);
        }
        let above = self.aliases.iter().filter(|(_, folder)| url.is_within(folder));
        let nearest = above.max_by_key(|(_, folder)| folder.path().len());
        nearest.map_or_else(|| url.clone(), |(name, folder)| url.below_alias(name, folder))
    }

    /// The place that a stored URL names.
    ///
    /// # Errors
    /// An alias that is not defined; a relative URL that leads out of the project.
    pub fn expanded(&self, url: &Url) -> Result<Url, UrlError> {
        url.resolve(&self.root)?.expand(|name| self.aliases.get(name).cloned())
    }

    /// As [`expanded`](Self::expanded), but an alias that is not defined here stays: for what is only told.
    ///
    /// # Errors
    /// A relative URL that leads out of the project.
    pub fn expanded_if_known(&self, url: &Url) -> Result<Url, UrlError> {
        let resolved = url.resolve(&self.root)?;
        Ok(resolved.expand(|name| self.aliases.get(name).cloned()).unwrap_or(resolved))
    }

    /// Whether `url`, which is absolute, lies in the project or below a folder with an alias.
    pub fn covers(&self, url: &Url) -> bool {
        url.is_within(&self.root) || self.aliases.values().any(|folder| url.is_within(folder))
    }
}

impl From<Url> for Places {
    fn from(root: Url) -> Self {
        Self::new(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("valid")
    }

    fn places() -> Places {
        let places = Places::new(url("/p")).with_alias("DATA", url("/mnt/data")).expect("valid");
        places.with_alias("MNIST_2", url("/mnt/data/mnist")).expect("valid")
    }

    #[track_caller]
    fn check(absolute: &str, stored: &str) {
        let places = places();
        assert_eq!(places.stored(&url(absolute)), url(stored));
        assert_eq!(places.expanded(&url(stored)), Ok(url(absolute)));
    }

    #[test]
    fn places_are_stored_by_the_nearest_folder_that_has_a_name() {
        check("/p/runs/a", "runs/a");
        check("/mnt/data/cifar/x.lance", "<DATA>/cifar/x.lance");
        check("/mnt/data/mnist/x.lance", "<MNIST_2>/x.lance");
        check("/mnt/data", "<DATA>/");
        check("/mnt/database/x.lance", "/mnt/database/x.lance");
        check("s3://bucket/x.lance", "s3://bucket/x.lance");
        check("/p/runs/a.lance?version=3", "runs/a.lance?version=3");
        check("/mnt/data/mnist/x.lance?version=3", "<MNIST_2>/x.lance?version=3");
    }

    #[test]
    fn a_folder_of_the_project_that_is_called_as_an_alias_is_none() {
        let place = url("/p").join("<DATA>/x.lance").expect("a name");
        let text = places().stored(&place).to_string();
        assert_eq!(places().expanded(&url(&text)), Ok(place), "{text}");
        assert_eq!(places().expanded(&url("<DATA>/x.lance")), Ok(url("/mnt/data/x.lance")));
    }

    #[test]
    fn only_the_project_and_what_has_a_name_is_read() {
        let covered = ["/p/x", "/mnt/data/x", "/mnt/other", "/"].map(|text| places().covers(&url(text)));
        assert_eq!(covered, [true, true, false, false]);
        assert!("<DATA>/x/../../etc".parse::<Url>().is_err(), "no .. leads out of an alias");
    }

    #[test]
    fn what_a_program_says_goes_before_its_environment() {
        let variables = [("HOME", "not a folder"), ("TLC_ALIAS_DATA", "/elsewhere"), ("TLC_ALIAS_MORE", "/more")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let places = places().with_variables(variables).expect("valid");
        assert_eq!(places.expanded(&url("<DATA>/x")), Ok(url("/mnt/data/x")));
        assert_eq!(places.expanded(&url("<MORE>/x")), Ok(url("/more/x")));
    }

    #[test]
    fn what_is_no_alias_is_explained() {
        let message =
            |name: &str, folder: &str| places().with_alias(name, url(folder)).expect_err("refused").to_string();
        assert!(message("data", "/x").contains("NAME of A-Z"));
        assert!(message("A>/B", "/x").contains("without a path"));
        assert!(message("X", "runs/a").contains("an absolute folder or URL is needed for the alias X"));
        assert!(message("X", "/mnt/x?version=3").contains("leave ?version=3 out"));
        assert!(message("DATA", "/x").contains("it stands for file:///mnt/data already, not for file:///x"));
        let unknown = places().expanded(&url("<NONE>/x")).expect_err("unknown").to_string();
        assert!(unknown.contains("set TLC_ALIAS_NONE to its folder"), "{unknown}");
        assert_eq!(places().expanded_if_known(&url("<NONE>/x")), Ok(url("<NONE>/x")));
    }
}
