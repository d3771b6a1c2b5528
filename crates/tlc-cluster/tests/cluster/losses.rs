//! What is lost with a scheduler or an executor, and how a job ends that cannot go on.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tlc_cluster::{Apply, ClusterError, Where};
use tlc_core::{Column, Lineage, NumberRole, Operation, Progress, TableStore, Url, with_causes};
use tlc_table::LanceStore;

use crate::processes::{Process, Running, address, assert_same, free_ports, in_time, turn, wait_for, within};
use crate::{Place, WIDTH};

/// The place is free again, and stays so: nobody who was left behind writes there.
fn assert_nothing_is_left(job: &Apply) {
    let table = job.out.to_path().expect("local");
    assert!(!table.exists());
    thread::sleep(Duration::from_millis(500));
    assert!(!table.exists(), "somebody still writes");
}

#[test]
fn a_job_survives_its_scheduler() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    let scheduler = Process::scheduler(port, 60);
    let _executor = Process::executor(port);
    let job = place.job("scheduler-is-lost");
    let running = Running::mid_job(&job, port);
    drop(scheduler);
    assert!(running.n_parts() < 80, "it was killed in mid-job");
    // The executor finds the new one by itself.
    let _scheduler = Process::scheduler(port, 60);
    assert_same(&running.end().expect("submitted again"), &here);
    LanceStore::default().verify(&job.out, &Progress::default()).expect("the digest is right");
}

#[test]
fn a_cluster_without_executors_says_so() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let _scheduler = Process::scheduler(port, 2);
    let job = place.job("nobody");
    let begin = Instant::now();
    let error = in_time(|progress| job.run(&Where::Cluster(address(port)), progress)).expect_err("nobody runs tasks");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert!(matches!(error, ClusterError::Job { done: 0, tasks: 80, .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("there was no executor for 2 s"), "{text}");
    assert!(text.contains(&format!("tlc cluster executor --scheduler df://127.0.0.1:{port}")), "{text}");
    assert_nothing_is_left(&job);
}

#[test]
fn a_job_that_does_not_go_on_ends_with_what_is_known_of_it_and_can_be_run_again() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    let _scheduler = Process::scheduler(port, 60);
    let executor = Process::executor(port);
    // Less than it takes to notice that an executor is lost.
    let job = Apply { patience: Duration::from_secs(3), ..place.job("stuck") };
    let running = Running::mid_job(&job, port);
    executor.freeze();
    let error = running.end().expect_err("nobody runs tasks");
    let ClusterError::Stopped { source, .. } = &error else { panic!("{error:?}") };
    let ClusterError::Stalled { address: at, job: id, done, tasks: 80, attempts: 3.., .. } = source.as_ref() else {
        panic!("{error:?}");
    };
    assert!((1..80).contains(done), "{done} parts");
    let text = with_causes(&error);
    let parts = format!("{done} of 80 parts");
    for said in [at, id, &parts] {
        assert!(!said.is_empty() && text.contains(said), "{text}");
    }
    assert_eq!(*at, address(port).to_string());
    // The same job goes on with the parts once somebody runs tasks.
    drop(executor);
    let _executor = Process::executor(port);
    let made = in_time(|progress| place.job("stuck").run(&Where::Cluster(address(port)), progress));
    assert_same(&made.expect("it goes on"), &here);
    LanceStore::default().verify(&job.out, &Progress::default()).expect("the digest is right");
}

#[test]
fn a_job_that_is_cancelled_ends_on_the_cluster_too() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    let _scheduler = Process::scheduler(port, 60);
    let _executor = Process::executor(port);
    let (job, progress) = (place.job("cancelled"), Progress::default());
    let (running, wish) = (job.clone(), progress.clone());
    let running = thread::spawn(move || running.run(&Where::Cluster(address(port)), &wish));
    let data = job.out.to_path().expect("local").join("data");
    wait_for("writing the first parts", || std::fs::read_dir(&data).map_or(0, Iterator::count) >= 3);
    let begin = Instant::now();
    progress.cancel();
    let error = running.join().expect("no panic").expect_err("cancelled");
    assert!(error.is_cancelled(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_nothing_is_left(&job);
    // The cluster is free for the next.
    let next = in_time(|progress| job.run(&Where::Cluster(address(port)), progress));
    assert_same(&next.expect("applied"), &here);
}

#[test]
fn a_full_disk_ends_a_job_and_leaves_nothing() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    let _scheduler = Process::scheduler(port, 60);
    let executor = Process::executor_without_room(port);
    let job = place.job("no-room");
    let error = in_time(|progress| job.run(&Where::Cluster(address(port)), progress)).expect_err("no part has room");
    assert!(matches!(error, ClusterError::Job { done: 0, tasks: 80, .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("no-room.lance") && text.contains("File too large"), "{text}");
    assert!(text.contains("(on the executor 127.0.0.1:"), "its machine is named: {text}");
    assert_nothing_is_left(&job);
    drop(executor);
    let _executor = Process::executor(port);
    assert_same(&in_time(|progress| job.run(&Where::Cluster(address(port)), progress)).expect("there is room"), &here);
}

#[test]
fn a_task_that_one_machine_cannot_do_is_done_by_another() {
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied here");
    let _scheduler = Process::scheduler(port, 60);
    let _full = Process::executor_without_room(port);
    let _executor = Process::executor(port);
    let job = place.job("one-has-room");
    assert_same(&in_time(|progress| job.run(&Where::Cluster(address(port)), progress)).expect("one has room"), &here);
    LanceStore::default().verify(&job.out, &Progress::default()).expect("the digest is right");
}

/// A table whose one task takes a processor many seconds.
fn write_many_rows(url: &Url, n_rows: usize) {
    let values = (0..n_rows * WIDTH).map(|i| ((i * 7919) % 10_007) as f32 / 1000.0).collect();
    let embedding = Column::embedding("embedding", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
    let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
    let schema = Arc::new(lineage.write_into(&Schema::new(vec![embedding.field])));
    let rows = RecordBatch::try_new(schema.clone(), vec![embedding.values]).expect("valid");
    LanceStore::default().create(url, schema, Box::new([Ok(rows)].into_iter())).expect("a free place");
}

#[test]
fn a_task_that_ends_whoever_runs_it_ends_the_job() {
    const N_MANY: usize = 2_000_000;
    let _turn = turn();
    let (place, port) = (Place::new(), free_ports(1));
    let table = place.root().join("datasets/toys/many.lance").expect("valid");
    write_many_rows(&table, N_MANY);
    let _scheduler = Process::scheduler(port, 60);
    let _executors = [(); 3].map(|()| Process::executor_that_is_ended(port));
    let job = Apply { table, rows_per_task: N_MANY as u64, ..place.job("too-much") };
    // Three executors are lost one after the other, each of which has to be noticed.
    let run = |progress: &Progress| job.run(&Where::Cluster(address(port)), progress);
    let error = within(Duration::from_secs(180), run).expect_err("nobody can do it");
    assert!(matches!(error, ClusterError::Job { done: 0, tasks: 1, .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("part 0 was being written by each of the executors 127.0.0.1:"), "{text}");
    assert!(text.contains("--rows-per-task") && text.contains("--tasks"), "{text}");
    assert_nothing_is_left(&job);
}
