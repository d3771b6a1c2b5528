//! Which stored tables are one table of a scene, and whose samples their rows are.

use std::collections::{BTreeMap, HashSet};

use tlc_core::{Aggregate, NumberRole, Scan, Url, columns_with_role, distinct};

use super::at_once::at_once;
use super::columns::whole_numbers;
use super::sources::{Source, id_column, name_of};
use super::{Scene, SceneDataset, SceneTable, TablePart};
use crate::ViewError;

impl Scene {
    pub(super) fn add_tables(&mut self, sources: &[Source]) -> Result<(), ViewError> {
        // Of each dataset the table whose rows its samples are, and whether that names them itself; of each table which
        // sources it is made of.
        let (mut keys, mut members): (Vec<(Url, bool)>, Vec<Vec<Member<'_>>>) = (Vec::new(), Vec::new());
        let ids = at_once(sources, |source| self.example_ids(source));
        for (source, ids) in sources.iter().zip(ids) {
            let (ids, has_ids) = (ids?, id_column(source).is_some());
            let described = self.described(source, has_ids);
            let is_named = described.is_none() && has_ids;
            // All reductions of a table have its rows, and its names of them.
            let key = (described.as_ref().unwrap_or(&source.origin).clone(), is_named);
            let dataset = match keys.iter().position(|known| *known == key) {
                Some(index) => index,
                None => {
                    // The first table of a dataset is made of this source.
                    let named_by = is_named.then_some(self.tables.len());
                    self.datasets.push(SceneDataset { named_by, ..self.dataset(source, described.as_ref()) });
                    keys.push(key);
                    keys.len() - 1
                }
            };
            let member = Member { source, ids };
            let goes_with = |table: &usize| {
                self.tables[*table].dataset == dataset && members[*table].iter().any(|other| member.goes_with(other))
            };
            let known = (0..self.tables.len()).find(goes_with);
            let index = known.unwrap_or_else(|| {
                self.tables.push(SceneTable {
                    dataset,
                    name: source.name.clone(),
                    epoch: source.epoch(),
                    rows: 0,
                    parts: Vec::new(),
                    means: BTreeMap::new(),
                });
                members.push(Vec::new());
                self.tables.len() - 1
            });
            let (url, reduced_from) = (source.info.url.clone(), source.reduced_from.clone());
            self.tables[index].parts.push(TablePart::new(url, member.ids.len(), reduced_from, source.origin.clone()));
            members[index].push(member);
        }
        for (index, dataset) in self.datasets.iter_mut().enumerate() {
            let of_dataset = (0..self.tables.len()).filter(|&table| self.tables[table].dataset == index);
            let ids = of_dataset.flat_map(|table| members[table].iter().flat_map(|member| member.ids.iter().copied()));
            let mut all: Vec<i64> = ids.collect();
            // Tables are in order as a rule: a stable sort puts them together in one pass.
            all.sort();
            all.dedup();
            dataset.example_ids = all;
        }
        for (table, members) in self.tables.iter_mut().zip(&members) {
            let all = &self.datasets[table.dataset].example_ids;
            for (part, member) in table.parts.iter_mut().zip(members) {
                part.find_slots(&member.ids, all);
            }
            table.rows = table.distinct_parts().map(|part| part.rows).sum();
            table.means = means(table, members);
        }
        Ok(())
    }

    /// The samples that a table's rows are of; the rows' numbers if no column says so.
    fn example_ids(&self, source: &Source) -> Result<Vec<i64>, ViewError> {
        let info = &source.info;
        let Some(column) = id_column(source) else { return Ok((0..info.rows as i64).collect()) };
        let mut ids: Vec<i64> = Vec::with_capacity(info.rows as usize);
        for batch in self.store.scan(&info.url, Scan::columns([&column]))? {
            for id in whole_numbers(batch?.column(0)) {
                let row = ids.len();
                ids.push(id.ok_or_else(|| ViewError::Unusable {
                    url: info.url.clone(),
                    reason: format!("row {row} has no whole number in its column {column:?}; each row needs one"),
                })?);
            }
        }
        Ok(ids)
    }

    /// The table that a table describes. Where no column says of which rows, it must have as many: otherwise some were left
    /// out, and the numbers of the others are not theirs.
    fn described(&self, source: &Source, has_ids: bool) -> Option<Url> {
        let foreign = source.foreign_table.as_ref()?;
        let is_as_long = || self.store.info(foreign).map_or(true, |info| info.rows == source.info.rows);
        (has_ids || is_as_long()).then(|| foreign.clone())
    }

    /// The dataset of a table that describes another, or none.
    fn dataset(&self, source: &Source, described: Option<&Url>) -> SceneDataset {
        let schema = match described {
            Some(url) => self.store.info(url).map(|info| info.schema).ok(),
            None => Some(source.info.schema.clone()),
        };
        let with_role = |role| {
            let found = schema.as_ref().map(|schema| columns_with_role(schema, &role)).unwrap_or_default();
            found.into_iter().next()
        };
        SceneDataset {
            name: described.map_or_else(|| source.name.clone(), name_of),
            foreign_table: Some(described.unwrap_or(&source.info.url).clone()),
            named_by: None,
            example_ids: Vec::new(),
            image_column: with_role(NumberRole::Image),
            text_column: with_role(NumberRole::Text),
        }
    }

    /// Datasets of one name, as of two folders that are called alike, get that of the folder above as well, or a number.
    pub(super) fn name_datasets(&mut self) {
        let names: Vec<String> = self.datasets.iter().map(|dataset| dataset.name.clone()).collect();
        let folder = |place: usize| self.datasets[place].foreign_table.as_ref().and_then(Url::parent);
        let distinct = distinct(&names, |place| match folder(place) {
            Some(folder) if !folder.file_name().is_empty() && folder.file_name() != names[place] => {
                format!("{}-{}", folder.file_name(), names[place])
            }
            _ => names[place].clone(),
        });
        for (dataset, name) in self.datasets.iter_mut().zip(distinct) {
            dataset.name = name;
        }
    }
}

/// A stored table and the samples that its rows are.
struct Member<'a> {
    source: &'a Source,
    ids: Vec<i64>,
}

