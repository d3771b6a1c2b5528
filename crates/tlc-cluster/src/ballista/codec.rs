//! How our plan nodes and functions travel: as JSON and an Arrow schema, with the version of who made them.
//!
//! Functions are known by their names alone, so neither scheduler nor executors need a registry of them.
//!
//! A scheduler refuses a plan of another version when it is submitted. An executor may not: its scheduler would take it
//! for dead, give the task to it again, and so on without an end. What it cannot read becomes a node that says so when
//! it is run, which ends the job.

use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Schema, SchemaRef};
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};
use tlc_core::Url;
use tlc_core::ulid::Ulid;

use super::VERSION;
use super::refused::RefusedExec;
use crate::plan::{RowsExec, RowsSpec, WriteExec};
use crate::{ClusterError, functions};

/// Begins each node of ours; Ballista's own are protocol buffers that do not.
const MAGIC: &[u8] = b"tlc-node/1:";

#[derive(Serialize, Deserialize)]
enum Node {
    Rows(RowsSpec),
    Write { out: Url, key: Ulid },
}

/// Ballista's codec, and our nodes.
#[derive(Debug)]
pub(super) struct NodeCodec {
    ballista: BallistaPhysicalExtensionCodec,
    /// What this process calls itself.
    process: &'static str,
    /// Whether nodes of another version are refused when they are run, not when they are read.
    refuses_late: bool,
}

impl NodeCodec {
    /// For who submits jobs, and for schedulers.
    pub(super) fn of_scheduler() -> Self {
        Self { ballista: BallistaPhysicalExtensionCodec::default(), process: "scheduler", refuses_late: false }
    }

    /// For executors.
    pub(super) fn of_executor() -> Self {
        Self { process: "executor", refuses_late: true, ..Self::of_scheduler() }
    }

    fn decode(&self, bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let unreadable = |reason: String| ClusterError::Node { reason, process: self.process, here: VERSION };
        let frame = Frame::read(bytes).map_err(|error| unreadable(error.to_string()))?;
        let refused = match serde_json::from_slice(frame.node) {
            _ if frame.made_by != VERSION => {
                let job = frame.made_by.to_owned();
                ClusterError::Version { job, process: self.process, here: VERSION }
            }
            Err(error) => unreadable(error.to_string()),
            Ok(node) => match (node, inputs) {
                (Node::Rows(spec), []) => return Ok(Arc::new(RowsExec::from_spec(spec, frame.schema))),
                (Node::Write { out, key }, [input]) => {
                    return Ok(Arc::new(WriteExec::new(out, key, frame.schema, input.clone())));
                }
                (_, inputs) => unreadable(format!("it has {} children", inputs.len())),
            },
        };
        match self.refuses_late {
            true => Ok(Arc::new(RefusedExec::new(frame.schema, refused))),
            false => Err(refused.into()),
        }
    }
}

impl PhysicalExtensionCodec for NodeCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match bytes.strip_prefix(MAGIC) {
            Some(ours) => self.decode(ours, inputs),
            None => self.ballista.try_decode(bytes, inputs, context),
        }
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>) -> Result<()> {
        if let Some(rows) = node.downcast_ref::<RowsExec>() {
            encode(VERSION, &Node::Rows(rows.spec()), &rows.schema(), bytes)
        } else if let Some(write) = node.downcast_ref::<WriteExec>() {
            let (out, key) = (write.out.clone(), write.key);
            encode(VERSION, &Node::Write { out, key }, &write.columns, bytes)
        } else {
            self.ballista.try_encode(node, bytes)
        }
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        match functions::by_name(name) {
            Some(function) => Ok(function),
            None if self.refuses_late => Ok(Arc::new(ScalarUDF::new_from_impl(Unknown::new(name)))),
            None => self.ballista.try_decode_udf(name, bytes),
        }
    }
}

/// What of a node can be read by processes of all versions.
struct Frame<'a> {
    made_by: &'a str,
    node: &'a [u8],
    schema: SchemaRef,
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let (made_by, rest) = block(bytes)?;
        let (node, schema) = block(rest)?;
        let schema = StreamReader::try_new(schema, None)?.schema();
        Ok(Self { made_by: std::str::from_utf8(made_by)?, node, schema })
    }
}

type Unreadable = Box<dyn std::error::Error>;

/// A length and as many bytes; and the rest.
fn block(bytes: &[u8]) -> Result<(&[u8], &[u8]), Unreadable> {
    let (length, rest) = bytes.split_first_chunk().ok_or("it is cut")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    Ok(rest.split_at_checked(length).ok_or("it is cut")?)
}

/// The version and the JSON, each after its length; the schema.
fn encode(made_by: &str, node: &Node, schema: &Schema, bytes: &mut Vec<u8>) -> Result<()> {
    let json = serde_json::to_vec(node).map_err(|error| DataFusionError::External(error.into()))?;
    bytes.extend(MAGIC);
    for block in [made_by.as_bytes(), &json] {
        bytes.extend((block.len() as u64).to_le_bytes());
        bytes.extend(block);
    }
    StreamWriter::try_new(&mut *bytes, schema)?.finish()?;
    Ok(())
}

