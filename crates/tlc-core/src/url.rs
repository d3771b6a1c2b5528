//! Where a table, run or model lives, in one normal form.
//!
//! Two spellings of one place compare equal: `.` and `..` are resolved, doubled and trailing
//! slashes dropped, `file:` paths percent-decoded. A [`Url`] never carries a user, a password, a
//! query or a fragment, so it can be printed and stored in lineage without leaking a secret.

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
/// ```
/// use tlc_core::Url;
/// let root: Url = "/data/project".parse()?;
/// let run = root.join("runs/a/../b")?;
/// assert_eq!(run.to_string(), "file:///data/project/runs/b");
/// assert_eq!(run.relative_to(&root).to_string(), "runs/b");
/// assert!("s3://key:secret@bucket/p".parse::<Url>().is_err());
/// # Ok::<(), tlc_core::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    base: Base,
    /// Decoded, without leading or trailing slash, no `.`, `..` or empty segment.
    path: String,
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
        Some(Url { base: self.base.clone(), path: path.to_owned() })
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
        Ok(Url { base: self.base.clone(), path })
    }

    /// Whether this is `root` itself or lies below it.
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
            Url { base: Base::Relative, path }
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
            Base::Relative => root.join(&self.path),
            _ => Ok(self.clone()),
        }
    }

    /// Replaces an alias by its place; other URLs are returned unchanged.
    ///
    /// # Errors
    /// If `lookup` does not know the alias.
    pub fn expand(&self, lookup: impl FnOnce(&str) -> Option<Url>) -> Result<Url, UrlError> {
        match &self.base {
            Base::Alias(name) => lookup(name)
                .ok_or_else(|| {
                    let variable = format!("{}{name}", crate::Places::VARIABLE_PREFIX);
                    UrlError::new(self.to_string(), format!("the alias is not defined; set {variable} to its folder"))
                })?
                .join(&self.path),
            _ => Ok(self.clone()),
        }
    }

    /// This URL, which lies below `folder`, as `<name>/…`.
    pub(crate) fn below_alias(&self, name: &str, folder: &Url) -> Url {
        let path = self.path[folder.path.len()..].trim_start_matches('/').to_owned();
        Url { base: Base::Alias(name.to_owned()), path }
    }

    fn absolute(text: &str, scheme: Scheme, authority: String, path: &str) -> Result<Self, UrlError> {
        Ok(Url { base: Base::Absolute { scheme, authority }, path: normalise(text, path)? })
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
    if present { Err(UrlError::new(text, "a query or fragment is not accepted")) } else { Ok(()) }
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
            return Ok(Url { base: Base::Alias(name.to_owned()), path: normalise(text, path)? });
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::parse_with_scheme(text, scheme, rest);
        }
        if text.starts_with('/') {
            return Self::absolute(text, Scheme::File, String::new(), text);
        }
        Ok(Url { base: Base::Relative, path: normalise(text, text)? })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
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
        check("s3://b/x?y", "error: \"s3://b/x?y\" is not a usable URL: a query or fragment is not accepted");
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
    fn an_alias_expands_to_its_place() {
        let url: Url = "<DATA>/mnist".parse().expect("valid");
        let expanded = url.expand(|name| (name == "DATA").then(|| "/mnt/data".parse().expect("valid")));
        assert_eq!(expanded.expect("known").to_string(), "file:///mnt/data/mnist");
        assert!(url.expand(|_| None).is_err());
    }
}
