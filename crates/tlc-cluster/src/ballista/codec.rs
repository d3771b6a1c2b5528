//! How our plan nodes and functions travel: as JSON and an Arrow schema.
//!
//! Functions are known by their names alone, so neither scheduler nor executors need a registry of them.

use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};
use tlc_core::Url;

use crate::functions;
use crate::plan::{RowsExec, RowsSpec, VERSION, WriteExec};

/// Begins each node of ours; Ballista's own are protocol buffers that do not.
const MAGIC: &[u8] = b"tlc-node/1:";

#[derive(Serialize, Deserialize)]
enum Node {
    Rows(RowsSpec),
    Write { out: Url },
}

/// Ballista's codec, and our nodes.
#[derive(Debug, Default)]
pub(super) struct NodeCodec(BallistaPhysicalExtensionCodec);

impl PhysicalExtensionCodec for NodeCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(ours) = bytes.strip_prefix(MAGIC) else { return self.0.try_decode(bytes, inputs, context) };
        let (node, schema) = decode(ours).map_err(|error| {
            DataFusionError::Plan(format!(
                "cannot read a plan node of tlc: {error}; this process is {VERSION}, and the whole cluster must be"
            ))
        })?;
        match (node, inputs) {
            (Node::Rows(spec), []) => Ok(Arc::new(RowsExec::from_spec(spec, schema))),
            (Node::Write { out }, [input]) => Ok(Arc::new(WriteExec::new(out, schema, input.clone()))),
            (_, inputs) => Err(DataFusionError::Plan(format!("a plan node of tlc has {} children", inputs.len()))),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>) -> Result<()> {
        if let Some(rows) = node.downcast_ref::<RowsExec>() {
            encode(&Node::Rows(rows.spec()), &rows.schema(), bytes)
        } else if let Some(write) = node.downcast_ref::<WriteExec>() {
            encode(&Node::Write { out: write.out.clone() }, &write.columns, bytes)
        } else {
            self.0.try_encode(node, bytes)
        }
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        functions::by_name(name).map_or_else(|| self.0.try_decode_udf(name, bytes), Ok)
    }
}

/// The length of the JSON, the JSON, the schema.
fn encode(node: &Node, schema: &SchemaRef, bytes: &mut Vec<u8>) -> Result<()> {
    let json = serde_json::to_vec(node).map_err(|error| DataFusionError::External(error.into()))?;
    bytes.extend(MAGIC);
    bytes.extend((json.len() as u64).to_le_bytes());
    bytes.extend(json);
    StreamWriter::try_new(&mut *bytes, schema)?.finish()?;
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<(Node, SchemaRef), Box<dyn std::error::Error>> {
    let (length, rest) = bytes.split_first_chunk().ok_or("it is cut")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (json, schema) = rest.split_at_checked(length).ok_or("it is cut")?;
    Ok((serde_json::from_slice(json)?, StreamReader::try_new(schema, None)?.schema()))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};
    use tlc_core::{Lineage, Operation, TableInfo};

    use super::*;
    use crate::plan::PinnedTable;

    fn plan() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let with_lineage = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&schema));
        let url: Url = "s3://bucket/t.lance".parse().expect("a URL");
        let info = TableInfo { url, schema: with_lineage.clone(), rows: 9, digest: Some("sha256:aa".to_owned()) };
        let rows = Arc::new(RowsExec::new(PinnedTable::of(&info), schema, vec![0..5, 5..9]));
        Arc::new(WriteExec::new("s3://bucket/out.lance".parse().expect("a URL"), with_lineage, rows))
    }

    #[test]
    fn our_nodes_survive_the_journey() {
        let (codec, context) = (NodeCodec::default(), TaskContext::default());
        let travel = |node: &Arc<dyn ExecutionPlan>, inputs: &[Arc<dyn ExecutionPlan>]| {
            let mut bytes = Vec::new();
            codec.try_encode(node.clone(), &mut bytes).expect("encodable");
            codec.try_decode(&bytes, inputs, &context).expect("decodable")
        };
        let write = plan();
        let rows = travel(write.children()[0], &[]);
        let arrived = travel(&write, &[rows]);
        let text = |plan: &dyn ExecutionPlan| datafusion::physical_plan::displayable(plan).indent(true).to_string();
        assert_eq!(text(arrived.as_ref()), text(write.as_ref()));
        let columns = |plan: &Arc<dyn ExecutionPlan>| plan.downcast_ref::<WriteExec>().expect("ours").columns.clone();
        assert_eq!(columns(&arrived), columns(&write), "with roles and lineage");
    }

    #[test]
    fn what_is_cut_is_an_error() {
        let (codec, context) = (NodeCodec::default(), TaskContext::default());
        let mut bytes = Vec::new();
        codec.try_encode(plan().children()[0].clone(), &mut bytes).expect("encodable");
        for length in MAGIC.len()..bytes.len().min(MAGIC.len() + 200) {
            assert!(codec.try_decode(&bytes[..length], &[], &context).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_plan_holds_no_credentials() {
        let codec = NodeCodec::default();
        let mut bytes = Vec::new();
        codec.try_encode(plan(), &mut bytes).expect("encodable");
        codec.try_encode(plan().children()[0].clone(), &mut bytes).expect("encodable");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        for word in ["secret", "access_key", "token", "credential", "storage_options"] {
            assert!(!text.contains(word), "{word} is in the plan");
        }
    }
}
