//! The server as a browser meets it, over a real socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use serde_json::{Value, json};
use tlc_core::{Column, NumberRole, TableStore};
use tlc_table::MemoryStore;

use super::*;

fn source(column: NumberRole) -> (Source, Arc<MemoryStore>, Url) {
    let map = Column::embedding("map", 2, vec![0., 0., 1., 2., f32::NAN, 1.], column).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![map.field]));
    let rows = RecordBatch::try_new(schema.clone(), vec![map.values]).expect("they fit");
    let store = Arc::new(MemoryStore::default());
    let url: Url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    let project = Project::new(store.clone(), "memory://p".parse().expect("a URL"));
    (Source::Table { project, url: url.clone() }, store, url)
}

/// The state of a server of one table.
pub(super) fn state() -> Arc<State> {
    Server::bind(source(NumberRole::ReducedEmbedding).0, &ServeOptions::default()).expect("some port is free").state
}

/// Serves while `ask` runs; `ask` gets the port.
fn serving(source: Source, ask: impl FnOnce(u16)) {
    let server = Server::bind(source, &ServeOptions::default()).expect("some port is free");
    let (port, stop) = (server.address.port(), Progress::default());
    let until = stop.clone();
    let thread = std::thread::spawn(move || server.run(&until));
    ask(port);
    stop.cancel();
    thread.join().expect("no panic").expect("served");
}

