//! A project from what people type: a folder or a URL, and the aliases of the environment.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use tlc_core::{Places, Url, UrlError};
use tlc_run::Project;
use tlc_table::LanceStore;

/// The project in a folder, or at a URL such as `s3://bucket/project` (features `s3`, `gcs`, `azure`), which need not
/// exist yet; a relative folder is one of the working directory. Folders elsewhere have the aliases that the environment
/// gives them, as `TLC_ALIAS_DATA=/mnt/data` does (see [`Places`]). The `tlc` command opens projects in the same way.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let project = tlc::open_project(folder.join("my-project"))?;
/// let run = project.create_run("my-training", Default::default())?;
/// assert_eq!(tlc::open_project(folder.join("my-project"))?.run_names()?, ["my-training"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What is neither a folder's path in UTF-8 nor a URL, or the URL of a table's version; a variable that defines no alias.
pub fn open_project(place: impl AsRef<Path>) -> Result<Project, UrlError> {
    in_environment(place.as_ref(), std::env::vars_os())
}

fn in_environment(
    place: &Path,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Project, UrlError> {
    let root: Url = match place.to_str().filter(|text| text.contains("://")) {
        Some(url) => url.parse()?,
        // Without a working directory, or of an empty path: says that an absolute one is needed.
        None => Url::from_path(&std::path::absolute(place).unwrap_or_else(|_| place.to_owned()))?,
    };
    root.refuse_version()?;
    // What is not Unicode is no URL.
    let unicode = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let places = Places::new(root).with_variables(variables.into_iter().filter_map(unicode))?;
    Ok(Project::in_places(Arc::new(LanceStore::default()), places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_the_aliases_of_the_environment() {
        let open = |place: &str, variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
            in_environment(Path::new(place), variables.collect::<Vec<_>>())
        };
        let project = open("/p", &[("HOME", "no folder"), ("TLC_ALIAS_DATA", "/mnt/data")]).expect("a folder");
        let data: Url = "/mnt/data/toys.lance".parse().expect("a URL");
        assert_eq!(project.places().stored(&data).to_string(), "<DATA>/toys.lance");
        let relative = open("p", &[]).expect("below the working directory");
        assert_eq!(relative.root().to_path(), std::path::absolute("p").ok());
        assert_eq!(open("s3://bucket/p", &[]).expect("a URL").root().authority(), Some("bucket"));
        assert!(
            open("s3://bucket/p?version=3", &[]).expect_err("no table").to_string().contains("leave ?version=3 out")
        );
        assert!(open("", &[]).expect_err("nothing").to_string().contains("an absolute path is needed"));
        assert!(open("/p", &[("TLC_ALIAS_data", "/mnt")]).expect_err("no alias").to_string().contains("A-Z"));
    }
}
