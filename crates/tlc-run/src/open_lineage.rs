//! Lineage as OpenLineage's events (<https://openlineage.io>, specification 2-0-2), for servers that gather it.
//!
//! What its schema asks for and lineage has under other names: a producer is a URI, a run has a UUID, and every run
//! starts and completes.

use serde_json::{Value, json};
use tlc_core::Url;
use tlc_core::ulid::Ulid;

use crate::{LineageGraph, LineageNode, Origin};

/// What events are written by.
const RUN_EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
/// What their description of columns is written by.
const COLUMN_LINEAGE_SCHEMA: &str =
    "https://openlineage.io/spec/facets/1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet";

impl LineageGraph {
    /// Two OpenLineage events for each table whose making is known, `START` and `COMPLETE`, oldest first: to be sent to a
    /// server of lineage. Both have the time at which the making began, the only one that lineage knows. The run's id is
    /// the table's identity, written as a UUID; the producer is its program as a package URL, such as
    /// `pkg:generic/tlc-run@0.1.0`.
    pub fn to_open_lineage(&self, root: &Url) -> Vec<Value> {
        let mut made: Vec<(&LineageNode, &Origin, Ulid)> =
            self.nodes.iter().filter_map(|node| Some((node, node.origin.as_ref()?, node.table_id?))).collect();
        made.sort_by_key(|(_, origin, _)| origin.created);
        made.into_iter()
            .flat_map(|(node, origin, id)| {
                let event = |kind: &str, outputs: Value| {
                    json!({
                        "eventType": kind,
                        // RFC 3339.
                        "eventTime": origin.created.to_string(),
                        "producer": producer_uri(&origin.producer),
                        "schemaURL": RUN_EVENT_SCHEMA,
                        "run": {"runId": uuid(id)},
                        "job": {"namespace": root.to_string(), "name": origin.operation.kind},
                        "inputs": origin.inputs.iter().map(|&at| dataset(&self.nodes[at], root)).collect::<Vec<_>>(),
                        "outputs": outputs,
                    })
                };
                let mut output = dataset(node, root);
                output["facets"] = json!({"columnLineage": self.columns_of(origin, root)});
                [event("START", json!([])), event("COMPLETE", json!([output]))]
            })
            .collect()
    }

    /// From which columns of its inputs each column of a table was made.
    fn columns_of(&self, origin: &Origin, root: &Url) -> Value {
        let fields: serde_json::Map<String, Value> = origin
            .columns
            .iter()
            .map(|(column, lineage)| {
                let sources = lineage.from.iter().filter_map(|source| {
                    let mut field = dataset(&self.nodes[*origin.inputs.get(source.input)?], root);
                    field["field"] = source.field.clone().into();
                    field["transformations"] = json!([{"type": lineage.kind, "subtype": lineage.subtype}]);
                    Some(field)
                });
                (column.clone(), json!({"inputFields": sources.collect::<Vec<_>>()}))
            })
            .collect();
        json!({"_producer": producer_uri(&origin.producer), "_schemaURL": COLUMN_LINEAGE_SCHEMA, "fields": fields})
    }
}

/// A project is a namespace.
fn dataset(node: &LineageNode, root: &Url) -> Value {
    json!({"namespace": root.to_string(), "name": node.url.relative_to(root).to_string()})
}

