//! What there is to see, as the page reads it first.

use serde_json::{Value, json};
use tlc_core::{NumberRole, UniqueName, Url};

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
        "message": message(scene, !reduce.is_null()),
        "reduce": reduce,
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

/// Why there is no map, if there is none, and what to do; `offers_reduction` if the page does.
fn message(scene: &Scene, offers_reduction: bool) -> Option<Value> {
    if !scene.layouts.is_empty() {
        return None;
    }
    if let (true, Some((title, advice))) = (scene.tables.is_empty(), gone(scene)) {
        return Some(json!({ "title": title, "advice": advice }));
    }
    if scene.tables.is_empty() {
        return Some(json!({
            "title": "No tables yet",
            "advice": "The run has not written any metrics table; this page looks again every few seconds while it runs.",
        }));
    }
    let have = if scene.run.is_some() { "The tables have" } else { "The table has" };
    let advice = if scene.embedding_columns.is_empty() {
        let needed = if scene.run.is_some() {
            "collect embeddings of a layer, with tlc collect or an EmbeddingsMetricsCollector"
        } else {
            "make a table that has one (Column::embedding), or look at the file that it is of: tlc view FILE finds vectors"
        };
        format!(
            "{have} no reduced column of 2 or 3 components, and no column of embeddings to reduce: a list of as many \
             numbers in each row, with the role nn_embedding. To get one, {needed}."
        )
    } else {
        let how = match (offers_reduction, &scene.run) {
            (true, _) => "Choose a method, and reduce them here.".to_owned(),
            (false, Some(run)) => format!("Reduce them: tlc reduce {}{}", quoted(run), project_option(scene)),
            (false, None) => {
                let url = scene.named_urls(&scene.tables[0]).next().map(Url::to_string).unwrap_or_default();
                format!("Reduce them on its page: tlc view {}", quoted(&url))
            }
        };
        format!(
            "{have} no reduced column of 2 or 3 components, but embeddings: {}. {how}",
            scene.embedding_columns.join(", ")
        )
    };
    Some(json!({ "title": "No layout yet", "advice": advice }))
}

/// ` --project FOLDER` of the scene's project, where it is known.
fn project_option(scene: &Scene) -> String {
    let place =
        scene.root().map(|root| root.to_path().map_or_else(|| root.to_string(), |path| path.display().to_string()));
    place.map(|place| format!(" --project {}", quoted(&place))).unwrap_or_default()
}

/// A word of a command as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Reasons that a notice gives.
const NAMED: usize = 3;

/// What there is to say of tables that are not at their places any more.
fn gone(scene: &Scene) -> Option<(String, String)> {
    let n = scene.gone.len();
    let title = match n {
        0 => return None,
        1 => "A table of the run is gone".to_owned(),
        _ => format!("{n} tables of the run are gone"),
    };
    let more = if n > NAMED { format!(" and {} more", n - NAMED) } else { String::new() };
    let names: Vec<&str> = scene.gone.iter().take(NAMED).map(|url| UniqueName::stem_of(url.file_name())).collect();
    let names = names.join(", ");
    let advice = format!(
        "Its record names {names}{more}, deleted or moved meanwhile. Bring them back and read the list again, or let tlc \
         doctor look."
    );
    Some((title, advice))
}

/// What is missing beside what is shown, if something is.
fn notice(scene: &Scene) -> Option<Value> {
    let n = scene.left_out.len();
    let title = match n {
        0 => return gone(scene).map(|(title, advice)| json!({ "title": title, "advice": advice })),
        1 => "A table is left out, since it cannot be read".to_owned(),
        _ => format!("{n} tables are left out, since they cannot be read"),
    };
    let reasons: Vec<&str> = scene.left_out.iter().take(NAMED).map(|table| table.reason.as_str()).collect();
    let more = if n > NAMED { format!(" and {} more", n - NAMED) } else { String::new() };
    let advice = format!("{}{more}. Read the list again, or let tlc doctor look.", reasons.join("; "));
    Some(json!({ "title": title, "advice": advice }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_commands_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, expected) in [
            ("demo-2", "demo-2"),
            ("/data/my project", "'/data/my project'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn advice_is_of_what_can_be_done() {
        let advice = |scene: &Scene, offers| message(scene, offers).expect("no map")["advice"].to_string();
        let run = crate::scene::tests::run();
        crate::scene::tests::collect(&run, "train", None, 0..3);
        let mut scene = Scene::of_run(run.project(), &run).expect("readable");
        assert!(advice(&scene, true).contains("embeddings_1. Choose a method"), "{}", advice(&scene, true));
        let typed = advice(&scene, false);
        assert!(typed.contains("tlc reduce r --project memory://test/project"), "{typed}");
        let url = run.metrics().expect("readable")[0].url.clone();
        let table = Scene::of_table(run.project(), &url).expect("readable");
        let typed = advice(&table, false);
        assert!(typed.contains(&format!("tlc view {url}")) && !typed.contains("tlc reduce"), "{typed}");
        scene.embedding_columns.clear();
        let lacking = advice(&scene, false);
        assert!(lacking.contains("role nn_embedding") && lacking.contains("tlc collect"), "{lacking}");
    }
}
