//! The result does not depend on where a job runs, nor on who is lost meanwhile.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow_array::Array;
use tlc_cluster::{
    Apply, ClusterAddress, ClusterError, ExecutorOptions, SchedulerOptions, Where, run_executor, run_scheduler,
    run_standalone,
};
use tlc_core::{Progress, StoreError, TableInfo, TableStore};
use tlc_table::LanceStore;

use crate::{N_ROWS, Place, rows};

/// Tells a process of this program which part of a cluster it is: `scheduler PORT WAIT` or `executor PORT SCHEDULER`.
const ROLE: &str = "TLC_CLUSTER_TEST_ROLE";
/// The test that such a process is started as.
const PROCESS: &str = "processes::the_result_does_not_depend_on_where_a_job_runs";
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds until an executor without a sign of life is lost. They give one each second; this machine may be busy.
const EXECUTOR_TIMEOUT: u64 = 6;

/// A process that ends with its value, by SIGKILL.
pub(crate) struct Process(Child);

impl Process {
    fn start(role: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().expect("a path")), role)
    }

    fn start_by(mut command: Command, role: &str) -> Self {
        command.args(["--exact", PROCESS, "--nocapture"]).env(ROLE, role);
        Self(command.spawn().expect("started"))
    }

    /// A scheduler that gives jobs up when it had no executor for `wait_secs`.
    pub(crate) fn scheduler(port: u16, wait_secs: u64) -> Self {
        let process = Self::start(&format!("scheduler {port} {wait_secs}"));
        wait_for_port(port);
        process
    }

    pub(crate) fn executor(scheduler: u16) -> Self {
        let port = free_ports(2);
        let process = Self::start(&format!("executor {port} {scheduler}"));
        wait_for_port(port);
        process
    }

    /// An executor whose system lets no file grow beyond some kilobytes, as if its disk were full.
    pub(crate) fn executor_without_room(scheduler: u16) -> Self {
        Self::limited_executor("trap '' XFSZ; ulimit -f 8", scheduler)
    }

    /// An executor that its system ends after two seconds of a processor's time, in the midst of its first long task, as
    /// one is ended whose task takes too much memory.
    pub(crate) fn executor_that_is_ended(scheduler: u16) -> Self {
        Self::limited_executor("ulimit -c 0; ulimit -t 2", scheduler)
    }

    fn limited_executor(limits: &str, scheduler: u16) -> Self {
        let port = free_ports(2);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]).arg(std::env::current_exe().expect("a path"));
        // They may be files.
        limited.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Self::start_by(limited, &format!("executor {port} {scheduler}"));
        wait_for_port(port);
        process
    }

    /// Stops it without ending it: it holds its connections and says nothing.
    pub(crate) fn freeze(&self) {
        let frozen = Command::new("kill").args(["-STOP", &self.0.id().to_string()]).status().expect("kill runs");
        assert!(frozen.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clusters of several processes, one at a time: two would take each other for dead on a small machine.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first of `n` free ports in a row.
pub(crate) fn free_ports(n: u16) -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if first.checked_add(n).is_some() && (first..first + n).all(is_free) {
            return first;
        }
    }
    panic!("there are no {n} free ports in a row");
}

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} takes too long");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Stops work that takes too long, so that a cluster that hangs is a failed test.
pub(crate) fn in_time<R>(work: impl FnOnce(&Progress) -> R) -> R {
    within(PATIENCE, work)
}

