//! Where a table, run or model lives, in one normal form.
//!
//! Two spellings of one place compare equal: `.` and `..` are resolved, doubled and trailing
//! slashes dropped, `file:` paths percent-decoded. A [`Url`] never carries a user, a password, a
//! fragment, or another query than a table's version, so it can be printed and stored in lineage without leaking a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UrlError;

/// The place of a table, run, model or other object.
///
/// Three forms:
/// - absolute: `file:///data/p`, `s3://bucket/p`, `gs://bucket/p`, `az://container/p`,
///   `memory://name/p`; a plain absolute path is a `file` URL;
/// - relative to a project root: `runs/a/run.json`; written `./<X>/a` where a folder is called as an alias is;
/// - below an alias: `<DATA>/mnist`, expanded with [`Url::expand`].
///
/// Each may end with `?version=7`, which means a table as it was in that version: tables of tlc have one, those of other
/// programs may have many. A URL with a version is another one than that without. It is only read; what is made of it by
/// [`parent`](Self::parent) and [`join`](Self::join) has none.
///
/// ```
/// use tlc_core::Url;
/// let root: Url = "/data/project".parse()?;
/// let run = root.join("runs/a/../b")?;
/// assert_eq!(run.to_string(), "file:///data/project/runs/b");
/// assert_eq!(run.relative_to(&root).to_string(), "runs/b");
/// let table: Url = "s3://bucket/t.lance?version=7".parse()?;
/// assert_eq!((table.path(), table.version()), ("t.lance", Some(7)));
/// assert!("s3://key:secret@bucket/p".parse::<Url>().is_err());
/// # Ok::<(), tlc_core::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    base: Base,
    /// Decoded, without leading or trailing slash, no `.`, `..` or empty segment.
    path: String,
    /// Of a table, from 1 on.
    version: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Base {
    Absolute { scheme: Scheme, authority: String },
    Alias(String),
    Relative,
}

/// The kinds of store that an absolute [`Url`] can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// A local file system.
    File,
    /// S3 and stores that speak its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// This process's memory.
    Memory,
}

impl Scheme {
    const ALL: [Scheme; 5] = [Scheme::File, Scheme::S3, Scheme::Gs, Scheme::Az, Scheme::Memory];

    /// The scheme as written before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::File => "file",
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
            Scheme::Memory => "memory",
        }
    }
}

impl Url {
    /// The URL of an absolute local path.
    ///
    /// # Errors
    /// If the path is relative or not UTF-8.
    pub fn from_path(path: &Path) -> Result<Self, UrlError> {
        let text = path.to_str().ok_or_else(|| UrlError::new(path.to_string_lossy(), "the path is not UTF-8"))?;
        if !path.is_absolute() {
            return Err(UrlError::new(text, "the path is relative; an absolute path is needed here"));
        }
        Self::absolute(text, Scheme::File, String::new(), text)
    }

    /// The local path, if this is a `file` URL.
    pub fn to_path(&self) -> Option<PathBuf> {
        match &self.base {
            Base::Absolute { scheme: Scheme::File, .. } => Some(PathBuf::from(format!("/{}", self.path))),
            _ => None,
        }
    }

    /// The scheme of an absolute URL.
    pub fn scheme(&self) -> Option<Scheme> {
        match self.base {
            Base::Absolute { scheme, .. } => Some(scheme),
            _ => None,
        }
    }

    /// The bucket or container of an absolute URL, or the name of a memory; `None` for others.
    ///
    /// ```
    /// let url: tlc_core::Url = "s3://bucket/a/b".parse()?;
    /// assert_eq!((url.authority(), url.path()), (Some("bucket"), "a/b"));
    /// # Ok::<(), tlc_core::UrlError>(())
    /// ```
    pub fn authority(&self) -> Option<&str> {
        match &self.base {
            Base::Absolute { authority, .. } if !authority.is_empty() => Some(authority),
            _ => None,
        }
    }

