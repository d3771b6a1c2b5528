//! Where that is what the user typed: a path, a place within the project, a URL, or one below an alias; of a table of
//! another program with the version that is meant, as in `t.lance?version=7`.
//!
//! All commands take tables, models and projects in the same spellings.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tlc::core::{Places, Url};
use tlc::open_project;
use tlc::run::Project;

/// The project of commands to which none is given.
pub(super) const DEFAULT_PROJECT: &str = "tlc-demo";
/// A project's folder is known by these.
const FOLDERS: [&str; 2] = ["datasets", "runs"];

/// The place that `text` names: below an alias, by a URL or an absolute path, or by the path of what is there. Other paths
/// lie in the project. Each may end with a version.
///
/// # Errors
/// No URL; a version that is no number; an alias that is not defined; a path that leads out of the project.
pub(super) fn resolve(places: &Places, text: &str) -> anyhow::Result<Url> {
    resolve_where(places, text, Path::exists)
}

/// As [`resolve`], of something that need not be there: a path names it if the folder is there that it is to lie in.
#[cfg(feature = "query")]
pub(super) fn resolve_new(places: &Places, text: &str) -> anyhow::Result<Url> {
    resolve_where(places, text, |path| path.parent().is_some_and(Path::exists))
}

fn resolve_where(places: &Places, text: &str, is_path: impl Fn(&Path) -> bool) -> anyhow::Result<Url> {
    if is_below_alias(text) || text.contains("://") {
        return Ok(places.expanded(&text.parse()?)?);
    }
    let (text, version) = Url::split_version(text)?;
    let path = absolute(Path::new(text))?;
    let is_path = Path::new(text).is_absolute() || is_path(&path);
    let url = if is_path { Url::from_path(&path)? } else { places.root().join(text)? };
    Ok(url.with_version(version))
}

/// The project that `text` is of: the `given` one, or else the nearest above it that has datasets or runs;
/// [`DEFAULT_PROJECT`] for what is below an alias or lies in a project. `None` if there is none above it.
///
/// # Errors
/// No URL; aliases of the environment that are none; a failing store.
pub(super) fn project_of(text: &str, given: Option<&Path>) -> anyhow::Result<Option<Project>> {
    let (text, _) = Url::split_version(text)?;
    let path = absolute(Path::new(text))?;
    let is_url = text.contains("://");
    let is_place = is_url || Path::new(text).is_absolute() || path.exists();
    match given {
        Some(folder) => Ok(Some(open_project(folder)?)),
        None if is_below_alias(text) || !is_place => Ok(Some(open_project(DEFAULT_PROJECT)?)),
        None => nearest_above(&if is_url { text.parse()? } else { Url::from_path(&path)? }),
    }
}

/// The project that `text` is of, and its place.
///
/// # Errors
/// As [`project_of`] and [`resolve`]; no project above it.
pub(super) fn open(text: &str, given: Option<&Path>) -> anyhow::Result<(Project, Url)> {
    let project = project_of(text, given)?
        .with_context(|| format!("no folder above {text} has datasets or runs; name the project with --project"))?;
    let url = resolve(project.places(), text)?;
    Ok((project, url))
}

/// The project in the nearest folder above that has datasets or runs, if one has.
///
/// # Errors
/// A store that fails to list folders; aliases of the environment that are none.
pub(super) fn nearest_above(url: &Url) -> anyhow::Result<Option<Project>> {
    for folder in std::iter::successors(url.parent(), Url::parent) {
        let is_project = match folder.to_path() {
            Some(folder) => FOLDERS.iter().any(|name| folder.join(name).is_dir()),
            None => {
                let names = open_project(folder.to_string())?.store().list_folders(&folder)?;
                names.iter().any(|name| FOLDERS.contains(&name.as_str()))
            }
        };
        if is_project {
            return Ok(Some(open_project(folder.to_path().unwrap_or_else(|| folder.to_string().into()))?));
        }
    }
    Ok(None)
}

