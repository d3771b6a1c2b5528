//! What the page's "reduce" does: new tables beside those that are shown, which stay.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tlc_core::{NumberRole, PluginKind, Progress, Url, columns_with_role, plugins, reducer_from_args};
use tlc_run::{Project, ReduceOptions, Run, reduce_embeddings};

use super::jobs::Failure;
use crate::Scene;

/// What is asked for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    /// The method's short name.
    method: String,
    /// Coordinates per sample, 2 or 3; two if neither this nor the arguments tell.
    n_components: Option<u8>,
    /// Other arguments of the method; defaults for those that are missing.
    #[serde(default)]
    args: Map<String, Value>,
    /// The columns to reduce; all embeddings if there are none.
    columns: Option<Vec<String>>,
}

impl Request {
    fn options(&self) -> Result<ReduceOptions, Failure> {
        let mut args = self.args.clone();
        if let Some(n) = self.n_components {
            args.insert("n_components".to_owned(), n.into());
        }
        args.entry("n_components").or_insert_with(|| 2.into());
        let reducer = reducer_from_args(&self.method, args)?;
        if !(2..=3).contains(&reducer.n_components()) {
            return Err(format!("n_components is {}; 2 or 3 can be shown", reducer.n_components()).into());
        }
        let mut options = ReduceOptions::new([reducer]);
        options.source_embedding_columns = self.columns.clone();
        options.delete_source_tables = Some(false);
        Ok(options)
    }

    /// The first of its columns that is none of `embeddings`.
    pub(super) fn unknown_column(&self, embeddings: &[String]) -> Option<&String> {
        self.columns.iter().flatten().find(|column| !embeddings.contains(column))
    }

    /// Whether it can be done at all, before it is begun.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.options().map(|_| ())
    }
}

/// One model for all tables of a run, so that its datasets lie in one map: fitted on the first dataset's newest table.
/// Tables that do not say whose rows they describe are left alone.
pub(super) fn run(run: &Run, request: &Request, progress: &Progress) -> Result<(), Failure> {
    let options = request.options()?;
    let Some(foreign_table) = run.metrics()?.into_iter().find_map(|entry| entry.foreign_table) else {
        return Err("no table of the run says which table its rows describe, so that none can be fitted on".into());
    };
    run.reduce_embeddings_by_foreign_table_url(&foreign_table, &options, progress)?;
    Ok(())
}

/// A reduced table beside the one at `url`.
pub(super) fn table(project: &Project, url: &Url, request: &Request, progress: &Progress) -> Result<(), Failure> {
    reduce_embeddings(project, url, &request.options()?, progress)?;
    Ok(())
}

/// The table to reduce where the one at `url` is shown with its reductions: it, or what it was reduced from and was kept.
pub(super) fn source(scene: &Scene, url: &Url) -> Url {
    let shown = scene.tables.iter().flat_map(|table| &table.parts).find(|part| part.url == *url);
    let kept = shown.and_then(|part| part.reduced_from.clone());
    kept.filter(|kept| has_embeddings(scene, kept)).unwrap_or_else(|| url.clone())
}

fn has_embeddings(scene: &Scene, url: &Url) -> bool {
    let info = scene.store().info(url);
    info.is_ok_and(|info| !columns_with_role(&info.schema, &NumberRole::NnEmbedding).is_empty())
}

/// What the page can offer; `null` if nothing is left to reduce.
pub(super) fn offer(scene: &Scene) -> Value {
    if scene.embedding_columns.is_empty() {
        return Value::Null;
    }
    let mut methods: Vec<&str> = plugins()
        .into_iter()
        .filter(|plugin| plugin.kind == PluginKind::Reducer)
        .filter_map(|plugin| plugin.tag.split('/').next())
        .collect();
    // The one that suits most data first.
    methods.sort_by_key(|method| (*method != "pacmap", *method));
    methods.dedup();
    json!({ "columns": scene.embedding_columns, "methods": methods })
}