    /// The path without leading slash, decoded: the object key on an object store.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the URL names a place by itself, without a project root or alias.
    pub fn is_absolute(&self) -> bool {
        matches!(self.base, Base::Absolute { .. })
    }

    /// The version of a table that is meant, from 1 on; `None` where none is named.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The same place in this version, or in none; 0 is no version.
    #[must_use]
    pub fn with_version(self, version: Option<u64>) -> Url {
        Url { version: version.filter(|version| *version > 0), ..self }
    }

    /// Refuses a URL with a version: for whoever writes, lists or deletes what is there, or takes it for a folder.
    ///
    /// # Errors
    /// With what is to be left out.
    pub fn refuse_version(&self) -> Result<(), UrlError> {
        match self.version {
            None => Ok(()),
            Some(version) => {
                let reason = format!(
                    "a version of a table is only read, and this would be written, listed or deleted; leave \
                     ?version={version} out"
                );
                Err(UrlError::new(self.to_string(), reason))
            }
        }
    }

    /// What people type as a place without `?version=N` at its end, and `N`: for those who look whether a path is there
    /// before they make a URL of it. A folder that is called so is typed with a slash at its end.
    ///
    /// ```
    /// # use tlc_core::Url;
    /// assert_eq!(Url::split_version("data/t.lance?version=7")?, ("data/t.lance", Some(7)));
    /// assert_eq!(Url::split_version("data/what?.lance")?, ("data/what?.lance", None));
    /// assert!(Url::split_version("data/t.lance?version=last").is_err());
    /// # Ok::<(), tlc_core::UrlError>(())
    /// ```
    ///
    /// # Errors
    /// A version that is no number from 1 on.
    pub fn split_version(text: &str) -> Result<(&str, Option<u64>), UrlError> {
        match split_query(text) {
            None => Ok((text, None)),
            Some((place, number)) => Ok((place, Some(version_of(number)?))),
        }
    }

    /// The last path segment, empty for a root.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds this, or `None` at a root.
    pub fn parent(&self) -> Option<Url> {
        if self.path.is_empty() {
            return None;
        }
        let path = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        Some(Url { base: self.base.clone(), path: path.to_owned(), version: None })
    }

    /// The place at `relative` below this one.
    ///
    /// # Errors
    /// If `relative` is absolute or leads out of the root with `..`.
    pub fn join(&self, relative: &str) -> Result<Url, UrlError> {
        if relative.starts_with('/') || relative.contains("://") {
            return Err(UrlError::new(relative, "a relative path is needed here"));
        }
        let path = normalise(relative, &format!("{}/{relative}", self.path))?;
        Ok(Url { base: self.base.clone(), path, version: None })
    }

    /// Whether this is `root` itself or lies below it, whatever versions are named.
    pub fn is_within(&self, root: &Url) -> bool {
        self.base == root.base
            && (root.path.is_empty()
                || self.path == root.path
                || self.path.strip_prefix(&root.path).is_some_and(|rest| rest.starts_with('/')))
    }

    /// This URL relative to `root` if it lies below it, otherwise unchanged.
    ///
    /// Lineage and run records store this form, so that a project can be moved or copied whole.
    pub fn relative_to(&self, root: &Url) -> Url {
        if self.is_within(root) && self.path != root.path {
            let path = self.path[root.path.len()..].trim_start_matches('/').to_owned();
            Url { base: Base::Relative, path, version: self.version }
        } else {
            self.clone()
        }
    }

    /// The absolute form of a relative URL; others are returned unchanged.
    ///
    /// # Errors
    /// If the relative URL leads out of `root`.
    pub fn resolve(&self, root: &Url) -> Result<Url, UrlError> {
        match self.base {
            Base::Relative => Ok(root.join(&self.path)?.with_version(self.version)),
            _ => Ok(self.clone()),
        }
    }

