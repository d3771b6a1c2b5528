//! The server as a browser meets it, over a real socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tlc_core::{Column, NumberRole};
use tlc_table::MemoryStore;

use super::*;

fn source(column: NumberRole) -> (Source, Arc<MemoryStore>, Url) {
    let map = Column::embedding("map", 2, vec![0., 0., 1., 2., f32::NAN, 1.], column);
    let schema = Arc::new(Schema::new(vec![map.field]));
    let rows = RecordBatch::try_new(schema.clone(), vec![map.values]).expect("they fit");
    let store = Arc::new(MemoryStore::default());
    let url: Url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    (Source::Table { store: store.clone(), url: url.clone() }, store, url)
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
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    assert!(host.starts_with("evil") || head.contains("content-security-policy: default-src 'none'"), "{head}");
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
fn a_table_without_a_layout_says_how_to_get_one() {
    let (source, ..) = source(NumberRole::NnEmbedding);
    serving(source, |port| {
        let (_, manifest) = get(port, "/api/manifest", &format!("127.0.0.1:{port}"));
        let text = String::from_utf8_lossy(&manifest).into_owned();
        assert!(text.contains("No layout yet") && text.contains("tlc reduce"), "{text}");
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
    let taken =
        ServeOptions { port: server.address.port(), host: Ipv4Addr::UNSPECIFIED.into(), ..ServeOptions::default() };
    let error = Server::bind(source, &taken).expect_err("in use").to_string();
    assert!(error.contains("choose another port"), "{error}");
}
