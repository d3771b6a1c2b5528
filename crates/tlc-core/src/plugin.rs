//! What is linked into this program and can be named in a file.
//!
//! typetag finds an implementation by its tag, but cannot list them and notices two with the same
//! tag only when that tag is read. Each implementation therefore also submits a [`PluginInfo`].

use serde_json::{Map, Value};

use crate::{Reducer, suggest};

/// What a plugin extends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PluginKind {
    /// A [`Reducer`].
    Reducer,
    /// A [`TableStore`](crate::TableStore).
    TableStore,
    /// A reshape strategy of `tlc-collect`.
    ReshapeStrategy,
}

/// Announces an implementation: `tlc_core::inventory::submit! { PluginInfo { .. } }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginInfo {
    /// What it extends.
    pub kind: PluginKind,
    /// Its versioned tag, as in files: `"pacmap/1"`.
    pub tag: &'static str,
    /// The crate it comes from.
    pub crate_name: &'static str,
    /// That crate's version.
    pub crate_version: &'static str,
    /// One line for users.
    pub summary: &'static str,
}

inventory::collect!(PluginInfo);

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// Two implementations with one tag.
    #[error("the tag {tag:?} is registered by both {first} and {second}; tags name file formats and must be unique")]
    Duplicate {
        /// The tag.
        tag: &'static str,
        /// One crate.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A tag that nothing linked into this program has.
    #[error(
        "unknown {what} {name:?}; known: {known}{near}. If it comes from a plugin crate, link it: `use my_plugin as _;`"
    )]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The tag or method name.
        name: String,
        /// What there is.
        known: String,
        /// Near names, as a clause, or empty.
        near: String,
    },
    /// Parameters that the implementation refuses.
    #[error("cannot use the arguments of {name:?}")]
    Arguments {
        /// The tag or method name.
        name: String,
        /// What it says.
        #[source]
        source: serde_json::Error,
    },
    /// Several parameters that the implementation does not know or refuses.
    #[error("cannot use the arguments of {name:?}: {}", problems.join("; "))]
    SeveralArguments {
        /// The tag or method name.
        name: String,
        /// What it says to each that it cannot read, then to the others together.
        problems: Vec<String>,
    },
    /// JSON that is not an object with a tag.
    #[error("a serialised reducer is an object with a text field \"type\", not {found}")]
    NoTag {
        /// What was found, cut short.
        found: String,
    },
}

/// Everything that is linked into this program, sorted by kind and tag.
pub fn plugins() -> Vec<&'static PluginInfo> {
    let mut all: Vec<_> = inventory::iter::<PluginInfo>().collect();
    all.sort();
    all
}

/// Finds two plugins of a kind with one tag. Call it at start-up.
///
/// # Errors
/// [`PluginError::Duplicate`].
pub fn check_plugins() -> Result<(), PluginError> {
    match plugins().windows(2).find(|pair| (pair[0].kind, pair[0].tag) == (pair[1].kind, pair[1].tag)) {
        None => Ok(()),
        Some(pair) => {
            Err(PluginError::Duplicate { tag: pair[0].tag, first: pair[0].crate_name, second: pair[1].crate_name })
        }
    }
}

/// The reducer in a serialised form: an object whose `type` is a tag.
///
/// # Errors
/// No tag, an unknown tag, parameters that are refused.
pub fn reducer_from_json(value: Value) -> Result<Box<dyn Reducer>, PluginError> {
    let Some(tag) = value.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err(PluginError::NoTag { found: value.to_string().chars().take(80).collect() });
    };
    check_plugins()?;
    if !reducer_tags().any(|known| known == tag) {
        return Err(unknown_reducer(&tag));
    }
    serde_json::from_value(value.clone()).map_err(|source| arguments_error(tag, &value, source))
}

/// Deserialising stops at the first argument that it cannot read; users want to know all problems. So what cannot be
/// read is found and left out, until the arguments that are left meet the reducer's own check, together.
fn arguments_error(name: String, value: &Value, source: serde_json::Error) -> PluginError {
    let complaint = |arguments: &Map<String, Value>| {
        let mut value = arguments.clone();
        value.insert("type".to_owned(), Value::from(name.as_str()));
        let tried: Result<Box<dyn Reducer>, _> = serde_json::from_value(Value::Object(value));
        tried.err().map(|error| error.to_string())
    };
    let mut left: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
    left.remove("type");
    let mut problems = Vec::new();
    while let Some(problem) = complaint(&left) {
        let is_unreadable = |(argument, value): &(&String, &Value)| {
            let alone = Map::from_iter([((*argument).clone(), (*value).clone())]);
            complaint(&alone).as_ref() == Some(&problem)
        };
        let culprits: Vec<String> = left.iter().filter(is_unreadable).map(|(argument, _)| argument.clone()).collect();
        if culprits.is_empty() {
            // What the arguments are together; the reducer lists all of it.
            problems.push(problem);
            break;
        }
        for culprit in culprits {
            left.remove(&culprit);
            let is_named = problem.contains(culprit.as_str());
            problems.push(if is_named { problem.clone() } else { format!("{culprit}: {problem}") });
        }
    }
    if problems.len() > 1 {
        PluginError::SeveralArguments { name, problems }
    } else {
        PluginError::Arguments { name, source }
    }
}

/// The reducer called `method` (a short name or a full tag) with `args`, defaults for the rest.
///
/// A short name means the newest version that is linked.
///
/// # Errors
/// An unknown method, unknown or refused arguments.
pub fn reducer_from_args(method: &str, mut args: Map<String, Value>) -> Result<Box<dyn Reducer>, PluginError> {
    let version = |tag: &str| tag.rsplit_once('/').and_then(|(_, version)| version.parse::<u32>().ok());
    let tag = reducer_tags()
        .filter(|tag| *tag == method || tag.rsplit_once('/').is_some_and(|(name, _)| name == method))
        .max_by_key(|tag| version(tag))
        .ok_or_else(|| unknown_reducer(method))?;
    args.insert("type".to_owned(), Value::from(tag));
    reducer_from_json(Value::Object(args))
}

fn reducer_tags() -> impl Iterator<Item = &'static str> {
    plugins().into_iter().filter(|plugin| plugin.kind == PluginKind::Reducer).map(|plugin| plugin.tag)
}

fn unknown_reducer(name: &str) -> PluginError {
    let short = |tag: &'static str| tag.split_once('/').map_or(tag, |(method, _)| method);
    let known: Vec<_> = reducer_tags().collect();
    let near = suggest(name, known.iter().map(|tag| short(tag)));
    let near = if near.is_empty() { String::new() } else { format!("; near: {}", near.join(", ")) };
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    PluginError::Unknown { what: "reducer", name: name.to_owned(), known, near }
}
