//! What a scheduler and an executor answer to a driver.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use tlc_core::ulid::Ulid;
use tlc_core::{
    Lineage, MODEL_DOCUMENT, NumberRole, Operation, Progress, ProgressSink, TableStore, Url, WriteCondition, digest,
    encode_model, reducer_from_args, with_causes,
};
use tlc_reduce as _;
use tlc_table::TableInParts;

use super::client::{Scheduler, Status};
use super::driver::{Job, encoded};
use super::*;
use crate::models::store;
use crate::plan::{PinnedTable, RowsExec, WriteExec, columns_of};
use crate::runtime::Engine;
use crate::{ClusterError, functions};

const N: usize = 64;
const WIDTH: usize = 4;

/// Processes of a cluster in this one, which end with the value.
struct Cluster {
    address: ClusterAddress,
    stop: Progress,
    running: Option<JoinHandle<Result<(), ClusterError>>>,
}

impl Cluster {
    fn start(run: impl FnOnce(u16, &Progress) -> Result<(), ClusterError> + Send + 'static) -> Self {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|it| it.local_addr());
        let three = |first: u16| first < u16::MAX - 2 && (first..first + 3).all(|port| free(port).is_ok());
        let found = (0..100).map(|_| free(0).expect("a free port").port()).find(|first| three(*first));
        let port = found.expect("three free ports in a row");
        let stop = Progress::default();
        let running = thread::spawn({
            let stop = stop.clone();
            move || run(port, &stop)
        });
        let address = ClusterAddress::new("127.0.0.1", port);
        let begin = Instant::now();
        while address.check().is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "a scheduler takes too long to begin");
            thread::sleep(Duration::from_millis(20));
        }
        Self { address, stop, running: Some(running) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.running.take().expect("it is taken here only").join();
        assert!(thread::panicking() || matches!(ended, Ok(Err(ClusterError::Cancelled(_)))), "{ended:?}");
    }
}

fn scheduler_only() -> Cluster {
    Cluster::start(|port, stop| run_scheduler(&SchedulerOptions { port, ..SchedulerOptions::default() }, stop))
}

/// A folder with a table of one column of vectors, and a model whose reducer nobody has linked.
struct Place {
    folder: tempfile::TempDir,
    table: Url,
    model: Url,
    digest: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let (table, model) = (root.join("t.lance").expect("valid"), root.join("m").expect("valid"));
        let values: Vec<f32> = (0..N * WIDTH).map(|i| ((i * 7919) % 101) as f32).collect();
        let data = ndarray::ArrayView2::from_shape((N, WIDTH), &values).expect("its shape");
        let fitted = reducer_from_args("pca", Default::default()).expect("linked");
        let files = encode_model(fitted.fit(data, &Progress::default()).expect("fits").as_ref()).expect("encodable");
        let mut document: serde_json::Value = serde_json::from_slice(&files[1].content).expect("its own text");
        document["reducer"]["type"] = "mystery/1".into();
        document["made_by"] = serde_json::json!({ "crate": "mystery-reducer", "version": "3.2.1" });
        let document = serde_json::to_vec(&document).expect("plain data");
        let at = model.join(MODEL_DOCUMENT).expect("valid");
        store().write_object(&at, &document, WriteCondition::Absent).expect("free");
        let column =
            tlc_core::Column::embedding("embedding", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
        let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        let schema = Arc::new(lineage.write_into(&Schema::new(vec![column.field])));
        let rows = RecordBatch::try_new(schema.clone(), vec![column.values]).expect("valid");
        store().create(&table, schema, Box::new([Ok(rows)].into_iter())).expect("a free place");
        Self { folder, table, model, digest: digest::of_bytes(&document) }
    }