    /// Replaces an alias by its place; other URLs are returned unchanged.
    ///
    /// # Errors
    /// If `lookup` does not know the alias.
    pub fn expand(&self, lookup: impl FnOnce(&str) -> Option<Url>) -> Result<Url, UrlError> {
        match &self.base {
            Base::Alias(name) => {
                let folder = lookup(name).ok_or_else(|| {
                    let variable = format!("{}{name}", crate::Places::VARIABLE_PREFIX);
                    UrlError::new(self.to_string(), format!("the alias is not defined; set {variable} to its folder"))
                })?;
                Ok(folder.join(&self.path)?.with_version(self.version))
            }
            _ => Ok(self.clone()),
        }
    }

    /// This URL, which lies below `folder`, as `<name>/…`.
    pub(crate) fn below_alias(&self, name: &str, folder: &Url) -> Url {
        let path = self.path[folder.path.len()..].trim_start_matches('/').to_owned();
        Url { base: Base::Alias(name.to_owned()), path, version: self.version }
    }

    fn absolute(text: &str, scheme: Scheme, authority: String, path: &str) -> Result<Self, UrlError> {
        Ok(Url { base: Base::Absolute { scheme, authority }, path: normalise(text, path)?, version: None })
    }

    /// A place without a version.
    fn parse_place(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::new(text, "the URL is empty"));
        }
        if let Some(rest) = text.strip_prefix('<') {
            let (name, path) = rest.split_once('>').unwrap_or((rest, ""));
            let valid = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            if !valid || !rest.contains('>') {
                return Err(UrlError::new(text, "an alias has the form <NAME>/path with NAME of A-Z, 0-9 and _"));
            }
            return Ok(Url { base: Base::Alias(name.to_owned()), path: normalise(text, path)?, version: None });
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::parse_with_scheme(text, scheme, rest);
        }
        if text.starts_with('/') {
            return Self::absolute(text, Scheme::File, String::new(), text);
        }
        Ok(Url { base: Base::Relative, path: normalise(text, text)?, version: None })
    }

    fn parse_with_scheme(text: &str, scheme: &str, rest: &str) -> Result<Self, UrlError> {
        if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
            // The text is not repeated: it holds a credential.
            return Err(UrlError::new(
                format!("{scheme}://…@…"),
                "credentials do not belong in a URL; set them in the environment",
            ));
        }
        let scheme = Scheme::ALL.into_iter().find(|known| known.as_str() == scheme).ok_or_else(|| {
            let known: Vec<_> = Scheme::ALL.iter().map(|known| known.as_str()).collect();
            UrlError::new(text, format!("the scheme {scheme:?} is not supported; use one of {}", known.join(", ")))
        })?;
        if scheme == Scheme::File {
            let parsed = ::url::Url::parse(text).map_err(|error| UrlError::new(text, error.to_string()))?;
            refuse_extras(text, parsed.query().is_some() || parsed.fragment().is_some())?;
            let path = parsed
                .to_file_path()
                .map_err(|()| UrlError::new(text, "a file URL has the form file:///absolute/path"))?;
            return Self::from_path(&path);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() {
            return Err(UrlError::new(text, format!("the form is {}://bucket/path", scheme.as_str())));
        }
        refuse_extras(text, rest.contains(['?', '#']))?;
        Self::absolute(text, scheme, authority.to_owned(), path)
    }
}

fn refuse_extras(text: &str, present: bool) -> Result<(), UrlError> {
    let reason = "no fragment is accepted, and no query but the version of a table, as in t.lance?version=7";
    if present { Err(UrlError::new(text, reason)) } else { Ok(()) }
}

/// The place and the number of a text that ends with `?version=` and a number, or whatever stands there.
fn split_query(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once("?version=").filter(|(_, number)| !number.contains('/'))
}

fn version_of(number: &str) -> Result<u64, UrlError> {
    // Without a sign, which a number may have in Rust.
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let version = digits.and_then(|digits| digits.parse::<u64>().ok()).filter(|version| *version > 0);
    version.ok_or_else(|| UrlError::new(format!("…?version={number}"), "a version is a number from 1 on"))
}

