//! Where a table comes from, as a graph: its ancestors, also those that were deleted.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;
use serde_json::Value;
use tlc_core::ulid::Ulid;
use tlc_core::{ColumnLineage, LineageInput, ModelRef, Operation, StoreError, TableInfo, Url};

use crate::inventory::id_of;
use crate::{Deletion, Inventory, Project, RunError};

/// Tables that a graph holds at most: lineage comes from files that anybody may have written.
const MOST_NODES: usize = 10_000;

/// A table and what it was made from, in one step or several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineageGraph {
    /// The table that was asked for first, then the tables that it was made from, nearest first.
    pub nodes: Vec<LineageNode>,
    /// Whether there were more than the 10,000 that are shown.
    pub is_cut: bool,
}

/// A table in a graph of lineage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineageNode {
    /// Where it is, or was.
    pub url: Url,
    /// Its identity, if it has one.
    pub table_id: Option<Ulid>,
    /// Its number of rows.
    pub rows: u64,
    /// Its content digest, if it has one.
    pub digest: Option<String>,
    /// Whether it is there.
    pub state: NodeState,
    /// How it was made; `None` where that is not known.
    pub origin: Option<Origin>,
}

/// Whether a table of a graph is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeState {
    /// It is where lineage says, or the table of this identity was found elsewhere in the project.
    Present,
    /// It was deleted; the log says when, by whom, and what took its place.
    Deleted(Deletion),
    /// Something else is in its place, with this identity.
    Replaced(Option<Ulid>),
    /// It is not there, and nothing says why.
    Missing,
    /// It cannot be read.
    Damaged(String),
    /// It is outside of the project and was not looked at.
    Outside,
}

/// How a table was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// When.
    pub created: jiff::Timestamp,
    /// Program and version.
    pub producer: String,
    /// What was done.
    pub operation: Operation,
    /// The tables that were read, by their numbers in [`LineageGraph::nodes`].
    pub inputs: Vec<usize>,
    /// The fitted models that were applied, by column.
    pub models: BTreeMap<String, ModelRef>,
    /// The input columns of each column.
    pub columns: BTreeMap<String, ColumnLineage>,
}

impl Project {
    /// The table at `url`, relative or absolute, and everything that it was made from.
    ///
    /// A table that was moved within the project, or with it, is found by its identity; a table that was deleted is
    /// explained by the log of deletions. Outside of the project, only what lies below a folder with an alias is opened.
    ///
    /// # Errors
    /// [`RunError::Outside`]; a failing store; [`StoreError::NotFound`] if `url` never was a table that is known of.
    pub fn lineage_graph(&self, url: &Url) -> Result<LineageGraph, RunError> {
        let url = self.readable(url)?;
        let inventory = self.inventory()?;
        let tracer = Tracer::new(self, &inventory, self.deletions()?);
        let version = url.version().unwrap_or(1);
        let wanted = LineageInput { url: url.clone(), version, table_id: None, rows: 0, digest: None };
        let (first, inputs) = tracer.node(&wanted);
        if first.state == NodeState::Missing {
            return Err(StoreError::NotFound { url }.into());
        }
        let mut known = Known::default();
        known.add(&first, 0);
        let mut graph = LineageGraph { nodes: vec![first], is_cut: false };
        let mut waiting = VecDeque::from([(0, inputs)]);
        while let Some((at, inputs)) = waiting.pop_front() {
            for input in inputs {
                let place = self.places().expanded(&input.url).unwrap_or_else(|_| input.url.clone());
                let number = match known.number(&input, &place) {
                    Some(number) => number,
                    // The inputs before it keep their places, by which columns name them.
                    None if graph.nodes.len() >= MOST_NODES => {
                        graph.is_cut = true;
                        break;
                    }
                    None => {
                        let (node, inputs) = tracer.node(&input);
                        let number = graph.nodes.len();
                        known.add(&node, number);
                        graph.nodes.push(node);
                        waiting.push_back((number, inputs));
                        number
                    }
                };
                let origin = graph.nodes[at].origin.as_mut().expect("what has inputs has an origin");
                origin.inputs.push(number);
            }
        }
        Ok(graph)
    }
}

/// The nodes of a graph by what tells them apart: their identity, or their place where one of two has none.
#[derive(Default)]
struct Known {
    by_id: HashMap<Ulid, usize>,
    by_place: HashMap<Url, usize>,
    without_id: HashMap<Url, usize>,
}

impl Known {
    fn add(&mut self, node: &LineageNode, number: usize) {
        match node.table_id {
            Some(id) => self.by_id.entry(id).or_insert(number),
            None => self.without_id.entry(node.url.clone()).or_insert(number),
        };
        self.by_place.entry(node.url.clone()).or_insert(number);
    }

    fn number(&self, input: &LineageInput, place: &Url) -> Option<usize> {
        match input.table_id {
            Some(id) => self.by_id.get(&id).or_else(|| self.without_id.get(place)).copied(),
            None => self.by_place.get(place).copied(),
        }
    }
}

