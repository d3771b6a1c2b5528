//! Finding out what there is to see.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow_schema::Schema;
use serde_json::{Map, Value};
use tlc_core::{
    Aggregate, FieldRoles, Lineage, NumberRole, Places, Scan, StoreError, TableInfo, TableStore, UniqueName, Url,
    columns_with_role, distinct, embedding_width, with_causes,
};
use tlc_run::{MetricsEntry, Project, Run, reductions_among};

use super::at_once::at_once;
use super::columns::{columns_of, whole_numbers, wider};
use super::{ColumnKind, LeftOut, Scene, SceneColumn, SceneDataset, SceneLayout, SceneTable, Scope, TablePart};
use crate::ViewError;

/// The table at `url`, and after it its reductions, and those of what it was reduced from, that lie beside them.
pub(crate) fn table_and_reductions(project: &Project, url: &Url) -> Result<Vec<TableInfo>, ViewError> {
    let store = project.store();
    let info = store.info(url)?;
    let source = reduced_from(project.places(), &info)?;
    // Reductions of a table are written beside it.
    let folders: BTreeSet<Url> = std::iter::once(url).chain(&source).filter_map(Url::parent).collect();
    let mut beside = Vec::new();
    for folder in folders {
        let urls = store.list_tables(&folder)?;
        // Of what cannot be read nobody knows whether it is a reduction.
        beside.extend(at_once(&urls, |url| store.info(url)).into_iter().flatten());
    }
    let mut infos = vec![info];
    for of in std::iter::once(url).chain(&source) {
        for info in reductions_among(project, of, &beside) {
            if infos.iter().all(|known| known.url != info.url) {
                infos.push(info);
            }
        }
    }
    Ok(infos)
}

/// The scene that `open` makes of those `tables` that can be read. The others, and those of `failures`, are left out, as
/// long as one is left, and the one that is `needed`.
fn of_readable<T>(
    mut tables: Vec<T>,
    mut failures: Vec<(Url, ViewError)>,
    url_of: impl Fn(&T) -> &Url,
    needed: Option<&Url>,
    open: impl Fn(&[T]) -> Result<Scene, ViewError>,
) -> Result<Scene, ViewError> {
    let mut scene = loop {
        let error = match open(&tables) {
            Ok(scene) => break scene,
            Err(error) => error,
        };
        let is_to_blame = |table: &T| {
            let url = url_of(table);
            error.unreadable() == Some(url) && needed != Some(url)
        };
        let Some(index) = tables.iter().position(is_to_blame) else { return Err(error) };
        let url = url_of(&tables.remove(index)).clone();
        failures.push((url, error));
    };
    // A reduction has replaced it meanwhile.
    failures.retain(|(_, error)| !error.is_not_found());
    if tables.is_empty() && !failures.is_empty() {
        return Err(failures.swap_remove(0).1);
    }
    for (url, error) in failures {
        let reason = with_causes(&error);
        tracing::warn!(table = %url, reason, "left out: it cannot be read");
        scene.left_out.push(LeftOut { url, reason });
    }
    Ok(scene)
}

/// A stored table that is to be shown.
struct Source {
    info: TableInfo,
    name: String,
    foreign_table: Option<Url>,
    reduced_from: Option<Url>,
    /// The table whose rows it has.
    origin: Url,
    constants: Map<String, Value>,
    aggregates: BTreeMap<String, Aggregate>,
}

impl Scene {
    /// All metrics tables of a run that can be read; [`left_out`](Self::left_out) says of the others why not.
    ///
    /// A table that disappears meanwhile, since a reduction has replaced it, is left out without a word.
    ///
    /// # Errors
    /// An unreadable record; a failing store, where no table can be read.
    pub fn of_run(project: &Project, run: &Run) -> Result<Self, ViewError> {
        let record = run.record()?;
        let store = project.shared_store();
        let (mut sources, mut failures) = (Vec::new(), Vec::new());
        let entries = run.metrics()?;
        // What was reduced and kept is shown by its successor, which has all its columns but the embeddings.
        let is_replaced = |url: &Url| entries.iter().any(|entry| entry.reduced_from.as_ref() == Some(url));
        let shown: Vec<&MetricsEntry> = entries.iter().filter(|entry| !is_replaced(&entry.url)).collect();
        let infos = at_once(&shown, |entry| store.info(&entry.url));
        for (entry, info) in shown.into_iter().zip(infos) {
            let origin = entry.origin(&entries).clone();
            let MetricsEntry { url, name, foreign_table, reduced_from, constants, aggregates, .. } = entry.clone();
            match info {
                Ok(info) => {
                    sources.push(Source { info, name, foreign_table, reduced_from, origin, constants, aggregates });
                }
                Err(error) => failures.push((url, ViewError::from(error))),
            }
        }
        let status = serde_json::to_value(record.status).ok().and_then(|status| status.as_str().map(str::to_owned));
        let root = Some(project.root().clone());
        let (title, name) = (record.name.clone(), Some(record.name));
        let open = |sources: &[Source]| {
            Self::new(store.clone(), root.clone(), title.clone(), name.clone(), status.clone(), sources)
        };
        of_readable(sources, failures, |source| &source.info.url, None, open)
    }