fn normalise(text: &str, path: &str) -> Result<String, UrlError> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or_else(|| UrlError::new(text, "the path leads out of its root"))?;
            }
            _ if segment.chars().any(char::is_control) => {
                return Err(UrlError::new(text.escape_debug().to_string(), "a path has no control characters"));
            }
            _ => segments.push(segment),
        }
    }
    Ok(segments.join("/"))
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((place, number)) = split_query(text) else { return Self::parse_place(text) };
        // The place first: it may hold a credential, which no message repeats.
        let place = Self::parse_place(place)?;
        Ok(place.with_version(Some(version_of(number)?)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.base {
            // A folder that is called so, and no alias.
            Base::Relative if self.path.starts_with('<') => write!(f, "./{}", self.path),
            Base::Relative => f.write_str(&self.path),
            Base::Alias(name) => write!(f, "<{name}>/{}", self.path),
            Base::Absolute { scheme: Scheme::File, .. } => {
                match ::url::Url::from_file_path(format!("/{}", self.path)) {
                    Ok(url) => f.write_str(url.as_str()),
                    Err(()) => write!(f, "file:///{}", self.path),
                }
            }
            Base::Absolute { scheme, authority } => write!(f, "{}://{authority}/{}", scheme.as_str(), self.path),
        };
        place?;
        match self.version {
            Some(version) => write!(f, "?version={version}"),
            // A folder that is called so, and no version; absolute ones are written with an escaped question mark.
            None if !self.is_absolute() && split_query(&self.path).is_some() => f.write_str("/"),
            None => Ok(()),
        }
    }
}

