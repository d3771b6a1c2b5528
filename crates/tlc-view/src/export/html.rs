//! The page and its data as one file that opens from disk, without a server and without a network.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tlc_core::Progress;

use crate::find::{Finder, find};
use crate::pictures::sheet;
use crate::server::assets::{INDEX, SCRIPT, STYLE};
use crate::server::{encode, manifest, numbers, quality, ranges};
use crate::{Scene, Scope, ViewError};

/// Samples of a list; more are not looked at one by one.
const MAX_FOUND: usize = 200;

/// What is put into the file besides maps and columns.
#[derive(Debug, Clone)]
pub struct HtmlOptions {
    /// Pictures of samples per dataset, at most: those that finders list, and others at even steps. Default 1,000.
    pub images: usize,
}

impl Default for HtmlOptions {
    fn default() -> Self {
        Self { images: 1000 }
    }
}

/// The page of a scene with all that it asks a server for: layouts, columns, lists of samples, numbers, pictures.
/// About 8 bytes per sample, table and layout, and as many per column that differs between tables, a third more as text.
///
/// # Errors
/// A table that is gone; a failing store; cancellation.
pub fn html(scene: &Scene, options: &HtmlOptions, progress: &Progress) -> Result<String, ViewError> {
    let mut manifest = manifest::manifest(scene, &[], Value::Null, Value::Null);
    // A file does not change any more.
    manifest["status"] = Value::Null;
    let mut files = Map::new();
    let shown: BTreeSet<usize> = scene.layouts.iter().flat_map(|layout| layout.tables.iter().copied()).collect();
    let n_pieces =
        scene.layouts.iter().map(|layout| layout.tables.len()).sum::<usize>() + scene.columns.len() * shown.len();
    let task = progress.task("maps and columns", n_pieces as u64);
    for (id, layout) in scene.layouts.iter().enumerate() {
        for &table in &layout.tables {
            let bytes = encode::coordinates(scene, layout, table)?;
            files.insert(format!("coords?layout={id}&table={table}"), BASE64.encode(bytes).into());
            task.advance(1)?;
        }
    }
    for column in &scene.columns {
        let name = escaped(&column.name);
        let mut seen = BTreeSet::new();
        for &table in &shown {
            task.advance(1)?;
            // The same for all tables of a dataset: the page takes any.
            if column.scope == Scope::Dataset && !seen.insert(scene.tables[table].dataset) {
                continue;
            }
            let bytes = encode::values(scene, column, table)?;
            files.insert(format!("column?name={name}&table={table}"), BASE64.encode(bytes).into());
        }
    }
    for dataset in 0..scene.datasets.len() {
        files.insert(format!("ids?dataset={dataset}"), BASE64.encode(encode::example_ids(scene, dataset)?).into());
    }
    let mut found_slots = vec![BTreeSet::new(); scene.datasets.len()];
    for finder in Finder::available(scene) {
        for (id, layout) in scene.layouts.iter().enumerate() {
            for (dataset, found_slots) in found_slots.iter_mut().enumerate() {
                let Some(table) = scene.newest_table(layout, Some(dataset)) else { continue };
                let found = find(scene, finder, layout, table, MAX_FOUND, progress)?;
                found_slots.extend(found.rows.iter().map(|row| row.slot));
                files.insert(format!("find/{}?layout={id}&table={table}", finder.id()), json!(found));
            }
        }
    }
    files.insert("ranges".to_owned(), json!(ranges::ranges(scene, progress)?));
    files.insert("numbers".to_owned(), numbers::numbers(scene, progress)?);
    for (id, layout) in scene.layouts.iter().enumerate() {
        for table in (0..scene.datasets.len()).filter_map(|dataset| scene.newest_table(layout, Some(dataset))) {
            let report = quality::quality(scene, id, table, progress)?;
            files.insert(format!("quality?layout={id}&table={table}"), report);
        }
    }
    let mut thumbs = Map::new();
    for (id, dataset) in scene.datasets.iter().enumerate().filter(|(_, dataset)| dataset.image_column.is_some()) {
        let slots = chosen(&found_slots[id], dataset.example_ids.len(), options.images);
        let ids = slots.iter().map(|&slot| dataset.example_ids[slot]).collect();
        if let Some(sheet) = sheet(scene, &[(dataset, ids)], progress)? {
            let png = format!("data:image/png;base64,{}", BASE64.encode(&sheet.png));
            thumbs.insert(
                id.to_string(),
                json!({ "size": sheet.side, "per_row": sheet.per_row, "png": png, "slots": slots }),
            );
        }
    }
    Ok(page(&json!({ "manifest": manifest, "files": files, "thumbs": thumbs })))
}

/// Slots to show pictures of, ascending: those that were found, and as many others as may be.
fn chosen(found: &BTreeSet<usize>, n_slots: usize, limit: usize) -> Vec<usize> {
    let limit = limit.min(n_slots);
    let mut chosen: BTreeSet<usize> = found.iter().copied().take(limit).collect();
    let n_others = limit - chosen.len();
    let step = n_slots.checked_div(n_others).unwrap_or(n_slots).max(1);
    let evenly = (0..n_slots).step_by(step).chain(0..n_slots);
    for slot in evenly {
        if chosen.len() == limit {
            break;
        }
        chosen.insert(slot);
    }
    chosen.into_iter().collect()
}

/// As a query has it.
fn escaped(text: &str) -> String {
    let byte = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
            char::from(*byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.as_bytes().iter().map(byte).collect()
}

/// One file of the page's three and the data, which may load nothing and run nothing else.
fn page(data: &Value) -> String {
    // Neither ends the element that it is in.
    let data = data.to_string().replace('<', "\\u003c");
    let script = SCRIPT.replace("</script", "<\\/script");
    let style = STYLE.replace("</style", "<\\/style");
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data: blob:; worker-src blob:; base-uri 'none'; \
         form-action 'none'",
        hash(&script),
        hash(&style)
    );
    let meta = format!("<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">");
    INDEX
        .replacen("<meta charset=\"utf-8\">", &meta, 1)
        .replacen("<link rel=\"stylesheet\" href=\"app.css\">", &format!("<style>{style}</style>"), 1)
        .replacen(
            "<script src=\"app.js\"></script>",
            &format!("<script type=\"application/json\" id=\"tlc-data\">{data}</script>\n<script>{script}</script>"),
            1,
        )
}
