//! The result does not depend on where a job runs.

use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::Array;
use tlc_cluster::{
    ClusterAddress, ClusterError, ExecutorOptions, SchedulerOptions, Where, run_executor, run_scheduler, run_standalone,
};
use tlc_core::{Progress, StoreError, TableInfo, TableStore};
use tlc_table::LanceStore;

use crate::{N_ROWS, Place, rows};

/// Tells a process of this program which part of a cluster it is: `scheduler PORT` or `executor PORT SCHEDULER`.
const ROLE: &str = "TLC_CLUSTER_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with its value.
struct Process(Child);

impl Process {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        let test = "processes::the_result_does_not_depend_on_where_a_job_runs";
        command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
        Self(command.spawn().expect("started"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first of `n` free ports in a row.
fn free_ports(n: u16) -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if first.checked_add(n).is_some() && (first..first + n).all(is_free) {
            return first;
        }
    }
    panic!("there are no {n} free ports in a row");
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Stops work that takes too long, so that a cluster that hangs is a failed test.
fn in_time<R>(work: impl FnOnce(&Progress) -> R) -> R {
    let progress = Progress::default();
    let (done, waiting) = mpsc::channel::<()>();
    let watched = progress.clone();
    thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            watched.cancel();
        }
    });
    let result = work(&progress);
    drop(done);
    result
}

fn wait_for_port(port: u16) {
    wait_for("starting a process", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

fn scheduler_options(port: u16) -> SchedulerOptions {
    SchedulerOptions { port, executor_timeout_secs: 3, ..SchedulerOptions::default() }
}

fn executor_options(port: u16, scheduler: u16) -> ExecutorOptions {
    ExecutorOptions { port, heartbeat_secs: 1, ..ExecutorOptions::new(address(scheduler)) }
}

fn address(port: u16) -> ClusterAddress {
    ClusterAddress::new("127.0.0.1", port)
}

fn take_role(role: &str) -> Result<(), ClusterError> {
    let words: Vec<&str> = role.split_whitespace().collect();
    let port = |i: usize| words[i].parse().expect("a port");
    match words[0] {
        "scheduler" => run_scheduler(&scheduler_options(port(1)), &Progress::default()),
        "executor" => run_executor(&executor_options(port(1), port(2))),
        other => panic!("there is no role {other:?}"),
    }
}

fn assert_same(found: &TableInfo, expected: &TableInfo) {
    assert_eq!(found.rows, N_ROWS as u64);
    assert_eq!(found.digest, expected.digest, "{} and {}", found.url, expected.url);
    assert!(found.digest.is_some());
    let (found, expected) = (rows(&found.url), rows(&expected.url));
    assert_eq!(found.columns(), expected.columns(), "all values, in the same order");
}

/// Started by itself once more, in other processes, it is a scheduler or an executor.
#[test]
fn the_result_does_not_depend_on_where_a_job_runs() {
    if let Ok(role) = std::env::var(ROLE) {
        take_role(&role).expect("it runs until it is killed");
        return;
    }
    let place = Place::new();
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    assert_eq!(rows(&here.url).column_by_name("embedding_pacmap").expect("made").null_count(), 1, "the row with NaN");

    let ports = free_ports(3);
    let stop = Progress::default();
    let standalone = thread::spawn({
        let stop = stop.clone();
        move || run_standalone(&scheduler_options(ports), &executor_options(ports + 1, ports), &stop)
    });
    wait_for_port(ports + 1);
    let on_standalone = in_time(|progress| place.job("standalone").run(&Where::Cluster(address(ports)), progress));
    assert_same(&on_standalone.expect("applied by the standalone cluster"), &here);
    stop.cancel();
    let ended = standalone.join().expect("no panic");
    assert!(matches!(ended, Err(ClusterError::Cancelled(_))), "{ended:?}");

    let (scheduler, first, second) = (free_ports(1), free_ports(2), free_ports(2));
    let _scheduler = Process::start(&format!("scheduler {scheduler}"));
    wait_for_port(scheduler);
    let _first = Process::start(&format!("executor {first} {scheduler}"));
    let _second = Process::start(&format!("executor {second} {scheduler}"));
    wait_for_port(first);
    wait_for_port(second);
    let job = place.job("two-executors");
    let out = job.out.clone();
    let data = out.to_path().expect("local").join("data");
    let n_parts = || std::fs::read_dir(&data).map_or(0, Iterator::count);
    let running = thread::spawn(move || in_time(|progress| job.run(&Where::Cluster(address(scheduler)), progress)));
    wait_for("writing the first parts", || n_parts() >= 6);
    assert!(!running.is_finished() && n_parts() < 80, "in mid-job");
    let visible = LanceStore::default().info(&out);
    assert!(matches!(visible, Err(StoreError::NotFound { .. })), "nothing half-written is visible: {visible:?}");
    let shared = running.join().expect("no panic").expect("applied by both");
    assert_same(&shared, &here);
    assert_eq!(n_parts(), 80, "a file for each part");
    LanceStore::default().verify(&out, &Progress::default()).expect("the digest is right");
    let lineage = shared.lineage().expect("it has one");
    assert_eq!(lineage.inputs[0].url, place.table.relative_to(&place.root()));
    assert_eq!(lineage.models["embedding_pacmap"].url.to_string(), "models/toys");
    assert_eq!(lineage.columns["embedding_pacmap"].from[0].field, "embedding");
}