/// As [`in_time`], with a limit of its own.
pub(crate) fn within<R>(limit: Duration, work: impl FnOnce(&Progress) -> R) -> R {
    let progress = Progress::default();
    let (done, waiting) = mpsc::channel::<()>();
    let watched = progress.clone();
    thread::spawn(move || {
        if waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
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

pub(crate) fn scheduler_options(port: u16) -> SchedulerOptions {
    SchedulerOptions { port, executor_timeout_secs: EXECUTOR_TIMEOUT, ..SchedulerOptions::default() }
}

pub(crate) fn executor_options(port: u16, scheduler: u16) -> ExecutorOptions {
    ExecutorOptions { port, heartbeat_secs: 1, ..ExecutorOptions::new(address(scheduler)) }
}

pub(crate) fn address(port: u16) -> ClusterAddress {
    ClusterAddress::new("127.0.0.1", port)
}

fn take_role(role: &str) -> Result<(), ClusterError> {
    let words: Vec<&str> = role.split_whitespace().collect();
    let number = |i: usize| words[i].parse().expect("a number");
    match words[0] {
        "scheduler" => {
            let options = SchedulerOptions { executor_wait_secs: u64::from(number(2)), ..scheduler_options(number(1)) };
            run_scheduler(&options, &Progress::default())
        }
        "executor" => run_executor(&executor_options(number(1), number(2))),
        other => panic!("there is no role {other:?}"),
    }
}

/// A job that runs, and the files of its parts.
pub(crate) struct Running {
    pub(crate) job: JoinHandle<Result<TableInfo, ClusterError>>,
    data: PathBuf,
}

impl Running {
    /// Submits a job and returns when its first parts are written.
    pub(crate) fn mid_job(job: &Apply, scheduler: u16) -> Self {
        let data = job.out.to_path().expect("local").join("data");
        let job = job.clone();
        let job = thread::spawn(move || in_time(|progress| job.run(&Where::Cluster(address(scheduler)), progress)));
        let running = Self { job, data };
        wait_for("writing the first parts", || running.n_parts() >= 6);
        assert!(!running.job.is_finished() && running.n_parts() < 80, "in mid-job");
        running
    }

    pub(crate) fn n_parts(&self) -> usize {
        std::fs::read_dir(&self.data).map_or(0, Iterator::count)
    }

    pub(crate) fn end(self) -> Result<TableInfo, ClusterError> {
        self.job.join().expect("no panic")
    }
}

pub(crate) fn assert_same(found: &TableInfo, expected: &TableInfo) {
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
    let _turn = turn();
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
    one_of_two_drivers_makes_the_table(&place, ports, &here);
    stop.cancel();
    let ended = standalone.join().expect("no panic");
    assert!(matches!(ended, Err(ClusterError::Cancelled(_))), "{ended:?}");

    let scheduler = free_ports(1);
    let _scheduler = Process::scheduler(scheduler, 60);
    let first = Process::executor(scheduler);
    let _second = Process::executor(scheduler);
    let job = place.job("one-of-two-is-lost");
    let running = Running::mid_job(&job, scheduler);
    drop(first);
    let n_parts = running.n_parts();
    assert!(n_parts < 80, "it was killed in mid-job");
    let visible = LanceStore::default().info(&job.out);
    assert!(matches!(visible, Err(StoreError::NotFound { .. })), "nothing half-written is visible: {visible:?}");
    let data = running.data.clone();
    let shared = running.end().expect("applied by the other");
    assert_same(&shared, &here);
    assert_eq!(std::fs::read_dir(data).expect("there").count(), 80, "a file for each part");
    LanceStore::default().verify(&job.out, &Progress::default()).expect("the digest is right");
    let lineage = shared.lineage().expect("it has one");
    assert_eq!(lineage.inputs[0].url, place.table.relative_to(&place.root()));
    assert_eq!(lineage.models["embedding_pacmap"].url.to_string(), "models/toys");
    assert_eq!(lineage.columns["embedding_pacmap"].from[0].field, "embedding");
}

/// Two drivers that want the same table from the same cluster at once.
fn one_of_two_drivers_makes_the_table(place: &Place, scheduler: u16, expected: &TableInfo) {
    let drive = || in_time(|progress| place.job("two-drivers").run(&Where::Cluster(address(scheduler)), progress));
    let (one, other) = thread::scope(|scope| {
        let (one, other) = (scope.spawn(drive), scope.spawn(drive));
        (one.join().expect("no panic"), other.join().expect("no panic"))
    });
    match (one, other) {
        (Ok(made), Err(ClusterError::Store(StoreError::AlreadyExists { url, .. })))
        | (Err(ClusterError::Store(StoreError::AlreadyExists { url, .. })), Ok(made)) => {
            assert_eq!(url, made.url);
            assert_same(&made, expected);
        }
        both => panic!("one makes it and the other is told so: {both:?}"),
    }
}