    /// One table of a project, by itself: for programs that know which one they want. What a user names is shown
    /// [with its reductions](Self::of_table_with_reductions).
    ///
    /// # Errors
    /// A failing store.
    pub fn of_table(project: &Project, url: &Url) -> Result<Self, ViewError> {
        let info = project.shared_store().info(url)?;
        Self::of_tables(project, url, vec![info])
    }

    /// A table of a project with all reductions of it that lie beside it, as one table with a layout of each; if it is
    /// reduced itself, with the other reductions of its source, and its own layouts first. Where it describes no other, the
    /// samples are its own rows, although it is a reduction that is read where it has one. Of reductions that cannot be
    /// read [`left_out`](Self::left_out) says why not.
    ///
    /// # Errors
    /// A failing store.
    pub fn of_table_with_reductions(project: &Project, url: &Url) -> Result<Self, ViewError> {
        Self::of_table_and(project, url, table_and_reductions(project, url)?)
    }

    /// As [`of_table_with_reductions`](Self::of_table_with_reductions), of the tables that [`table_and_reductions`] has
    /// found.
    pub(crate) fn of_table_and(project: &Project, url: &Url, infos: Vec<TableInfo>) -> Result<Self, ViewError> {
        let open = |infos: &[TableInfo]| Self::of_tables(project, url, infos.to_vec());
        let mut scene = of_readable(infos, Vec::new(), |info| &info.url, Some(url), open)?;
        let Self { datasets, tables, .. } = &mut scene;
        let is_shown = |of: &Url| tables.iter().any(|table| table.parts.iter().any(|part| part.url == *of));
        // All have its rows, in its order.
        if let [dataset] = datasets.as_mut_slice()
            && dataset.foreign_table.as_ref().is_some_and(is_shown)
        {
            dataset.foreign_table = Some(url.clone());
            dataset.name = name_of(url);
        }
        Ok(scene)
    }

    /// Tables that are the one at `url` or made of the same rows.
    fn of_tables(project: &Project, url: &Url, infos: Vec<TableInfo>) -> Result<Self, ViewError> {
        let (store, places) = (project.shared_store(), project.places());
        let mut inputs = Vec::new();
        for info in &infos {
            inputs.push((info.url.clone(), reduced_from(places, info)?));
        }
        let origin = |url: &Url| {
            let mut origin = url;
            // Not for ever: lineage may be anybody's.
            for _ in 0..inputs.len() {
                let Some((_, Some(input))) = inputs.iter().find(|(table, _)| table == origin) else { break };
                origin = input;
            }
            origin.clone()
        };
        let is_replaced = |url: &Url| inputs.iter().any(|(_, input)| input.as_ref() == Some(url));
        let mut sources = Vec::new();
        for (info, (_, reduced_from)) in infos.into_iter().zip(inputs.iter().cloned()) {
            if is_replaced(&info.url) {
                continue;
            }
            // Only what can be opened: a table that was copied from elsewhere may describe one that is not here.
            let foreign_table = info.foreign_table(places)?.filter(|url| places.covers(url) && store.info(url).is_ok());
            let (name, origin) = (name_of(&info.url), origin(&info.url));
            let (constants, aggregates) = (Map::new(), BTreeMap::new());
            sources.push(Source { info, name, foreign_table, reduced_from, origin, constants, aggregates });
        }
        Self::new(store, Some(places.root().clone()), name_of(url), None, None, &sources)
    }

    fn new(
        store: Arc<dyn TableStore>,
        root: Option<Url>,
        title: String,
        run: Option<String>,
        status: Option<String>,
        sources: &[Source],
    ) -> Result<Self, ViewError> {
        let mut scene = Self {
            store,
            root,
            title,
            run,
            status,
            datasets: Vec::new(),
            tables: Vec::new(),
            layouts: Vec::new(),
            columns: Vec::new(),
            embedding_columns: Vec::new(),
            left_out: Vec::new(),
        };
        for source in sources {
            // What it was reduced from may have been kept, and can be reduced again.
            let kept = source.reduced_from.as_ref().and_then(|url| scene.store.info(url).ok());
            let schemas = std::iter::once(&source.info.schema).chain(kept.as_ref().map(|info| &info.schema));
            for column in schemas.flat_map(|schema| columns_with_role(schema, &NumberRole::NnEmbedding)) {
                if !scene.embedding_columns.contains(&column) {
                    scene.embedding_columns.push(column);
                }
            }
        }
        scene.add_tables(sources)?;
        scene.name_datasets();
        scene.add_layouts(sources)?;
        scene.add_columns(sources)?;
        Ok(scene)
    }