    /// A table to be, and a plan of two tasks that place its rows by the model.
    fn job(&self) -> (Url, TableInParts, Arc<dyn ExecutionPlan>) {
        let out = Url::from_path(self.folder.path()).expect("an absolute path").join("out.lance").expect("valid");
        let table = store().begin_parts(&out, Ulid::generate()).expect("a free place");
        let info = store().info(&self.table).expect("there");
        let columns = columns_of(&info.schema, |_| true);
        let ranges = vec![0..N as u64 / 2, N as u64 / 2..N as u64];
        let rows = Arc::new(RowsExec::new(PinnedTable::of(&info).expect("it has a digest"), columns.clone(), ranges));
        let literal = |value: ScalarValue| Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>;
        let args = vec![
            Arc::new(Column::new("embedding", 0)) as Arc<dyn PhysicalExpr>,
            literal(ScalarValue::from(self.model.to_string())),
            literal(ScalarValue::from(self.digest.as_str())),
            literal(ScalarValue::Int64(Some(2))),
        ];
        let placed = ScalarFunctionExpr::try_new(functions::place(), args, &columns, Arc::default()).expect("it fits");
        let placed = ProjectionExpr { expr: Arc::new(placed), alias: "xy".to_owned() };
        let placed = Arc::new(ProjectionExec::try_new(vec![placed], rows).expect("valid"));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let schema = Schema::new(vec![
            Field::new("xy", DataType::FixedSizeList(item, 2), true),
            Field::new("ood", DataType::Float32, true),
        ]);
        let plan = WriteExec::new(out.clone(), table.key(), Arc::new(schema), placed);
        (out, table, Arc::new(plan))
    }
}