pub(super) fn is_below_alias(text: &str) -> bool {
    text.starts_with('<')
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find the folder {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn places_are_typed_as_paths_urls_aliases_or_from_the_project_on() {
        let places = Places::new("s3://bucket/p".parse().expect("a URL"));
        let places = places.with_alias("DATA", "/mnt/data".parse().expect("a URL")).expect("an alias");
        let here = std::env::current_dir().expect("tests run in the folder of their crate");
        let of_here = |name: &str| Url::from_path(&here.join(name)).expect("absolute").to_string();
        for (text, expected) in [
            ("<DATA>/train.lance", "file:///mnt/data/train.lance".to_owned()),
            ("s3://other/x.lance", "s3://other/x.lance".to_owned()),
            ("file:///a/b%20c.lance", "file:///a/b%20c.lance".to_owned()),
            ("/a/../b.lance", "file:///b.lance".to_owned()),
            ("src/../Cargo.toml", of_here("Cargo.toml")),
            ("datasets/toys/x.lance", "s3://bucket/p/datasets/toys/x.lance".to_owned()),
            ("<DATA>/train.lance?version=7", "file:///mnt/data/train.lance?version=7".to_owned()),
            ("s3://other/x.lance?version=7", "s3://other/x.lance?version=7".to_owned()),
            ("file:///a/b.lance?version=7", "file:///a/b.lance?version=7".to_owned()),
            ("/a/b.lance?version=7", "file:///a/b.lance?version=7".to_owned()),
            ("Cargo.toml?version=7", of_here("Cargo.toml") + "?version=7"),
            ("datasets/x.lance?version=7", "s3://bucket/p/datasets/x.lance?version=7".to_owned()),
        ] {
            assert_eq!(resolve(&places, text).expect(text).to_string(), expected);
        }
        for (text, reason) in [
            ("<NONE>/x.lance", "set TLC_ALIAS_NONE to its folder"),
            ("../../../not-there.lance", "leads out of its root"),
            ("ftp://x/y", "the scheme \"ftp\" is not supported"),
            ("/a/b.lance?version=last", "a version is a number from 1 on"),
        ] {
            let error = resolve(&places, text).expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
        #[cfg(feature = "query")]
        for (text, expected) in [
            ("new.lance", of_here("new.lance")),
            ("src/new.lance", of_here("src/new.lance")),
            ("datasets/new.lance", "s3://bucket/p/datasets/new.lance".to_owned()),
        ] {
            assert_eq!(resolve_new(&places, text).expect(text).to_string(), expected);
        }
    }

    #[test]
    fn the_project_is_the_given_one_or_the_nearest_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inner, table) = (folder.path().join("a/inner"), folder.path().join("a/inner/datasets/d/t.lance"));
        fs::create_dir_all(&table).expect("writable");
        fs::create_dir_all(folder.path().join("runs")).expect("writable");
        let root = |text: &str, given: Option<&Path>| {
            project_of(text, given).expect("found").map(|project| project.root().to_path().expect("local"))
        };
        let text = table.display().to_string();
        assert_eq!(root(&text, None), Some(inner.clone()), "not the one above it");
        assert_eq!(root(&format!("file://{text}?version=7"), None), Some(inner.clone()));
        assert_eq!(root(&format!("{text}?version=7"), None), Some(inner));
        assert_eq!(root(&text, Some(folder.path())).as_deref(), Some(folder.path()));
        let above = folder.path().join("a/x.lance").display().to_string();
        assert_eq!(root(&above, None).as_deref(), Some(folder.path()), "it need not be there");
        let default = std::path::absolute(DEFAULT_PROJECT).expect("a path");
        assert_eq!(root("<DATA>/x.lance", None), Some(default.clone()));
        assert_eq!(root("datasets/d/x.lance", None), Some(default));
        let alone = tempfile::tempdir().expect("a folder");
        let text = alone.path().join("x.lance").display().to_string();
        assert_eq!(root(&text, None), None);
        let error = open(&text, None).expect_err("no project").to_string();
        assert!(error.starts_with("no folder above") && error.contains("--project"), "{error}");
    }
}