struct Tracer<'a> {
    project: &'a Project,
    inventory: &'a Inventory,
    /// The inventory's tables by place, with their identities: these stand in lineage, which is text to be read.
    tables: HashMap<&'a Url, (&'a TableInfo, Option<Ulid>)>,
    by_id: HashMap<Ulid, &'a TableInfo>,
    deletions: Vec<Deletion>,
}

impl<'a> Tracer<'a> {
    fn new(project: &'a Project, inventory: &'a Inventory, deletions: Vec<Deletion>) -> Self {
        let (mut tables, mut by_id) = (HashMap::new(), HashMap::new());
        for info in &inventory.tables {
            let id = id_of(info);
            tables.insert(&info.url, (info, id));
            if let Some(id) = id {
                by_id.entry(id).or_insert(info);
            }
        }
        Self { project, inventory, tables, by_id, deletions }
    }

    /// What is known of an input, and its own inputs.
    fn node(&self, input: &LineageInput) -> (LineageNode, Vec<LineageInput>) {
        let node = |url: Url, state: NodeState| LineageNode {
            url,
            table_id: input.table_id,
            rows: input.rows,
            digest: input.digest.clone(),
            state,
            origin: None,
        };
        let place = self.project.inside(&input.url);
        let is_it = |id: Option<Ulid>| input.table_id.is_none() || id == input.table_id;
        let here = place.as_ref().ok().and_then(|url| self.tables.get(url)).filter(|(_, id)| is_it(*id));
        let here = here.map(|(info, _)| *info);
        if let Some(info) = here.or_else(|| self.by_id.get(&input.table_id?).copied()) {
            let inputs = info.lineage().map(|lineage| lineage.inputs).unwrap_or_default();
            return (found(info), inputs);
        }
        // The inventory has tables by their places alone, of other programs none in one of several versions.
        let is_versioned = place.as_ref().is_ok_and(|url| url.version().is_some());
        let elsewhere = if place.is_err() || is_versioned { self.project.readable(&input.url).ok() } else { None };
        let state = match (&place, elsewhere) {
            // Of another project, with another root: what that was made from is not followed.
            (_, Some(url)) => match self.project.store().info(&url) {
                Ok(info) if is_it(id_of(&info)) => return (found(&info), Vec::new()),
                Ok(info) => NodeState::Replaced(id_of(&info)),
                Err(StoreError::NotFound { .. }) => NodeState::Missing,
                Err(error) => NodeState::Damaged(error.to_string()),
            },
            (Ok(url), None) => self.state_of_absent(url, input.table_id),
            // It may have been inside before the project was moved.
            (Err(_), None) => self.deletion(None, input.table_id).map_or(NodeState::Outside, NodeState::Deleted),
        };
        (node(place.unwrap_or_else(|_| input.url.clone()), state), Vec::new())
    }

    /// The latest note on a table with this identity; where one of them has none, on what was at this place.
    fn deletion(&self, url: Option<&Url>, id: Option<Ulid>) -> Option<Deletion> {
        let stored = url.map(|url| url.relative_to(self.project.root()));
        let is_it = |deletion: &&Deletion| match (id, deletion.table_id) {
            (Some(wanted), Some(deleted)) => wanted == deleted,
            _ => stored.as_ref() == Some(&deletion.url),
        };
        self.deletions.iter().rev().find(is_it).cloned()
    }

    fn state_of_absent(&self, url: &Url, id: Option<Ulid>) -> NodeState {
        if let Some(deletion) = self.deletion(Some(url), id) {
            return NodeState::Deleted(deletion);
        }
        if let Some((_, error)) = self.inventory.damaged_tables.iter().find(|(damaged, _)| damaged == url) {
            return NodeState::Damaged(error.to_string());
        }
        match self.tables.get(url) {
            Some((_, id)) => NodeState::Replaced(*id),
            None => NodeState::Missing,
        }
    }
}

/// The node of a table that is there.
fn found(info: &TableInfo) -> LineageNode {
    let lineage = info.lineage();
    LineageNode {
        url: info.url.clone(),
        table_id: lineage.as_ref().map(|lineage| lineage.table_id),
        rows: info.rows,
        digest: info.digest.clone(),
        state: NodeState::Present,
        origin: lineage.map(|lineage| Origin {
            created: lineage.created,
            producer: lineage.producer,
            operation: lineage.operation,
            inputs: Vec::new(),
            models: lineage.models,
            columns: lineage.columns,
        }),
    }
}

impl LineageGraph {
    /// The graph as indented text: each table below what was made from it, in full once.
    pub fn to_text(&self, root: &Url) -> String {
        let mut text = String::new();
        let mut shown = vec![false; self.nodes.len()];
        // Not by recursion: a file says how deep it is.
        let mut waiting = vec![(0, 0)];
        while let Some((number, depth)) = waiting.pop() {
            let is_again = std::mem::replace(&mut shown[number], true);
            self.write_node(number, depth, is_again, root, &mut text);
            if let Some(origin) = self.nodes[number].origin.as_ref().filter(|_| !is_again) {
                waiting.extend(origin.inputs.iter().rev().map(|&input| (input, depth + 2)));
            }
        }
        if self.is_cut {
            text += "… more than 10000 tables\n";
        }
        text
    }