/// A function that this executor does not know.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unknown {
    name: String,
    signature: Signature,
}

impl Unknown {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn refused(&self) -> DataFusionError {
        let reason = format!("it uses the function {}, which is not known here", self.name);
        ClusterError::Node { reason, process: "executor", here: VERSION }.into()
    }
}

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(self.refused())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(self.refused())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use arrow_schema::{DataType, Field, Schema};
    use tlc_core::{Lineage, Operation, TableInfo};

    use super::super::driver::encoded;
    use super::*;
    use crate::plan::PinnedTable;

    fn plan() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let with_lineage = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&schema));
        let url: Url = "s3://bucket/t.lance".parse().expect("a URL");
        let info = TableInfo { url, schema: with_lineage.clone(), rows: 9, digest: Some("sha256:aa".to_owned()) };
        let rows = Arc::new(RowsExec::new(PinnedTable::of(&info).expect("it has a digest"), schema, vec![0..5, 5..9]));
        let (out, key) = ("s3://bucket/out.lance".parse().expect("a URL"), Ulid::generate());
        Arc::new(WriteExec::new(out, key, with_lineage, rows))
    }

    #[test]
    fn our_nodes_survive_the_journey() {
        let (codec, context) = (NodeCodec::of_scheduler(), TaskContext::default());
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
        let key = |plan: &Arc<dyn ExecutionPlan>| plan.downcast_ref::<WriteExec>().expect("ours").key;
        assert_eq!(key(&arrived), key(&write));
    }

    #[tokio::test]
    async fn a_scheduler_refuses_other_versions_at_once_and_an_executor_when_it_runs_them() {
        let rows = plan().children()[0].clone();
        let node = Node::Rows(rows.downcast_ref::<RowsExec>().expect("ours").spec());
        let mut bytes = Vec::new();
        encode("tlc-cluster 9.9.9", &node, &rows.schema(), &mut bytes).expect("encodable");
        let context = Arc::new(TaskContext::default());
        let refused = NodeCodec::of_scheduler().try_decode(&bytes, &[], &context).expect_err("another version");
        let says = |text: &str, process: &str| {
            assert!(text.contains("made by tlc-cluster 9.9.9, but this"), "{text}");
            assert!(text.contains(&format!("{process} is {VERSION}")), "{text}");
        };
        says(&refused.to_string(), "scheduler");
        let late = NodeCodec::of_executor().try_decode(&bytes, &[], &context).expect("a node that refuses");
        assert_eq!(late.schema(), rows.schema(), "so that what is above it can be read");
        let said = late.execute(1, context.clone()).err().expect("it refuses").to_string();
        says(&said, "executor");
        let other = NodeCodec::of_executor().try_decode_udf("tlc_new", &[]).expect("a function that refuses");
        let args = ScalarFunctionArgs {
            args: Vec::new(),
            arg_fields: Vec::new(),
            number_rows: 1,
            return_field: Arc::new(Field::new("x", DataType::Int64, true)),
            config_options: Arc::default(),
        };
        let said = other.invoke_with_args(args).expect_err("it refuses").to_string();
        assert!(said.contains("the function tlc_new") && said.contains(VERSION), "{said}");
    }

    #[test]
    fn what_is_cut_is_an_error() {
        let (codec, context) = (NodeCodec::of_scheduler(), TaskContext::default());
        let mut bytes = Vec::new();
        codec.try_encode(plan().children()[0].clone(), &mut bytes).expect("encodable");
        for length in MAGIC.len()..bytes.len().min(MAGIC.len() + 200) {
            assert!(codec.try_decode(&bytes[..length], &[], &context).is_err(), "{length} bytes");
        }
    }

    /// What the process that makes the plan has in its environment.
    const CREDENTIALS: [(&str, &str); 3] = [
        ("AWS_ACCESS_KEY_ID", "AKIATLCPLANS"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-driver"),
        ("AWS_SESSION_TOKEN", "what-a-role-has-got"),
    ];

    /// Started by itself once more, in another process, it has credentials.
    #[test]
    fn a_plan_holds_no_credentials() {
        if CREDENTIALS.iter().any(|(name, value)| std::env::var(name).as_deref() != Ok(*value)) {
            let mut other = Command::new(std::env::current_exe().expect("a path"));
            other.args(["--exact", "ballista::codec::tests::a_plan_holds_no_credentials"]).envs(CREDENTIALS);
            let output = other.output().expect("started");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let bytes = encoded(&plan()).expect("encodable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("s3://bucket/t.lance") && text.contains("s3://bucket/out.lance"), "it is all there");
        for (name, value) in CREDENTIALS {
            assert!(!text.contains(value), "the value of {name} is in the plan");
        }
        let text = text.to_lowercase();
        for word in ["secret", "access_key", "token", "credential", "storage_options"] {
            assert!(!text.contains(word), "{word} is in the plan");
        }
    }
}
