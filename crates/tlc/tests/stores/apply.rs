//! A fitted model on a table in a bucket, by one process and by a cluster: all they share is the bucket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc::core::{
    Column, FieldRoles, Lineage, NumberRole, Operation, Progress, Scan, TableStore, Url, WriteCondition, encode_model,
    reducer_from_args,
};

use super::server::{KEY_ID, SECRET, Server};

const N_ROWS: usize = 2_000;
const WIDTH: usize = 8;
/// Eight parts.
const ROWS_PER_TASK: &str = "250";

on_server!(s3, S3: parts_in_a_bucket_make_one_table_wherever_they_are_written);
on_server!(seaweedfs, SeaweedFs: parts_in_a_bucket_make_one_table_wherever_they_are_written);

fn tlc(server: Server, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlc"));
    command.args(args).stdin(Stdio::null()).envs(server.environment(server.address())).env("AWS_TIMEOUT", "10s");
    command
}

/// A cluster that ends with its value.
struct Standalone(Child, u16);

impl Standalone {
    fn start(server: Server) -> Self {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|it| it.local_addr());
        let three = |first: u16| first < u16::MAX - 2 && (first..first + 3).all(|port| free(port).is_ok());
        let found = (0..100).map(|_| free(0).expect("a free port").port()).find(|first| three(*first));
        let port = found.expect("three free ports in a row");
        let mut command = tlc(server, &["cluster", "standalone", "--port", &port.to_string()]);
        let cluster = Self(command.stdout(Stdio::null()).spawn().expect("the command runs"), port);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port + 1)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "a cluster takes too long to begin");
            thread::sleep(Duration::from_millis(20));
        }
        cluster
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A road to a scheduler that keeps what is said to it.
struct Road {
    port: u16,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Road {
    /// It is there until the test's process ends.
    fn to(scheduler: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let said: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = said.clone();
        thread::spawn(move || {
            for driver in listener.incoming().flatten() {
                let Ok(scheduler) = TcpStream::connect(("127.0.0.1", scheduler)) else { continue };
                let ends = (driver.try_clone().expect("a handle"), scheduler.try_clone().expect("a handle"));
                let kept = kept.clone();
                thread::spawn(move || carry(driver, scheduler, |bytes| kept.lock().expect("sound").extend(bytes)));
                thread::spawn(move || carry(ends.1, ends.0, |_| {}));
            }
        });
        Self { port, said }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("sound")).into_owned()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 1 << 14];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        keep(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Whoever waits for more shall know that there is none.
    let _ = to.shutdown(Shutdown::Write);
}

/// A table with embeddings, and a model that was fitted on them.
fn table_and_model(store: &dyn TableStore, root: &Url) -> (Url, Url) {
    let values: Vec<f32> = (0..N_ROWS * WIDTH).map(|i| ((i * 7919) % 10_007) as f32 / 100.0).collect();
    let data = ndarray::ArrayView2::from_shape((N_ROWS, WIDTH), &values).expect("its shape");
    let fitted = reducer_from_args("pca", Default::default()).expect("linked");
    let fitted = fitted.fit(data, &Progress::default()).expect("fits");
    let model = root.join("models/toys").expect("a path");
    for file in encode_model(fitted.as_ref()).expect("encodable") {
        let url = model.join(file.name).expect("a path");
        store.write_object(&url, &file.content, WriteCondition::Absent).expect("free");
    }
    let embedding = Column::embedding("embedding", WIDTH, values, NumberRole::NnEmbedding).expect("whole rows");
    let id = Field::new("id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
    let schema = Arc::new(lineage.write_into(&Schema::new(vec![id, embedding.field])));
    let ids = Int64Array::from_iter_values(0..N_ROWS as i64);
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), embedding.values]).expect("valid");
    let table = root.join("datasets/toys/initial.lance").expect("a path");
    store.create(&table, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    (table, model)
}

fn parts_in_a_bucket_make_one_table_wherever_they_are_written(server: Server) {
    let root = server.bucket("jobs").join("project").expect("a path");
    let (table, model) = table_and_model(&server.store(), &root);
    let apply = |name: &str, further: &[&str]| {
        let out = root.join(&format!("datasets/toys/{name}.lance")).expect("a path");
        let (model, table, target) = (model.to_string(), table.to_string(), out.to_string());
        let args = ["apply", &model, "--table", &table, "--out", &target, "--rows-per-task", ROWS_PER_TASK];
        let output = tlc(server, &args).args(further).output().expect("the command runs");
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{error}");
        out
    };
    let here = apply("here", &[]);
    let cluster = Standalone::start(server);
    let road = Road::to(cluster.1);
    let there = apply("there", &["--cluster", &format!("df://127.0.0.1:{}", road.port), "--patience", "30"]);
    let said = road.said();
    assert!(said.contains("there.lance") && said.contains("models/toys"), "the plan went that way");
    for credential in [SECRET, KEY_ID] {
        assert!(!said.contains(credential), "credentials went that way, too");
    }
    // Without a memory of what was written.
    let store = server.store();
    let info = |url: &Url| store.info(url).expect("there");
    assert_eq!((info(&here).rows, info(&there).rows), (N_ROWS as u64, N_ROWS as u64));
    assert!(info(&here).digest.is_some());
    assert_eq!(info(&here).digest, info(&there).digest);
    for url in [&here, &there] {
        store.verify(url, &Progress::default()).expect("the digest is right");
        let folders = store.list_folders(url).expect("there");
        assert!(folders.contains(&"data".to_owned()) && !folders.contains(&"_tlc_parts".to_owned()), "{folders:?}");
    }
    let ids = store.scan(&there, Scan { columns: Some(vec!["id".to_owned()]), ..Scan::default() }).expect("there");
    let batches: Vec<RecordBatch> = ids.map(|batch| batch.expect("readable")).collect();
    let values = |batch: &RecordBatch| {
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("numbers");
        column.values().to_vec()
    };
    let ids: Vec<i64> = batches.iter().flat_map(values).collect();
    assert!(ids.iter().copied().eq(0..N_ROWS as i64), "in the order of the source");
    // Its place is taken now.
    let (model, table, there) = (model.to_string(), table.to_string(), there.to_string());
    let again = tlc(server, &["apply", &model, "--table", &table, "--out", &there]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("already exists"), "{said}");
}