impl From<Url> for String {
    fn from(url: Url) -> String {
        url.to_string()
    }
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        let shown = match input.parse::<Url>() {
            Ok(url) => {
                assert_eq!(url.to_string().parse::<Url>().as_ref(), Ok(&url), "display parses back");
                url.to_string()
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn spellings_of_one_place_are_equal() {
        check("/a//b/./c/../d/", "file:///a/b/d");
        check("file:///a/b%20c", "file:///a/b%20c");
        check("/a/b c", "file:///a/b%20c");
        check("s3://bucket//x/../y", "s3://bucket/y");
        check("runs/./a", "runs/a");
        check("<DATA>/x//y", "<DATA>/x/y");
        check("./<DATA>/x", "./<DATA>/x");
        check("a/<DATA>/x", "a/<DATA>/x");
        check("memory://m/", "memory://m/");
        check("/a/t.lance/?version=07", "file:///a/t.lance?version=7");
        check("/a/what?.lance", "file:///a/what%3F.lance");
    }

    #[test]
    fn what_is_not_a_place_is_refused_with_a_reason() {
        check("", "error: \"\" is not a usable URL: the URL is empty");
        check("../x", "error: \"../x\" is not a usable URL: the path leads out of its root");
        check(
            "http://h/x",
            "error: \"http://h/x\" is not a usable URL: the scheme \"http\" is not supported; use one of file, s3, gs, az, memory",
        );
        check(
            "s3://user:pw@bucket/x",
            "error: \"s3://…@…\" is not a usable URL: credentials do not belong in a URL; set them in the environment",
        );
        for text in ["s3://b/x?y", "s3://b/x#y", "s3://b/x?y=1&version=7", "s3://b/x?version=7/", "file:///x?y"] {
            let reason = "no fragment is accepted, and no query but the version of a table, as in t.lance?version=7";
            check(text, &format!("error: {text:?} is not a usable URL: {reason}"));
        }
        for number in ["", "0", "+7", "-1", "last", "7&y=1", "7#y", "18446744073709551616"] {
            for place in ["s3://b/x", "/x", "x", "<DATA>/x", "file:///x"] {
                let expected = format!("…?version={number}");
                let expected = format!("error: {expected:?} is not a usable URL: a version is a number from 1 on");
                check(&format!("{place}?version={number}"), &expected);
            }
        }
        check(
            "s3://user:pw@bucket/x?version=x",
            "error: \"s3://…@…\" is not a usable URL: credentials do not belong in a URL; set them in the environment",
        );
        check(
            "<data>/x",
            "error: \"<data>/x\" is not a usable URL: an alias has the form <NAME>/path with NAME of A-Z, 0-9 and _",
        );
    }

    #[test]
    fn relative_urls_survive_a_move_of_the_root() {
        let old: Url = "/old/project".parse().expect("valid");
        let new: Url = "s3://bucket/new".parse().expect("valid");
        let table = old.join("runs/a/metrics/x.lance").expect("valid");
        let moved = table.relative_to(&old).resolve(&new).expect("valid");
        assert_eq!(moved.to_string(), "s3://bucket/new/runs/a/metrics/x.lance");
        let outside: Url = "/old/project-2/x".parse().expect("valid");
        assert_eq!(outside.relative_to(&old), outside, "a common name prefix is not a common folder");
    }

    #[test]
    fn a_version_is_part_of_a_url_and_of_no_path() {
        for text in ["s3://b/d/t.lance", "gs://b/d/t.lance", "file:///d/t.lance", "d/t.lance", "<DATA>/d/t.lance"] {
            let (plain, named): (Url, Url) =
                (text.parse().expect("valid"), format!("{text}?version=7").parse().expect("valid"));
            check(&named.to_string(), &format!("{text}?version=7"));
            assert_eq!((plain.version(), named.version()), (None, Some(7)));
            assert!(plain != named && named.clone().with_version(None) == plain);
            assert_eq!(plain.clone().with_version(Some(7)), named);
            assert_eq!(plain.clone().with_version(Some(0)), plain);
            assert_eq!((named.path(), named.file_name()), (plain.path(), "t.lance"));
            assert_eq!((named.to_path(), named.parent()), (plain.to_path(), plain.parent()));
            assert_eq!(named.join("data").expect("valid"), plain.join("data").expect("valid"));
            assert!(named.is_within(&plain) && plain.is_within(&named));
            let refused = named.refuse_version().expect_err("it has one").to_string();
            assert!(plain.refuse_version().is_ok() && refused.ends_with("leave ?version=7 out"), "{refused}");
        }
    }

    #[test]
    fn a_version_goes_wherever_its_url_goes() {
        let root: Url = "/p".parse().expect("valid");
        let table: Url = "/p/d/t.lance?version=7".parse().expect("valid");
        let relative = table.relative_to(&root);
        assert_eq!(relative.to_string(), "d/t.lance?version=7");
        assert_eq!(relative.resolve(&root), Ok(table.clone()));
        let alias = table.below_alias("DATA", &root);
        assert_eq!(alias.to_string(), "<DATA>/d/t.lance?version=7");
        assert_eq!(alias.expand(|_| Some(root.clone())), Ok(table.clone()));
        let json = serde_json::to_string(&table).expect("plain data");
        assert_eq!(serde_json::from_str::<Url>(&json).expect("plain data"), table);
    }

    #[test]
    fn a_folder_that_is_called_like_a_version_is_none() {
        for root in ["p", "<DATA>/p", "/p"] {
            let folder = root.parse::<Url>().and_then(|root| root.join("t?version=7")).expect("valid");
            assert_eq!((folder.file_name(), folder.version()), ("t?version=7", None));
            for folder in [folder.clone(), folder.with_version(Some(3))] {
                assert_eq!(folder.to_string().parse::<Url>(), Ok(folder.clone()), "{folder}");
            }
        }
        let folder = Url::from_path(Path::new("/p/t?version=7")).expect("absolute");
        assert_eq!((folder.to_string().as_str(), folder.version()), ("file:///p/t%3Fversion=7", None));
        check("t?version=7/", "t?version=7/");
    }

    #[test]
    fn an_alias_expands_to_its_place() {
        let url: Url = "<DATA>/mnist".parse().expect("valid");
        let expanded = url.expand(|name| (name == "DATA").then(|| "/mnt/data".parse().expect("valid")));
        assert_eq!(expanded.expect("known").to_string(), "file:///mnt/data/mnist");
        assert!(url.expand(|_| None).is_err());
    }
}