    fn add_tables(&mut self, sources: &[Source]) -> Result<(), ViewError> {
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

    fn add_layouts(&mut self, sources: &[Source]) -> Result<(), ViewError> {
        // In the order of writing, not of the tables.
        for source in sources {
            let is_it = |part: &TablePart| part.url == source.info.url;
            let place = |table: &SceneTable| table.parts.iter().position(is_it);
            let found = self.tables.iter().enumerate().find_map(|(index, table)| Some((index, place(table)?)));
            let Some((table, part)) = found else { continue };
            let schema = &source.info.schema;
            let lineage = source.info.lineage();
            for name in columns_with_role(schema, &NumberRole::ReducedEmbedding) {
                let width = schema.field_with_name(&name).ok().and_then(embedding_width).unwrap_or(0);
                if !(2..=3).contains(&width) {
                    continue;
                }
                let index = match self.layouts.iter().position(|layout| layout.name == name) {
                    Some(index) if self.layouts[index].n_components == width => index,
                    // The same name with another number of components cannot be shown in the same map.
                    Some(_) => continue,
                    None => {
                        self.layouts.push(layout(&name, width, schema, lineage.as_ref()));
                        self.layouts.len() - 1
                    }
                };
                let is_fitted = |lineage: &Lineage| lineage.inputs.len() == 1 && lineage.models.contains_key(&name);
                if lineage.as_ref().is_some_and(is_fitted) {
                    self.layouts[index].fitted_table = Some(table);
                }
                if !self.layouts[index].tables.contains(&table) {
                    self.layouts[index].tables.push(table);
                }
                self.tables[table].parts[part].layouts.push(name);
            }
        }
        for index in 0..self.layouts.len() {
            let layout = &self.layouts[index];
            let mut bounds = nowhere(layout.n_components);
            for of_table in at_once(&layout.tables, |&table| self.bounds(layout, table)) {
                widen(&mut bounds, of_table?);
            }
            self.layouts[index].bounds =
                bounds.into_iter().map(|bound| if bound[0] <= bound[1] { bound } else { [-0.5, 0.5] }).collect();
        }
        Ok(())
    }

    /// Least and largest coordinates of a layout in a table, of points that have all of them.
    fn bounds(&self, layout: &SceneLayout, table: usize) -> Result<Vec<[f32; 2]>, ViewError> {
        let mut bounds = nowhere(layout.n_components);
        for point in self.coordinates(layout, table)?.outer_iter().filter(|point| point.iter().all(|x| x.is_finite())) {
            widen(&mut bounds, point.iter().map(|&x| [x, x]));
        }
        Ok(bounds)
    }

    fn add_columns(&mut self, sources: &[Source]) -> Result<(), ViewError> {
        for source in sources {
            for column in columns_of(&source.info.schema, Scope::Table) {
                self.add_column(column);
            }
        }
        // The same for all rows: `split` and other constants tell nothing within a map.
        let is_constant = |name: &str| !sources.is_empty() && sources.iter().all(|s| s.constants.contains_key(name));
        self.columns.retain(|column| !is_constant(&column.name));
        for dataset in self.datasets.clone() {
            let Some(url) = dataset.foreign_table.filter(|url| sources.iter().all(|s| s.info.url != *url)) else {
                continue;
            };
            // A data set that was moved away has no columns to show.
            let Ok(info) = self.store.info(&url) else { continue };
            for column in columns_of(&info.schema, Scope::Dataset) {
                self.add_column(column);
            }
        }
        self.name_classes()
    }

    fn add_column(&mut self, column: SceneColumn) {
        match self.columns.iter_mut().find(|known| known.name == column.name) {
            None => self.columns.push(column),
            Some(known) if known.kind == column.kind => {
                known.add_classes(column.classes);
                if known.kind == ColumnKind::Number {
                    known.data_type = wider(&known.data_type, &column.data_type);
                }
            }
            Some(_) => {}
        }
    }

    /// Datasets of one name, as of two folders that are called alike, get that of the folder above as well, or a number.
    fn name_datasets(&mut self) {
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

    /// Numbers stand for classes without names.
    fn name_classes(&mut self) -> Result<(), ViewError> {
        for index in 0..self.columns.len() {
            let column = &self.columns[index];
            if column.kind != ColumnKind::Category || !column.classes.is_empty() {
                continue;
            }
            let places: Vec<&Url> = match column.scope {
                Scope::Table => self.tables.iter().flat_map(SceneTable::distinct_parts).map(|part| &part.url).collect(),
                Scope::Dataset => self.datasets.iter().filter_map(|dataset| dataset.foreign_table.as_ref()).collect(),
            };
            let mut classes = BTreeMap::new();
            for url in places {
                let batches = match self.store.scan(url, Scan::columns([&column.name])) {
                    Ok(batches) => batches,
                    // Another has the column.
                    Err(StoreError::Unsupported { .. }) => continue,
                    // A data set that was moved away has no columns to show.
                    Err(StoreError::NotFound { .. }) if column.scope == Scope::Dataset => continue,
                    Err(error) => return Err(error.into()),
                };
                for batch in batches {
                    let values = whole_numbers(batch?.column(0));
                    classes.extend(values.into_iter().flatten().map(|class| (class, class.to_string())));
                }
            }
            self.columns[index].classes = classes;
        }
        Ok(())
    }
}

impl SceneColumn {
    /// Adds names of classes that have none. Of two names for one number the first stays: tables say themselves what
    /// theirs mean, before the table that they describe does.
    fn add_classes(&mut self, classes: BTreeMap<i64, String>) {
        let mut others = Vec::new();
        for (number, name) in classes {
            match self.classes.entry(number) {
                Entry::Vacant(free) => {
                    free.insert(name);
                }
                Entry::Occupied(known) if *known.get() != name => {
                    others.push(format!("{number} is {:?}, and {name:?} elsewhere", known.get()));
                }
                Entry::Occupied(_) => {}
            }
        }
        if let Some(first) = others.first() {
            let (column, n) = (self.name.as_str(), others.len());
            tracing::warn!(column, n, %first, "tables name classes differently; the first name is shown");
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

/// A box that holds no point.
fn nowhere(n_components: usize) -> Vec<[f32; 2]> {
    vec![[f32::INFINITY, f32::NEG_INFINITY]; n_components]
}

/// Makes a box hold another.
fn widen(bounds: &mut [[f32; 2]], other: impl IntoIterator<Item = [f32; 2]>) {
    for (bound, [low, high]) in bounds.iter_mut().zip(other) {
        *bound = [bound[0].min(low), bound[1].max(high)];
    }
}

/// The column that says which samples the rows are of.
fn id_column(source: &Source) -> Option<String> {
    columns_with_role(&source.info.schema, &NumberRole::ExampleId).into_iter().next()
}

impl Source {
    fn epoch(&self) -> Option<i64> {
        self.constants.get("epoch").and_then(Value::as_i64)
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

/// The table that a table was reduced from, as its lineage names it.
fn reduced_from(places: &Places, info: &TableInfo) -> Result<Option<Url>, ViewError> {
    let lineage = info.lineage().filter(|lineage| !lineage.models.is_empty());
    let input = lineage.and_then(|lineage| lineage.inputs.into_iter().next());
    Ok(input.map(|input| places.expanded(&input.url)).transpose()?)
}

/// `train` of `…/train-01J….lance`.
fn name_of(url: &Url) -> String {
    UniqueName::stem_of(url.file_name()).to_owned()
}

fn layout(name: &str, n_components: usize, schema: &Schema, lineage: Option<&Lineage>) -> SceneLayout {
    let operation = lineage.and_then(|lineage| lineage.operation.args.get("columns")?.get(name));
    let reducer = operation.and_then(|column| column.get("reducer")).and_then(Value::as_object);
    let tag = reducer.and_then(|reducer| reducer.get("type")).and_then(Value::as_str).unwrap_or("unknown");
    let mut args = reducer.cloned().unwrap_or_default();
    args.remove("type");
    let ood = format!("{name}_ood");
    let has_ood = schema.field_with_name(&ood).is_ok_and(|field| field.role() == Some(NumberRole::OutOfDistribution));
    SceneLayout {
        name: name.to_owned(),
        n_components,
        method: tag.split('/').next().unwrap_or(tag).to_owned(),
        source: operation.and_then(|column| column.get("source")).and_then(Value::as_str).map(str::to_owned),
        args,
        fitted_table: None,
        tables: Vec::new(),
        bounds: Vec::new(),
        ood_column: has_ood.then_some(ood),
    }
}
