//! What the page asks for. Every answer is read from the tables when it is asked for; nothing is kept but scenes and the
//! state of work.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as OfRouter;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tlc_core::with_causes;

use super::assets::{compressed, takes_gzip};
use super::blocking::{Which, blocking, kept_in_turn, with_scene, with_scene_in_turn};
use super::errors::Refused;
use super::extract::{Asked, Named, Sent};
use super::scenes::Shown;
use super::{Source, State, encode, manifest, numbers, quality, ranges, reduce};
use crate::export::{self, Format};
use crate::find::{self, Finder, nearest, why_no_embeddings};
use crate::{Scene, SceneLayout, ViewError, pictures};

const ARROW: &str = "application/vnd.apache.arrow.stream";
/// Compressing less than this gains nothing; of more, so many bytes in the middle tell whether it gains a quarter.
const WORTH_COMPRESSING: usize = 16 << 10;
/// Samples that a list holds at most.
const MAX_FOUND: usize = 10_000;

type Answer = Result<Response, Refused>;
type Shared = OfRouter<Arc<State>>;

#[derive(Deserialize)]
pub(super) struct OfRun {
    run: Option<String>,
    v: Option<String>,
}

impl OfRun {
    fn scene(&self) -> Which {
        Which { run: self.run.clone(), version: self.v.clone() }
    }
}

#[derive(Deserialize)]
pub(super) struct OfTable {
    run: Option<String>,
    v: Option<String>,
    layout: Option<usize>,
    table: Option<usize>,
    dataset: Option<usize>,
    name: Option<String>,
    limit: Option<usize>,
}

impl OfTable {
    fn scene(&self) -> Which {
        Which { run: self.run.clone(), version: self.v.clone() }
    }
}

fn layout(scene: &Scene, index: Option<usize>) -> Result<&SceneLayout, ViewError> {
    let index = index.or_else(|| scene.default_layout()).unwrap_or(0);
    scene.layouts.get(index).ok_or_else(|| ViewError::Unknown {
        what: "layout",
        name: index.to_string(),
        known: format!("{} of them", scene.layouts.len()),
    })
}

/// Whether compressing gains something: classes and flags shrink, measured numbers hardly do.
fn is_worth_compressing(content: &[u8]) -> bool {
    let sample = &content[content.len() / 2..];
    let sample = &sample[..sample.len().min(WORTH_COMPRESSING)];
    content.len() > WORTH_COMPRESSING && 4 * compressed(sample).len() < 3 * sample.len()
}

