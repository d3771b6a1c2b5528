//! What there is to see, as the page reads it first.

use serde_json::{Value, json};
use tlc_core::NumberRole;

use crate::find::Finder;
use crate::{ColumnKind, Scene, SceneColumn, SceneLayout, Scope};

/// The manifest of a scene; `runs` are those one can switch to, `job` is the work that is under way and `reduce` what can
/// be reduced, if the reader can ask for it.
pub(crate) fn manifest(scene: &Scene, runs: &[String], job: Value, reduce: Value) -> Value {
    let datasets = scene.datasets.iter().enumerate().map(|(id, dataset)| {
        json!({
            "id": id, "name": dataset.name, "rows": dataset.example_ids.len(),
            "images": dataset.image_column.is_some(), "text": dataset.text_column.is_some(),
        })
    });
    let tables = scene.tables.iter().enumerate().map(|(id, table)| {
        json!({
            "id": id, "dataset": table.dataset, "epoch": table.epoch, "name": table.name, "rows": table.rows,
            "urls": scene.named_urls(table).map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let finders = Finder::available(scene).into_iter().map(|finder| {
        json!({
            "id": finder.id(), "title": finder.title(), "rule": finder.rule(), "needs_epochs": finder.needs_epochs(),
        })
    });
    json!({
        "format": "tlc-view/1",
        "title": scene.title,
        "kind": if scene.run.is_some() { "run" } else { "table" },
        "run": scene.run,
        "runs": runs,
        "status": scene.status,
        "datasets": datasets.collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "layouts": scene.layouts.iter().enumerate().map(|(id, layout)| layout_json(id, layout)).collect::<Vec<_>>(),
        "columns": scene.columns.iter().map(column_json).collect::<Vec<_>>(),
        "finders": finders.collect::<Vec<_>>(),
        "layout": scene.default_layout(),
        "job": job,
        "reduce": reduce,
        "message": message(scene),
        "notice": notice(scene),
    })
}

/// The manifest of what is not there yet.
pub(crate) fn waiting(title: &str, job: Value) -> Value {
    let message = match job["state"].as_str() {
        Some("failed") => json!({ "title": format!("{title} cannot be shown"), "advice": job["error"] }),
        Some("cancelled") => json!({
            "title": format!("Reading {title} was stopped"), "advice": "Start tlc view again to read it.",
        }),
        _ => {
            json!({ "title": format!("Reading {title}"), "advice": "The map appears here when it is read and reduced." })
        }
    };
    let none: [Value; 0] = [];
    json!({
        "format": "tlc-view/1", "title": title, "kind": "table", "run": null, "runs": none, "status": null,
        "datasets": none, "tables": none, "layouts": none, "columns": none, "finders": none,
        "layout": null, "job": job, "reduce": null, "message": message, "notice": null,
    })
}

fn layout_json(id: usize, layout: &SceneLayout) -> Value {
    json!({
        "id": id, "name": layout.name, "dims": layout.n_components, "method": layout.method, "source": layout.source,
        "args": layout.args, "fitted_table": layout.fitted_table, "tables": layout.tables,
        "min": layout.bounds.iter().map(|[low, _]| low).collect::<Vec<_>>(),
        "max": layout.bounds.iter().map(|[_, high]| high).collect::<Vec<_>>(),
        "ood": layout.ood_column.is_some(),
    })
}

fn column_json(column: &SceneColumn) -> Value {
    let classes = (column.kind == ColumnKind::Category).then(|| column.classes.values().collect::<Vec<_>>());
    json!({
        "name": column.name,
        "kind": column.kind,
        "role": column.role.as_ref().map(NumberRole::to_string),
        "classes": classes,
        "per": if column.scope == Scope::Table { "table" } else { "dataset" },
    })
}

/// Why there is no map, if there is none.
fn message(scene: &Scene) -> Option<Value> {
    if !scene.layouts.is_empty() {
        return None;
    }
    let name = scene.run.as_deref().unwrap_or("RUN");
    let project = scene.root().and_then(|root| root.to_path()).map(|path| path.display().to_string());
    let project = project.unwrap_or_else(|| "PROJECT".to_owned());
    Some(if scene.tables.is_empty() {
        json!({
            "title": "No tables yet",
            "advice": "The run has not written any metrics table; this page looks again every few seconds while it runs.",
        })
    } else {
        json!({
            "title": "No layout yet",
            "advice": format!("The tables have no reduced column of 2 or 3 components. Reduce them: tlc reduce {name} --project {project}"),
        })
    })
}

/// Reasons that a notice gives.
const NAMED: usize = 3;

/// What is missing beside what is shown, if something is.
fn notice(scene: &Scene) -> Option<Value> {
    let n = scene.left_out.len();
    let title = match n {
        0 => return None,
        1 => "A table is left out, since it cannot be read".to_owned(),
        _ => format!("{n} tables are left out, since they cannot be read"),
    };
    let reasons: Vec<&str> = scene.left_out.iter().take(NAMED).map(|table| table.reason.as_str()).collect();
    let more = if n > NAMED { format!(" and {} more", n - NAMED) } else { String::new() };
    let advice = format!("{}{more}. Read the list again, or let tlc doctor look.", reasons.join("; "));
    Some(json!({ "title": title, "advice": advice }))
}
