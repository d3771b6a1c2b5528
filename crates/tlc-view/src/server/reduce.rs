//! What the page's "reduce" does: new tables beside those that are shown, which stay.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tlc_core::{PluginKind, Progress, Url, plugins, reducer_from_args};
use tlc_run::{Project, ReduceOptions, Run, reduce_embeddings};

use super::jobs::Failure;
use crate::Scene;

/// What is asked for.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Request {
    /// The method's short name.
    method: String,
    /// Coordinates per sample.
    #[serde(default = "two")]
    n_components: u8,
    /// The columns to reduce; all embeddings if there are none.
    columns: Option<Vec<String>>,
}

fn two() -> u8 {
    2
}

impl Request {
    fn options(&self) -> Result<ReduceOptions, Failure> {
        if !(2..=3).contains(&self.n_components) {
            return Err(format!("n_components is {}; 2 or 3 can be shown", self.n_components).into());
        }
        let args = Map::from_iter([("n_components".to_owned(), json!(self.n_components))]);
        let mut options = ReduceOptions::new([reducer_from_args(&self.method, args)?]);
        options.source_embedding_columns = self.columns.clone();
        options.delete_source_tables = Some(false);
        Ok(options)
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

/// The reduced table of one.
pub(super) fn table(project: &Project, url: &Url, request: &Request, progress: &Progress) -> Result<Url, Failure> {
    Ok(reduce_embeddings(project, url, &request.options()?, progress)?)
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