#[test]
fn an_executor_without_a_models_reducer_names_it() {
    let cluster = Cluster::start(|port, stop| {
        let scheduler = SchedulerOptions { port, ..SchedulerOptions::default() };
        let executor = ExecutorOptions::new(ClusterAddress::new("127.0.0.1", port));
        run_standalone(&scheduler, &ExecutorOptions { port: port + 1, ..executor }, stop)
    });
    let place = Place::new();
    let (out, table, plan) = place.job();
    let job = Job { plan, table: &table, out: &out, rows: N as u64, patience: Duration::from_secs(60) };
    let engine = Engine::new().expect("threads");
    let error = run(&engine, &cluster.address, &job, &Progress::default()).expect_err("nobody can place rows");
    assert!(matches!(error, ClusterError::Job { done: 0, tasks: 2, .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("mystery-reducer 3.2.1") && text.contains("mystery/1"), "{text}");
    assert!(text.contains(&cluster.address.to_string()) && text.contains("0 of 2 parts"), "{text}");
}

#[test]
fn a_scheduler_of_another_version_says_which() {
    let (cluster, place) = (scheduler_only(), Place::new());
    let (_out, _table, plan) = place.job();
    let (here, other) = (format!("tlc-cluster {}", env!("CARGO_PKG_VERSION")), "tlc-cluster 9.9.9");
    assert_eq!(here.len(), other.len(), "or lengths in the message would have to change");
    let mut bytes = encoded(&plan).expect("encodable");
    let versions: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(here.as_bytes())).collect();
    assert_eq!(versions.len(), 2, "each node of ours says by whom it was made");
    versions.iter().for_each(|at| bytes[*at..][..other.len()].copy_from_slice(other.as_bytes()));
    let engine = Engine::new().expect("threads");
    let scheduler = Scheduler::new(&engine, &cluster.address).expect("an address");
    let text = with_causes(&scheduler.submit(&bytes).expect_err("it is of another version"));
    let expected = format!("refuses the job: the job was made by {other} on DataFusion and Ballista 54.1.0, but this");
    assert!(text.contains(&expected) && text.contains(&format!("scheduler is {VERSION}")), "{text}");
    assert!(text.contains(&cluster.address.to_string()), "{text}");
}

#[test]
fn a_job_that_is_cancelled_ends_on_the_cluster() {
    let (cluster, place) = (scheduler_only(), Place::new());
    let (_out, _table, plan) = place.job();
    let engine = Engine::new().expect("threads");
    let scheduler = Scheduler::new(&engine, &cluster.address).expect("an address");
    let job = scheduler.submit(&encoded(&plan).expect("encodable")).expect("taken");
    let begin = Instant::now();
    while scheduler.status(&job).expect("an answer") != Status::Running {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not begin");
        thread::sleep(Duration::from_millis(20));
    }
    scheduler.cancel(&job);
    assert_eq!(scheduler.status(&job).expect("an answer"), Status::Failed("Cancelled".to_owned()));
    assert_eq!(scheduler.status("no-such-job").expect("an answer"), Status::Unknown);
}

#[test]
fn a_job_whose_parts_cannot_be_counted_is_not_lost_at_once() {
    let (cluster, place) = (scheduler_only(), Place::new());
    let (out, table, plan) = place.job();
    // Where the records of parts are looked for: a file cannot be listed.
    let records = out.to_path().expect("local").join("_tlc_parts").join(table.key().to_string());
    std::fs::write(records, "").expect("writable");
    let patience = Duration::from_millis(1500);
    let job = Job { plan, table: &table, out: &out, rows: N as u64, patience };
    let (engine, begin) = (Engine::new().expect("threads"), Instant::now());
    let error = run(&engine, &cluster.address, &job, &Progress::default()).expect_err("there is no executor");
    assert!(matches!(error, ClusterError::Stalled { done: 0, tasks: 2, attempts: 3, .. }), "{error:?}");
    assert!(begin.elapsed() >= 3 * patience, "{:?}", begin.elapsed());
    let text = with_causes(&error);
    assert!(text.contains("its parts cannot be counted: cannot list file:///"), "{text}");
}

/// Ends a cluster when the parts of a job are counted for the first time, which is after it was submitted.
struct EndsCluster(Progress);

impl ProgressSink for EndsCluster {
    fn begin(&self, _task: u64, _name: &str, _total: u64) {}

    fn advance(&self, _task: u64, _steps: u64) {
        self.0.cancel();
    }

    fn end(&self, _task: u64) {}
}

#[test]
fn a_scheduler_that_goes_away_is_waited_for_before_the_job_ends() {
    let (cluster, place) = (scheduler_only(), Place::new());
    let (out, table, plan) = place.job();
    let patience = Duration::from_secs(2);
    let job = Job { plan, table: &table, out: &out, rows: N as u64, patience };
    let (engine, begin) = (Engine::new().expect("threads"), Instant::now());
    let progress = Progress::new(Arc::new(EndsCluster(cluster.stop.clone())));
    let error = run(&engine, &cluster.address, &job, &progress).expect_err("nobody runs tasks");
    assert!(matches!(error, ClusterError::Stalled { done: 0, tasks: 2, attempts: 1.., .. }), "{error:?}");
    // A patience for parts, and one between two attempts to submit it again.
    assert!(begin.elapsed() >= 2 * patience, "{:?}", begin.elapsed());
    let text = with_causes(&error);
    assert!(text.contains(&cluster.address.to_string()) && text.contains("0 of 2 parts"), "{text}");
}

#[test]
fn who_is_no_scheduler_is_told_from_one() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = ClusterAddress::new("127.0.0.1", listener.local_addr().expect("its own").port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    address.check().expect("somebody listens");
    let (engine, place) = (Engine::new().expect("threads"), Place::new());
    let (_out, _table, plan) = place.job();
    let scheduler = Scheduler::new(&engine, &address).expect("an address");
    let error = scheduler.submit(&encoded(&plan).expect("encodable")).expect_err("nobody there knows jobs");
    assert!(matches!(error, ClusterError::Answer { .. } | ClusterError::Unreachable { .. }), "{error:?}");
    assert!(with_causes(&error).contains(&address.to_string()), "{}", with_causes(&error));
}