fn bytes(kind: &'static str, headers: &HeaderMap, content: Vec<u8>) -> Response {
    let compress = takes_gzip(headers) && is_worth_compressing(&content);
    let content = if compress { compressed(&content) } else { content };
    let mut response = Response::new(Body::from(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if compress {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(super) async fn manifest(OfRouter(state): Shared, Asked(query): Asked<OfRun>) -> Answer {
    let manifest = blocking(move || {
        let job = state.jobs.to_json();
        match state.scenes.look_again(query.run.as_deref()) {
            Err(ViewError::NotReady { title }) => Ok(manifest::waiting(&title, job)),
            scene => {
                let scene = scene?;
                let offer = reduce::offer(&scene);
                let mut manifest = manifest::manifest(&scene, &state.scenes.runs(), job, offer);
                manifest["version"] = scene.version().into();
                Ok(manifest)
            }
        }
    });
    Ok(Json(manifest.await?).into_response())
}

pub(super) async fn coords(OfRouter(state): Shared, Asked(query): Asked<OfTable>) -> Answer {
    let content = with_scene(state, query.scene(), move |_, scene| {
        encode::coordinates(scene, layout(scene, query.layout)?, query.table.unwrap_or(0))
    });
    // Places are nearly random numbers: compressing them gains little.
    Ok(bytes(ARROW, &HeaderMap::new(), content.await?))
}

pub(super) async fn column(OfRouter(state): Shared, headers: HeaderMap, Asked(query): Asked<OfTable>) -> Answer {
    let content = with_scene(state, query.scene(), move |_, scene| {
        encode::values(scene, scene.column(query.name.as_deref().unwrap_or_default())?, query.table.unwrap_or(0))
    });
    Ok(bytes(ARROW, &headers, content.await?))
}

pub(super) async fn ids(OfRouter(state): Shared, headers: HeaderMap, Asked(query): Asked<OfTable>) -> Answer {
    let content =
        with_scene(state, query.scene(), move |_, scene| encode::example_ids(scene, query.dataset.unwrap_or(0)));
    Ok(bytes(ARROW, &headers, content.await?))
}

pub(super) async fn ranges(OfRouter(state): Shared, Asked(query): Asked<OfRun>) -> Answer {
    let ranges = kept_in_turn(state, query.scene(), Shown::ranges, ranges::ranges);
    Ok(Json(ranges.await?.as_ref()).into_response())
}

pub(super) async fn thumb(
    OfRouter(state): Shared,
    Named((dataset, example_id)): Named<(usize, i64)>,
    Asked(query): Asked<OfRun>,
) -> Answer {
    let is_versioned = query.v.is_some();
    let picture = with_scene(state, query.scene(), move |_, scene| match scene.datasets.get(dataset) {
        Some(dataset) => pictures::png(scene, dataset, example_id),
        None => Ok(None),
    });
    match picture.await? {
        Some(png) => {
            let mut response = bytes("image/png", &HeaderMap::new(), png);
            // Only the version says of which table it is.
            if is_versioned {
                let kept = HeaderValue::from_static("private, max-age=3600");
                response.headers_mut().insert(header::CACHE_CONTROL, kept);
            }
            Ok(response)
        }
        None => Err(Refused::new(StatusCode::NOT_FOUND, "this sample has no picture that can be shown", "")),
    }
}

pub(super) async fn sample(
    OfRouter(state): Shared,
    Named((dataset, example_id)): Named<(usize, i64)>,
    Asked(query): Asked<OfTable>,
) -> Answer {
    let sample =
        with_scene(state, query.scene(), move |_, scene| scene.sample(dataset, example_id, query.table)).await?;
    Ok(Json(json!({ "values": sample.values, "text": sample.text, "file": sample.file })).into_response())
}

#[derive(Deserialize)]
pub(super) struct KnnRequest {
    layout: usize,
    table: usize,
    example_id: i64,
    k: usize,
    space: String,
}

pub(super) async fn knn(
    OfRouter(state): Shared,
    Asked(query): Asked<OfRun>,
    Sent(request): Sent<KnnRequest>,
) -> Answer {
    let found = with_scene_in_turn(state, query.scene(), move |scene, progress| {
        let layout = layout(scene, Some(request.layout))?;
        let wants_embeddings = request.space == "embedding";
        let k = request.k.min(MAX_FOUND);
        let found = nearest(scene, layout, request.table, request.example_id, k, wants_embeddings, progress)?;
        let note = match &found.neighbours {
            None => Some("This sample has no place in this table.".to_owned()),
            Some(_) if wants_embeddings && !found.is_embedding => {
                Some(format!("{}; these are neighbours in the map.", why_no_embeddings(layout)))
            }
            Some(_) => None,
        };
        let neighbours = found.neighbours.unwrap_or_default();
        let neighbours: Vec<Value> =
            neighbours.iter().map(|(distance, id)| json!({ "example_id": id, "distance": distance })).collect();
        let name = if found.is_embedding { "embedding" } else { "map" };
        Ok(json!({ "space": name, "note": note, "neighbours": neighbours }))
    });
    Ok(Json(found.await?).into_response())
}

pub(super) async fn find(
    OfRouter(state): Shared,
    Named(finder): Named<String>,
    Asked(query): Asked<OfTable>,
) -> Answer {
    let found = with_scene_in_turn(state, query.scene(), move |scene, progress| {
        let limit = query.limit.unwrap_or(100).min(MAX_FOUND);
        let layout = layout(scene, query.layout)?;
        let table = query.table.or_else(|| scene.newest_table(layout, None)).unwrap_or(0);
        find::find(scene, Finder::named(&finder)?, layout, table, limit, progress)
    });
    Ok(Json(found.await?).into_response())
}

pub(super) async fn numbers(OfRouter(state): Shared, Asked(query): Asked<OfRun>) -> Answer {
    let numbers = kept_in_turn(state, query.scene(), Shown::numbers, numbers::numbers);
    Ok(Json(numbers.await?.as_ref()).into_response())
}

#[derive(Deserialize)]
pub(super) struct ExportRequest {
    table: usize,
    layout: Option<usize>,
    example_ids: Vec<i64>,
    format: Format,
}

pub(super) async fn export(
    OfRouter(state): Shared,
    Asked(query): Asked<OfRun>,
    Sent(request): Sent<ExportRequest>,
) -> Answer {
    let format = request.format;
    let content = with_scene_in_turn(state, query.scene(), move |scene, _| {
        let layout = request.layout.map(|index| layout(scene, Some(index))).transpose()?;
        let rows = export::rows(scene, request.table, layout, Some(&request.example_ids))?;
        export::encode(&rows, request.format)
    });
    let mut response = bytes(format.media_type(), &HeaderMap::new(), content.await?);
    let name = format!("attachment; filename=\"selection.{}\"", format.extension());
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct RevisionRequest {
    dataset: usize,
    example_ids: Vec<i64>,
    name: String,
    #[serde(default)]
    description: String,
}

pub(super) async fn revision(
    OfRouter(state): Shared,
    Asked(query): Asked<OfRun>,
    Sent(request): Sent<RevisionRequest>,
) -> Answer {
    let Some(make) = state.make_revision.clone() else {
        return Err(Refused::new(
            StatusCode::NOT_IMPLEMENTED,
            "this server only reads",
            "Save the selection as a file.",
        ));
    };
    let made = with_scene(state, query.scene(), move |_, scene| {
        let Some(url) = scene.datasets.get(request.dataset).and_then(|dataset| dataset.foreign_table.clone()) else {
            return Ok(Err("these samples are of no table".to_owned()));
        };
        let description = [request.name, request.description]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let rows = match scene.rows_of_samples(request.dataset, &request.example_ids) {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(make(&url, &rows, &description))
    });
    match made.await? {
        Ok(url) => Ok(Json(Map::from_iter([("url".to_owned(), json!(url.to_string()))])).into_response()),
        Err(reason) => Err(Refused::bad(reason)),
    }
}

pub(super) async fn quality(OfRouter(state): Shared, Asked(query): Asked<OfTable>) -> Answer {
    let report = with_scene_in_turn(state, query.scene(), move |scene, progress| {
        let index = query.layout.or_else(|| scene.default_layout()).unwrap_or(0);
        let layout = layout(scene, Some(index))?;
        let table = query.table.or_else(|| scene.newest_table(layout, None)).unwrap_or(0);
        quality::quality(scene, index, table, progress)
    });
    Ok(Json(report.await?).into_response())
}

pub(super) async fn job(OfRouter(state): Shared) -> Answer {
    Ok(Json(state.jobs.to_json()).into_response())
}

pub(super) async fn cancel(OfRouter(state): Shared) -> Answer {
    state.jobs.cancel();
    Ok(Json(state.jobs.to_json()).into_response())
}

pub(super) async fn reduce(
    OfRouter(state): Shared,
    Asked(query): Asked<OfRun>,
    Sent(request): Sent<reduce::Request>,
) -> Answer {
    let refused = |status, text: String, advice: &str| Refused::new(status, text, advice);
    request
        .check()
        .map_err(|error| refused(StatusCode::BAD_REQUEST, with_causes(error.as_ref()), "Choose another."))?;
    let wanted = request.clone();
    let (title, problem) = with_scene(state.clone(), query.scene(), move |_, scene| {
        let embeddings = &scene.embedding_columns;
        let problem = match wanted.unknown_column(embeddings) {
            _ if embeddings.is_empty() => Some("it has no embeddings left to reduce".to_owned()),
            Some(column) => Some(format!("{column:?} is none of its embeddings; they are {}", embeddings.join(", "))),
            None => None,
        };
        Ok((scene.title.clone(), problem))
    })
    .await?;
    if let Some(problem) = problem {
        let error = format!("cannot reduce {title}: {problem}");
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, error, "Look at the layouts that it has."));
    }
    let its_state = state.clone();
    let title = format!("Reducing {title}");
    state.jobs.begin(title, move |progress| match its_state.scenes.source() {
        Source::Project { project, run } => {
            let run = project.open_run(query.run.as_deref().unwrap_or(run))?;
            reduce::run(&run, &request, progress)
        }
        Source::Table { .. } | Source::Made { .. } => {
            let Some((project, url)) = its_state.scenes.table() else { return Err("there is no table yet".into()) };
            let source = reduce::source(its_state.scenes.get(None)?.as_ref(), &url);
            reduce::table(&project, &source, &request, progress)
        }
    })?;
    Ok((StatusCode::ACCEPTED, Json(state.jobs.to_json())).into_response())
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;

    #[test]
    fn classes_are_worth_compressing_and_measured_numbers_are_not() {
        let classes: Vec<u8> = (0..20_000_i32).flat_map(|i| (i % 10).to_le_bytes()).collect();
        assert!(is_worth_compressing(&classes));
        assert!(!is_worth_compressing(&classes[..WORTH_COMPRESSING]), "it is short already");
        let noise = Stream::new(0, "noise");
        let numbers: Vec<u8> = (0..20_000).flat_map(|i| (noise.uniform(i, 0) as f32).to_le_bytes()).collect();
        assert!(!is_worth_compressing(&numbers));
        assert!(!is_worth_compressing(&[]));
    }
}