impl Member<'_> {
    /// Whether both belong together: as reductions of one table, or as parts of an epoch that several processes wrote.
    /// Tables of the same samples that have no epoch, or another name, are something else each.
    fn goes_with(&self, other: &Member<'_>) -> bool {
        let (a, b) = (self.source, other.source);
        if a.constants != b.constants {
            return false;
        }
        let is_named_alike = a.name == b.name;
        a.origin == b.origin
            || match a.epoch() {
                Some(_) => is_named_alike || are_parts(&self.ids, &other.ids),
                None => is_named_alike && are_parts(&self.ids, &other.ids),
            }
    }
}

/// Whether they share at most half of the smaller one: samplers that fill a last batch up give a few to several processes.
fn are_parts(a: &[i64], b: &[i64]) -> bool {
    let known: HashSet<&i64> = a.iter().collect();
    2 * b.iter().filter(|id| known.contains(id)).count() <= a.len().min(b.len())
}

/// The means over the rows of all parts, from what the run's record says that they add up to; none unless it says that of
/// all.
fn means(table: &SceneTable, members: &[Member<'_>]) -> BTreeMap<String, f64> {
    let mut all: BTreeMap<&String, Aggregate> = BTreeMap::new();
    for part in table.distinct_parts() {
        let Some(member) = members.iter().find(|member| member.source.info.url == part.url) else { continue };
        if member.source.aggregates.is_empty() {
            return BTreeMap::new();
        }
        for (column, sums) in &member.source.aggregates {
            all.entry(column).or_default().merge(*sums);
        }
    }
    let means = all.into_iter().map(|(column, sums)| (column.clone(), sums.mean_of_finite()));
    means.filter(|(_, mean)| mean.is_finite()).collect()
}