fn get(port: u16, path: &str, host: &str) -> (u16, Vec<u8>) {
    ask(port, host, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

fn post(port: u16, path: &str, body: &Value) -> (u16, Value) {
    let (host, body) = (format!("127.0.0.1:{port}"), body.to_string());
    let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json");
    let (status, answer) = ask(port, &host, &format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    (status, serde_json::from_slice(&answer).expect("JSON"))
}

fn json_at(port: u16, path: &str) -> Value {
    let (status, body) = get(port, path, &format!("127.0.0.1:{port}"));
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

/// Waits for the work that is under way.
fn finished(port: u16) -> Value {
    loop {
        let job = json_at(port, "/api/job");
        if job["state"] != "running" {
            return job;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn ask(port: u16, host: &str, request: &str) -> (u16, Vec<u8>) {
    ask_at((Ipv4Addr::LOCALHOST, port).into(), host, request)
}

fn ask_at(address: SocketAddr, host: &str, request: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    assert!(host.starts_with("evil") || head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(host.starts_with("evil") || head.contains("cross-origin-resource-policy: same-origin"), "{head}");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer[split..].to_vec())
}

#[test]
fn the_page_and_its_data_come_with_a_strict_policy() {
    let (source, ..) = source(NumberRole::ReducedEmbedding);
    serving(source, |port| {
        let host = format!("127.0.0.1:{port}");
        let (status, page) = get(port, "/", &host);
        assert!(status == 200 && page.starts_with(b"<!doctype html>"), "{}", String::from_utf8_lossy(&page));
        let (_, manifest) = get(port, "/api/manifest", &host);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        assert_eq!((&manifest["layouts"][0]["dims"], &manifest["datasets"][0]["rows"]), (&2.into(), &3.into()));
        assert_eq!(manifest["layouts"][0]["max"], serde_json::json!([1.0, 2.0]), "NaN is no border");
        assert!(json_at(port, "/api/ranges").is_object());
        let (status, coords) = get(port, "/api/coords?layout=0&table=0", &host);
        assert_eq!(status, 200);
        let mut batches = arrow_ipc::reader::StreamReader::try_new(coords.as_slice(), None).expect("an Arrow stream");
        let batch = batches.next().expect("one batch").expect("whole");
        assert_eq!((batch.num_rows(), batch.column(0).null_count()), (3, 1), "a row without a place is null");
    });
}

#[test]
fn others_are_refused_and_what_is_missing_is_explained() {
    let (source, store, url) = source(NumberRole::ReducedEmbedding);
    serving(source, |port| {
        let host = format!("localhost:{port}");
        assert_eq!(get(port, "/api/manifest", "evil.example").0, 403);
        assert_eq!(get(port, "/api/manifest", "localhost:1").0, 200, "as from the end of a tunnel");
        for path in ["/api/coords?layout=9", "/api/column?name=nope", "/nowhere", "/api/thumb/0/1", "/api/find/nothing"]
        {
            let (status, body) = get(port, path, &host);
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!(status == 404 && body["error"].is_string(), "{path}: {status} {body}");
        }
        store.delete(&url).expect("there");
        let (status, body) = get(port, "/api/coords?layout=0&table=0", &host);
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 404 && body.contains("read the list of tables again"), "{status} {body}");
    });
}

#[test]
fn ids_of_another_version_are_refused_and_pictures_are_kept_by_version() {
    let (source, ..) = source(NumberRole::ReducedEmbedding);
    serving(source, |port| {
        let version = json_at(port, "/api/manifest")["version"].as_str().expect("it has one").to_owned();
        let coords = "/api/coords?layout=0&table=0";
        let host = format!("127.0.0.1:{port}");
        assert_eq!(get(port, &format!("{coords}&v={version}"), &host).0, 200);
        let (status, body) = get(port, &format!("{coords}&v=other"), &host);
        assert!(status == 409 && String::from_utf8_lossy(&body).contains("Read the list"), "{status}");
    });
}

#[test]
fn what_cannot_be_read_is_refused_as_json_and_long_selections_are_taken() {
    let (source, ..) = source(NumberRole::ReducedEmbedding);
    serving(source, |port| {
        let host = format!("127.0.0.1:{port}");
        for path in ["/api/coords?layout=x", "/api/thumb/0/x"] {
            let (status, body) = get(port, path, &host);
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(status == 400 && body["error"].is_string(), "{path}: {status} {body}");
        }
        assert_eq!(post(port, "/api/knn", &json!({ "layout": "x" })).0, 422);
        assert_eq!(post(port, "/api/manifest", &json!({})).0, 405);
        // Three million bytes.
        let ids: Vec<i64> = (1_000_000..1_400_000).chain([1]).collect();
        let (status, rows) =
            post(port, "/api/export", &json!({ "table": 0, "layout": 0, "example_ids": ids, "format": "json" }));
        assert!(status == 200 && rows[0]["x"] == 1.0, "{status} {rows}");
    });
}

#[test]
fn a_table_without_a_layout_says_how_to_get_one() {
    let (source, ..) = source(NumberRole::NnEmbedding);
    serving(source, |port| {
        let (_, manifest) = get(port, "/api/manifest", &format!("127.0.0.1:{port}"));
        let text = String::from_utf8_lossy(&manifest).into_owned();
        assert!(text.contains("No layout yet") && text.contains("Choose a method") && text.contains("map"), "{text}");
        assert!(!text.contains("tlc reduce"), "which is for runs: {text}");
        assert!(!text.contains("\"name\":\"map\""), "embeddings never travel to the page: {text}");
    });
}

#[test]
fn another_address_needs_a_token_and_a_used_port_is_said() {
    let (source, ..) = source(NumberRole::ReducedEmbedding);
    let open = ServeOptions { host: Ipv4Addr::UNSPECIFIED.into(), ..ServeOptions::default() };
    let server = Server::bind(source.clone(), &open).expect("some port is free");
    assert!(
        server.url().trim_end_matches('/').rsplit('/').next().is_some_and(|token| token.len() == 26),
        "{}",
        server.url()
    );
    // What is listened at is no place to go to, where the machine has a name.
    let place = format!("http://{}:{}/", host_name().as_deref().unwrap_or("0.0.0.0"), server.address.port());
    assert!(server.url().starts_with(&place), "{place}: {}", server.url());
    let taken =
        ServeOptions { port: server.address.port(), host: Ipv4Addr::UNSPECIFIED.into(), ..ServeOptions::default() };
    let error = Server::bind(source, &taken).expect_err("in use").to_string();
    assert!(error.contains("choose another port"), "{error}");
}

/// Serves at `host` while `ask` runs; `ask` gets the server's address and its page's.
fn serving_at(host: Ipv4Addr, ask: impl FnOnce(SocketAddr, &str)) {
    let options = ServeOptions { host: host.into(), ..ServeOptions::default() };
    let server = Server::bind(source(NumberRole::ReducedEmbedding).0, &options).expect("some port is free");
    let (address, url, stop) = (server.address, server.url(), Progress::default());
    let until = stop.clone();
    let thread = std::thread::spawn(move || server.run(&until));
    ask(address, &url);
    stop.cancel();
    thread.join().expect("no panic").expect("served");
}

#[test]
fn with_a_token_everything_is_below_it_and_nothing_elsewhere() {
    serving_at(Ipv4Addr::UNSPECIFIED, |address, url| {
        let host = address.to_string();
        let (_, page) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
        let page = &format!("/{page}");
        assert!(page.ends_with('/'), "what the page names is relative to it: {page}");
        let (status, body) = get(address.port(), page, &host);
        assert!(status == 200 && body.starts_with(b"<!doctype html>"), "{status} {}", String::from_utf8_lossy(&body));
        for below in ["app.js", "app.css", "api/manifest"] {
            assert_eq!(get(address.port(), &format!("{page}{below}"), &host).0, 200, "{below}");
        }
        assert_eq!(get(address.port(), &format!("{page}nowhere"), &host).0, 404);
        assert_eq!(
            get(address.port(), page.trim_end_matches('/'), &host).0,
            308,
            "it is sent to the address with a slash"
        );
        for elsewhere in ["/", "/app.js", "/api/manifest", "/wrong/api/manifest"] {
            assert_eq!(get(address.port(), elsewhere, &host).0, 404, "{elsewhere}");
        }
    });
}

// Other systems have only one such address.
#[cfg(target_os = "linux")]
#[test]
fn any_loopback_address_can_be_listened_at() {
    serving_at(Ipv4Addr::new(127, 0, 0, 2), |address, url| {
        assert_eq!(url, format!("http://{address}/"), "no token");
        let request = format!("GET /api/manifest HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        assert_eq!(ask_at(address, &address.to_string(), &request).0, 200);
    });
}

/// A table of embeddings, three times as many rows as a method needs at least.
fn embeddings() -> (Project, Url) {
    let values = (0..60 * 6).map(|i| (i as f32 * 0.37).sin() + (i / 120) as f32).collect();
    let column = Column::embedding("features", 6, values, NumberRole::NnEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![column.field]));
    let rows = RecordBatch::try_new(schema.clone(), vec![column.values]).expect("they fit");
    let store = Arc::new(MemoryStore::default());
    let url: Url = "memory://p/datasets/toys/initial.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    (Project::new(store, "memory://p".parse().expect("a URL")), url)
}

#[test]
fn a_table_without_a_layout_is_reduced_on_request() {
    let (project, url) = embeddings();
    serving(Source::Table { project: project.clone(), url: url.clone() }, |port| {
        let manifest = json_at(port, "/api/manifest");
        assert_eq!((&manifest["reduce"]["columns"], &manifest["job"]["state"]), (&json!(["features"]), &json!("none")));
        let (status, body) = post(port, "/api/reduce", &json!({ "method": "umpa" }));
        assert!(status == 400 && body["error"].as_str().is_some_and(|text| text.contains("umap")), "{body}");
        assert_eq!(post(port, "/api/reduce", &json!({ "method": "pca", "n_components": 7 })).0, 400);
        let (status, body) = post(port, "/api/reduce", &json!({ "method": "pca", "n_components": 2 }));
        assert_eq!(status, 202, "{body}");
        let job = finished(port);
        assert_eq!((&job["state"], &job["title"]), (&json!("done"), &json!("Reducing initial")), "{job}");
        let manifest = json_at(port, "/api/manifest");
        assert_eq!((&manifest["layouts"][0]["method"], &manifest["layout"]), (&json!("pca"), &json!(0)), "{manifest}");
        assert_eq!((&manifest["message"], &manifest["reduce"]["columns"]), (&Value::Null, &json!(["features"])));
        // What commands and revisions are told is the table itself, although its reduction is read.
        assert_eq!(manifest["tables"][0]["urls"], json!([url.to_string()]));
        // The source is still there, and neighbours are those in its embeddings.
        let knn = json!({ "layout": 0, "table": 0, "example_id": 3, "k": 2, "space": "embedding" });
        let (_, neighbours) = post(port, "/api/knn", &knn);
        assert_eq!((&neighbours["space"], &neighbours["note"]), (&json!("embedding"), &Value::Null), "{neighbours}");
        let quality = json_at(port, "/api/quality?layout=0&table=0");
        assert!(quality["lines"].as_array().is_some_and(|lines| lines.len() >= 5), "{quality}");
        // What was kept can be reduced again, otherwise than before.
        let (status, body) = post(port, "/api/reduce", &json!({ "method": "pca", "args": { "n_component": 3 } }));
        assert!(status == 400 && body["error"].as_str().is_some_and(|text| text.contains("n_component")), "{body}");
        let again = json!({ "method": "pca", "args": { "n_components": 3 } });
        assert_eq!(post(port, "/api/reduce", &again).0, 202);
        assert_eq!(finished(port)["state"], "done");
        let manifest = json_at(port, "/api/manifest");
        let layouts = manifest["layouts"].as_array().expect("a list");
        assert_eq!(layouts.iter().map(|it| &it["name"]).collect::<Vec<_>>(), ["features_pca", "features_pca_3d"]);
        assert!(layouts.iter().all(|layout| layout["tables"] == json!([0])), "of the same rows: {manifest}");
        for layout in 0..2 {
            assert_eq!(get(port, &format!("/api/coords?layout={layout}&table=0"), &format!("127.0.0.1:{port}")).0, 200);
        }
        // What was done once more is not there twice.
        assert_eq!(post(port, "/api/reduce", &again).0, 202);
        assert_eq!(finished(port)["state"], "done");
        assert_eq!(json_at(port, "/api/manifest")["layouts"].as_array().map(Vec::len), Some(2));
        let (status, body) = post(port, "/api/reduce", &json!({ "method": "pca", "columns": ["label"] }));
        assert!(status == 422 && body["error"].as_str().is_some_and(|text| text.contains("features")), "{body}");
    });
    assert!(project.store().info(&url).is_ok(), "the source stays");
    // Whoever looks again later finds what was made, first that which is asked for.
    let names = |url: &Url| {
        let scene = crate::Scene::of_table_with_reductions(&project, url).expect("readable");
        assert_eq!((scene.datasets.len(), scene.tables.len(), scene.tables[0].rows), (1, 1, 60));
        scene.layouts.into_iter().map(|layout| layout.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&url), ["features_pca", "features_pca_3d"]);
    let made = tlc_run::reductions_of(&project, &url, &url.parent().expect("a folder")).expect("readable");
    assert_eq!(names(&made[1].url), ["features_pca_3d", "features_pca"]);
}

#[test]
fn looking_again_shows_what_other_processes_made_and_deleted() {
    let (project, url) = embeddings();
    let layouts = |port: u16| {
        let manifest = json_at(port, "/api/manifest");
        let names = |layouts: &Vec<Value>| layouts.iter().map(|layout| layout["name"].clone()).collect::<Vec<_>>();
        (manifest["version"].clone(), manifest["layouts"].as_array().map(names).unwrap_or_default())
    };
    let reduced = |seed: u64| {
        let args = [("n_components".to_owned(), json!(2)), ("seed".to_owned(), json!(seed))].into_iter().collect();
        let mut options = tlc_run::ReduceOptions::new([tlc_core::reducer_from_args("pca", args).expect("valid")]);
        options.delete_source_tables = Some(false);
        tlc_run::reduce_embeddings(&project, &url, &options, &Progress::default()).expect("reducible")
    };
    serving(Source::Table { project: project.clone(), url: url.clone() }, |port| {
        let (first, none) = layouts(port);
        assert!(none.is_empty(), "{none:?}");
        // Not through this server.
        let one = reduced(1);
        let (second, names) = layouts(port);
        assert_eq!(names, ["features_pca"]);
        assert_ne!(first, second, "numbers of layouts mean something else");
        assert_eq!(layouts(port).0, second, "and stay until there is something new");
        let two = reduced(2);
        assert_eq!(layouts(port).1, ["features_pca", "features_pca_2"]);
        project.store().delete(&two).expect("deletable");
        assert_eq!(layouts(port).1, ["features_pca"]);
        project.store().delete(&one).expect("deletable");
        assert!(layouts(port).1.is_empty());
    });
    // Of a run nothing but its record is looked at, which does not tell of tables that are deleted.
    let run = crate::scene::tests::run();
    (0..2).for_each(|epoch| crate::scene::tests::collect(&run, &format!("train-{epoch}"), Some(epoch), 0..30));
    crate::scene::tests::reduce(&run, 1);
    let reduced: Vec<Url> =
        run.metrics().expect("readable").into_iter().filter(|it| it.reduced_from.is_some()).map(|it| it.url).collect();
    serving(Source::Project { project: run.project().clone(), run: "r".to_owned() }, |port| {
        let tables = |port| json_at(port, "/api/manifest")["tables"].as_array().map(Vec::len);
        let host = format!("127.0.0.1:{port}");
        assert_eq!(tables(port), Some(2));
        run.project().store().delete(&reduced[0]).expect("deletable");
        assert_eq!(get(port, "/api/coords?layout=0&table=0", &host).0, 404);
        assert_eq!(tables(port), Some(1), "what is left");
        assert_eq!(get(port, "/api/coords?layout=0&table=0", &host).0, 200);
    });
}

#[test]
fn two_parameter_sets_of_one_method_are_two_layouts_of_a_run() {
    let run = crate::scene::tests::run();
    (0..2).for_each(|epoch| crate::scene::tests::collect(&run, "train", Some(epoch), 0..30));
    serving(Source::Project { project: run.project().clone(), run: "r".to_owned() }, |port| {
        for seed in [1, 2] {
            let request = json!({ "method": "pca", "n_components": 2, "args": { "seed": seed } });
            assert_eq!(post(port, "/api/reduce", &request).0, 202);
            assert_eq!(finished(port)["state"], "done");
        }
        let manifest = json_at(port, "/api/manifest");
        let layout = |index: usize| {
            let layout = &manifest["layouts"][index];
            (&layout["name"], &layout["args"]["seed"], &layout["tables"])
        };
        assert_eq!(layout(0), (&json!("embeddings_1_pca"), &json!(1), &json!([0, 1])));
        assert_eq!(layout(1), (&json!("embeddings_1_pca_2"), &json!(2), &json!([0, 1])));
        assert_eq!(manifest["tables"].as_array().map(Vec::len), Some(2), "one for each epoch");
    });
}

#[test]
fn what_is_made_first_is_shown_when_it_is_there() {
    let (go, may_go) = std::sync::mpsc::channel::<bool>();
    let may_go = std::sync::Mutex::new(may_go);
    let make = move |progress: &Progress| {
        let _task = progress.task("read", 3);
        match may_go.lock().expect("sound").recv() {
            Ok(true) => Ok(embeddings()),
            _ => Err("it holds no <numbers>".into()),
        }
    };
    let made = |make: Arc<MakeTable>| Source::Made { title: "toys.csv".to_owned(), make };
    let make: Arc<MakeTable> = Arc::new(make);
    serving(made(make.clone()), |port| {
        let waiting = json_at(port, "/api/manifest");
        assert_eq!((&waiting["message"]["title"], &waiting["layouts"]), (&json!("Reading toys.csv"), &json!([])));
        assert_eq!(waiting["job"]["state"], "running");
        let (status, body) = get(port, "/api/coords?layout=0&table=0", &format!("127.0.0.1:{port}"));
        assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
        go.send(true).expect("it waits");
        assert_eq!(finished(port)["state"], "done");
        assert_eq!(json_at(port, "/api/manifest")["datasets"][0]["rows"], 60);
    });
    serving(made(make), |port| {
        go.send(false).expect("it waits");
        assert_eq!(finished(port)["error"], "it holds no <numbers>");
        let manifest = json_at(port, "/api/manifest");
        assert_eq!(manifest["message"]["advice"], "it holds no <numbers>", "never a blank page");
    });
}

#[test]
fn means_are_those_of_the_record_and_of_the_rows_without_one() {
    let loss: arrow_array::ArrayRef = Arc::new(arrow_array::Float32Array::from(vec![1.0, 3.0]));
    let field = arrow_schema::Field::new("loss", arrow_schema::DataType::Float32, false);
    let schema = Arc::new(Schema::new(vec![field]));
    let rows = RecordBatch::try_new(schema.clone(), vec![loss]).expect("it fits");
    let store = Arc::new(MemoryStore::default());
    let url: Url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    let project = Project::new(store, "memory://p".parse().expect("a URL"));
    let mut scene = crate::Scene::of_table(&project, &url).expect("readable");
    let mean = |scene: &crate::Scene| {
        numbers::numbers(scene, &Progress::default()).expect("readable")["epochs"][0]["means"]["loss"].clone()
    };
    assert_eq!(mean(&scene), 2.0);
    scene.tables[0].means.insert("loss".to_owned(), 9.0);
    assert_eq!(mean(&scene), 9.0, "the record is of all rows, also those that are not shown");
    let ranges = ranges::ranges(&scene, &Progress::default()).expect("readable");
    assert_eq!(ranges.get("loss"), Some(&[1.0, 3.0]));
}