    fn write_node(&self, number: usize, depth: usize, again: bool, root: &Url, text: &mut String) {
        let node = &self.nodes[number];
        let indent = "  ".repeat(depth.min(40));
        let note = match &node.state {
            NodeState::Present if again => " (above)".to_owned(),
            NodeState::Present => format!(" ({} rows)", node.rows),
            NodeState::Deleted(deletion) => {
                let by: Vec<String> = deletion.replaced_by.iter().map(Url::to_string).collect();
                let by = if by.is_empty() { String::new() } else { format!(", replaced by {}", by.join(", ")) };
                format!(" (deleted {:.0} by {}{by})", deletion.deleted, deletion.by)
            }
            NodeState::Replaced(_) => " (another table is in its place)".to_owned(),
            NodeState::Missing => " (not there)".to_owned(),
            NodeState::Damaged(reason) => format!(" (damaged: {reason})"),
            NodeState::Outside => " (outside of the project)".to_owned(),
        };
        *text += &format!("{indent}{}{note}\n", node.url.relative_to(root));
        let Some(origin) = node.origin.as_ref().filter(|_| !again) else { return };
        let kind = &origin.operation.kind;
        let models: Vec<String> =
            origin.models.iter().map(|(column, model)| format!("{column} by {}", model.url)).collect();
        let models = if models.is_empty() { String::new() } else { format!(": {}", models.join(", ")) };
        *text += &format!("{indent}  {kind} {:.0} by {}{models}\n", origin.created, origin.producer);
    }

    /// The graph in Graphviz' language.
    pub fn to_dot(&self, root: &Url) -> String {
        // JSON's escapes are Graphviz' too.
        let quoted = |text: String| Value::from(text).to_string();
        let mut text = "digraph lineage {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for (number, node) in self.nodes.iter().enumerate() {
            let style = if node.state == NodeState::Present { "solid" } else { "dashed" };
            let label = quoted(node.url.relative_to(root).to_string());
            text += &format!("  t{number} [label={label}, style={style}];\n");
        }
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(origin) = &node.origin {
                let label = quoted(origin.operation.kind.clone());
                for input in &origin.inputs {
                    text += &format!("  t{input} -> t{number} [label={label}];\n");
                }
            }
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use arrow_schema::{DataType, Field, Schema};
    use tlc_core::Lineage;
    use tlc_table::MemoryStore;

    use super::*;

    fn project() -> Project {
        Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"))
    }

    fn place(project: &Project, name: &str) -> Url {
        project.root().join(&format!("datasets/{name}.lance")).expect("plain")
    }

    /// A table of no rows that says it was made of these, by places in the project and identities.
    fn table(project: &Project, name: &str, id: Ulid, inputs: &[(String, Ulid)]) -> Url {
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        lineage.table_id = id;
        lineage.inputs = inputs
            .iter()
            .map(|(place, id)| {
                let url = format!("datasets/{place}.lance").parse().expect("a URL");
                LineageInput { url, version: 1, table_id: Some(*id), rows: 1, digest: None }
            })
            .collect();
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let url = place(project, name);
        let schema = Arc::new(lineage.write_into(&schema));
        project.store().create(&url, schema, Box::new(std::iter::empty())).expect("new");
        url
    }

    #[test]
    fn thousands_of_inputs_with_identities_end_soon_and_at_the_limit() {
        let project = project();
        let inputs: Vec<(String, Ulid)> = (1..=10_000).map(|i| (format!("x{i}"), Ulid(i))).collect();
        let wide = table(&project, "wide", Ulid(1 << 64), &inputs);
        let started = Instant::now();
        let graph = project.lineage_graph(&wide).expect("it ends");
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        assert_eq!((graph.nodes.len(), graph.is_cut), (MOST_NODES, true));
        assert_eq!(graph.nodes[0].origin.as_ref().map(|origin| origin.inputs.len()), Some(MOST_NODES - 1));
        assert!(graph.to_text(project.root()).ends_with("more than 10000 tables\n"));
    }

    #[test]
    fn a_chain_of_thousands_is_followed_and_told_to_its_end() {
        let project = project();
        let n = MOST_NODES as u128;
        for i in 0..n {
            let from = (i > 0).then(|| (format!("t{}", i - 1), Ulid(i)));
            table(&project, &format!("t{i}"), Ulid(i + 1), from.as_slice());
        }
        let graph = project.lineage_graph(&place(&project, &format!("t{}", n - 1))).expect("it ends");
        assert_eq!((graph.nodes.len(), graph.is_cut), (MOST_NODES, false));
        let text = graph.to_text(project.root());
        assert_eq!(text.lines().count(), 2 * MOST_NODES, "a table and how it was made");
        assert!(
            text.lines().nth_back(1).is_some_and(|line| line.trim() == "datasets/t0.lance (0 rows)"),
            "{text:.200}"
        );
    }
}