/// The same 128 bits as a UUID is written.
fn uuid(id: Ulid) -> String {
    let hex = format!("{:032x}", id.0);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// `name/version` as a package URL of no particular registry (<https://github.com/package-url/purl-spec>). Lineage comes
/// from files, so it may be any text.
fn producer_uri(producer: &str) -> String {
    match producer.rsplit_once('/') {
        Some((name, version)) if !name.is_empty() && !version.is_empty() => {
            format!("pkg:generic/{}@{}", escaped(name), escaped(version))
        }
        _ => format!("pkg:generic/{}", escaped(producer)),
    }
}

/// With `%` and two digits for each byte that may mean something in a URI.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use tlc_core::{ColumnLineage, ColumnSource, Operation};

    use super::*;
    use crate::NodeState;

    fn node(name: &str, id: Ulid, second: i64, producer: &str, inputs: Vec<usize>) -> LineageNode {
        let from = (0..inputs.len()).map(|input| ColumnSource { input, field: "embedding".to_owned() }).collect();
        let column = ColumnLineage { from, kind: "DIRECT".to_owned(), subtype: "TRANSFORMATION".to_owned() };
        LineageNode {
            url: format!("file:///p/datasets/{name}.lance").parse().expect("a URL"),
            table_id: Some(id),
            rows: 3,
            digest: None,
            state: NodeState::Present,
            origin: Some(Origin {
                created: Timestamp::from_second(1_796_000_000 + second).expect("a time"),
                producer: producer.to_owned(),
                operation: Operation::new("reduce", 1),
                inputs,
                models: BTreeMap::new(),
                columns: BTreeMap::from([("map".to_owned(), column)]),
            }),
        }
    }

    fn text<'a>(object: &'a Value, key: &str) -> &'a str {
        object[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {object}"))
    }

    /// A scheme, a colon, and nothing that a URI cannot hold (RFC 3986).
    fn check_uri(uri: &str) {
        let (scheme, rest) = uri.split_once(':').expect("a scheme");
        assert!(scheme.starts_with(|c: char| c.is_ascii_alphabetic()), "{uri}");
        assert!(scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)), "{uri}");
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
        assert!(!rest.is_empty() && rest.chars().all(is_allowed), "{uri}");
        let escapes = rest.split('%').skip(1);
        escapes.for_each(|after| assert!(u8::from_str_radix(&after[..2], 16).is_ok(), "{uri}"));
    }

    fn check_uuid(id: &str) {
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        assert!(parts.concat().chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    }

    fn check_dataset(dataset: &Value) {
        assert!(!text(dataset, "namespace").is_empty() && !text(dataset, "name").is_empty(), "{dataset}");
        for facet in dataset["facets"].as_object().into_iter().flat_map(|facets| facets.values()) {
            check_uri(text(facet, "_producer"));
            check_uri(text(facet, "_schemaURL"));
        }
    }

    /// What the schema of specification 2-0-2 requires of a `RunEvent`.
    fn check_event(event: &Value) {
        assert!(["START", "COMPLETE"].contains(&text(event, "eventType")), "{event}");
        let time = text(event, "eventTime");
        assert!(time.parse::<Timestamp>().is_ok() && time.contains('T') && time.ends_with('Z'), "RFC 3339: {time}");
        check_uri(text(event, "producer"));
        check_uri(text(event, "schemaURL"));
        check_uuid(text(&event["run"], "runId"));
        assert!(!text(&event["job"], "namespace").is_empty() && !text(&event["job"], "name").is_empty(), "{event}");
        for datasets in ["inputs", "outputs"] {
            event[datasets].as_array().expect("a list").iter().for_each(check_dataset);
        }
    }

    #[test]
    fn events_are_what_open_lineage_says_they_are() {
        let root: Url = "file:///p".parse().expect("a URL");
        let id: Ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("an identity");
        let nodes =
            vec![node("map", id, 1, "tlc-run/0.1.0", vec![1]), node("of", Ulid(7), 0, "ünser Programm?/1/2 β", vec![])];
        let events = LineageGraph { nodes, is_cut: false }.to_open_lineage(&root);
        events.iter().for_each(check_event);
        let kinds: Vec<(&str, &str)> =
            events.iter().map(|event| (text(event, "eventType"), text(&event["run"], "runId"))).collect();
        let (of, map) = ("00000000-0000-0000-0000-000000000007", "01563e3a-b5d3-d676-4c61-efb99302bd5b");
        assert_eq!(kinds, [("START", of), ("COMPLETE", of), ("START", map), ("COMPLETE", map)]);
        assert_eq!(text(&events[0], "producer"), "pkg:generic/%C3%BCnser%20Programm%3F%2F1@2%20%CE%B2");
        let complete = &events[3];
        assert_eq!(text(complete, "producer"), "pkg:generic/tlc-run@0.1.0");
        assert_eq!(text(complete, "schemaURL"), "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent");
        assert_eq!(text(&complete["inputs"][0], "name"), "datasets/of.lance");
        let columns = &complete["outputs"][0]["facets"]["columnLineage"];
        assert!(text(columns, "_schemaURL").starts_with("https://openlineage.io/spec/facets/"), "{columns}");
        let field = &columns["fields"]["map"]["inputFields"][0];
        let of_field = ["namespace", "name", "field"].map(|key| text(field, key));
        assert_eq!(of_field, ["file:///p", "datasets/of.lance", "embedding"]);
        assert_eq!(field["transformations"], json!([{"type": "DIRECT", "subtype": "TRANSFORMATION"}]));
    }
}
