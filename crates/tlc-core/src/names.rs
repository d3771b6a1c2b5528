//! Names of new things, and near names of mistyped ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ulid::Ulid;

/// `name-<ulid>`: a readable name that two writers never share.
///
/// ```
/// let name = tlc_core::UniqueName::new("train epoch 3");
/// assert!(name.to_string().starts_with("train-epoch-3-"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueName {
    stem: String,
    id: Ulid,
}

impl UniqueName {
    /// A fresh name; characters other than letters, digits, `.`, `_` and `-` become `-`.
    pub fn new(stem: &str) -> Self {
        Self::with_id(stem, Ulid::generate())
    }

    /// The name of what has the identity `id`.
    pub fn with_id(stem: &str, id: Ulid) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let stem = stem.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        Self { stem, id }
    }

    /// The readable part of a file's name: `train` of `train-01J….lance`; without an identity the name as it is.
    ///
    /// ```
    /// use tlc_core::UniqueName;
    /// let name = UniqueName::new("train");
    /// assert_eq!(UniqueName::stem_of(&format!("{name}.lance")), "train");
    /// assert_eq!(UniqueName::stem_of("my-table.lance"), "my-table");
    /// ```
    pub fn stem_of(file_name: &str) -> &str {
        let name = file_name.strip_suffix(".lance").unwrap_or(file_name);
        match name.rsplit_once('-') {
            Some((stem, id)) if Ulid::from_string(id).is_ok() => stem,
            _ => name,
        }
    }

    /// The readable part.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The part that makes the name unique, ordered by creation time.
    pub fn id(&self) -> Ulid {
        self.id
    }
}

impl fmt::Display for UniqueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stem, self.id)
    }
}

/// `names` in their order, each changed to one that no other has: for those that several have, `longer` gives another by
/// their places, and where several have that as well, the second gets `-2`, the third `-3`, and so on.
///
/// ```
/// let names = ["a", "b", "b"].map(str::to_owned);
/// assert_eq!(tlc_core::distinct(&names, |place| format!("{place}-b")), ["a", "1-b", "2-b"]);
/// assert_eq!(tlc_core::distinct(&names, |place| names[place].clone()), ["a", "b", "b-2"]);
/// ```
pub fn distinct(names: &[String], longer: impl Fn(usize) -> String) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_insert(0) += 1;
    }
    let wanted: Vec<String> =
        names.iter().enumerate().map(|(i, name)| if counts[name] > 1 { longer(i) } else { name.clone() }).collect();
    let all: BTreeSet<&String> = wanted.iter().collect();
    let mut taken = BTreeSet::new();
    let free = |name: &String| {
        if taken.insert(name.clone()) {
            return name.clone();
        }
        let mut numbered = (2..).map(|number| format!("{name}-{number}"));
        numbered.find(|name| !all.contains(name) && taken.insert(name.clone())).expect("some number is free")
    };
    wanted.iter().map(free).collect()
}

/// Up to three of `known` that are spelt most like `wanted`, nearest first.
///
/// ```
/// assert_eq!(tlc_core::suggest("umpa", ["pacmap", "umap"]), ["umap"]);
/// ```
pub fn suggest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (edit_distance(wanted, name), name))
        .filter(|(distance, name)| {
            *distance <= wanted.len().max(name.len()) / 2 || (!wanted.is_empty() && name.ends_with(wanted))
        })
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
