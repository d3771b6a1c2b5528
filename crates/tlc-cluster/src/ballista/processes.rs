//! The processes of a cluster: a scheduler, executors, or both in one.
//!
//! Ballista knows no users and no passwords: whoever reaches its ports can run jobs with the executors' credentials. So
//! they listen on this machine alone unless told otherwise.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service};
use tlc_core::Progress;

use super::codec::NodeCodec;
use super::dealer::Dealer;
use super::engine::TaskEngine;
use super::{ClusterAddress, keeper};
use crate::ClusterError;
use crate::runtime::Engine;

/// The port of schedulers, as Ballista has it.
const SCHEDULER_PORT: u16 = 50050;
/// The first of an executor's two ports.
const EXECUTOR_PORT: u16 = 50051;

/// How a scheduler is run.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens. Default 127.0.0.1: for processes of this machine only.
    pub bind: IpAddr,
    /// Its port. Default 50050.
    pub port: u16,
    /// By which name executors reach it. Default: the address where it listens.
    pub host: Option<String>,
    /// Seconds without a sign of life until an executor's tasks are given to others. Default 30.
    pub executor_timeout_secs: u64,
    /// Seconds that jobs wait while there is no executor at all; then they are given up. Default 60.
    pub executor_wait_secs: u64,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: SCHEDULER_PORT,
            host: None,
            executor_timeout_secs: 30,
            executor_wait_secs: 60,
        }
    }
}

/// How an executor is run.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The scheduler that it works for.
    pub scheduler: ClusterAddress,
    /// Where it listens. Default 127.0.0.1: for processes of this machine only.
    pub bind: IpAddr,
    /// By which name scheduler and clients reach it. Default: the address where it listens.
    pub host: Option<String>,
    /// Its port for what tasks answer; the next one is for tasks. Default 50051.
    pub port: u16,
    /// Tasks at once. Default 1, since one uses all cores.
    pub tasks: usize,
    /// Where Ballista keeps what tasks answer; some hundred bytes each. Default: a temporary folder.
    pub work_dir: Option<PathBuf>,
    /// Seconds between signs of life; well below the scheduler's timeout. Default 5.
    pub heartbeat_secs: u64,
}

impl ExecutorOptions {
    /// The defaults, working for `scheduler`.
    pub fn new(scheduler: ClusterAddress) -> Self {
        Self {
            scheduler,
            bind: Ipv4Addr::LOCALHOST.into(),
            host: None,
            port: EXECUTOR_PORT,
            tasks: 1,
            work_dir: None,
            heartbeat_secs: 5,
        }
    }
}

/// Runs a scheduler until the caller wants to stop.
///
/// # Errors
/// A port that is taken; cancellation.
pub fn run_scheduler(options: &SchedulerOptions, progress: &Progress) -> Result<(), ClusterError> {
    Engine::new()?.wait("run a scheduler", progress, || scheduler(options))?
}

/// Runs an executor until its process is told to stop (ctrl-C, SIGTERM): it finishes its tasks first. It also ends when
/// its scheduler tells it to, having thought it dead for want of signs of life.
///
/// # Errors
/// A scheduler that cannot be reached; ports that are taken.
pub fn run_executor(options: &ExecutorOptions) -> Result<(), ClusterError> {
    options.scheduler.check()?;
    Engine::new()?.wait("run an executor", &Progress::default(), || executor(options))?
}

/// Runs a scheduler and one executor of `tasks` tasks at once in this process, until the caller wants to stop.
///
/// # Errors
/// Ports that are taken; cancellation.
pub fn run_standalone(
    scheduler_options: &SchedulerOptions,
    executor_options: &ExecutorOptions,
    progress: &Progress,
) -> Result<(), ClusterError> {
    Engine::new()?.wait("run a cluster", progress, || async {
        let both = async {
            while tokio::net::TcpStream::connect((scheduler_options.bind, scheduler_options.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            executor(executor_options).await
        };
        tokio::select! {
            ended = scheduler(scheduler_options) => ended,
            ended = both => ended,
        }
    })?
}

async fn scheduler(options: &SchedulerOptions) -> Result<(), ClusterError> {
    let timeout = options.executor_timeout_secs.max(1);
    let mut config = SchedulerConfig {
        external_host: options.host.clone().unwrap_or_else(|| options.bind.to_string()),
        bind_host: options.bind.to_string(),
        bind_port: options.port,
        // Executors that wait for tasks give signs of life also while all of them are busy; those that ask do not.
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        executor_timeout_seconds: timeout,
        expire_dead_executor_interval_seconds: timeout.div_ceil(3),
        override_physical_codec: Some(Arc::new(NodeCodec::of_scheduler())),
        ..SchedulerConfig::default()
    };
    let failed = |error| ClusterError::engine("run a scheduler", error);
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(failed)?;
    config.task_distribution = TaskDistributionPolicy::Custom(Arc::new(Dealer::new(cluster.cluster_state())));
    let server: keeper::Server = create_scheduler(cluster.clone(), Arc::new(config)).await.map_err(failed)?;
    let patience = Duration::from_secs(options.executor_wait_secs);
    tokio::select! {
        ended = start_grpc_service(SocketAddr::new(options.bind, options.port), server.clone()) => ended.map_err(failed),
        never = keeper::keep(server.clone(), cluster.cluster_state(), patience) => match never {},
    }
}

async fn executor(options: &ExecutorOptions) -> Result<(), ClusterError> {
    let no_ports = || ClusterError::engine("run an executor", "its port is 65535; the next one is needed too");
    // Removed when the executor has ended.
    let temporary = tempfile::tempdir().map_err(|error| ClusterError::engine("make a temporary folder", error))?;
    let work_dir = options.work_dir.as_deref().unwrap_or(temporary.path());
    let host = options.host.clone().unwrap_or_else(|| options.bind.to_string());
    let engine = TaskEngine::new(format!("{host}:{}", options.port));
    let config = ExecutorProcessConfig {
        bind_host: options.bind.to_string(),
        external_host: Some(host),
        port: options.port,
        grpc_port: options.port.checked_add(1).ok_or_else(no_ports)?,
        scheduler_host: options.scheduler.host().to_owned(),
        scheduler_port: options.scheduler.port(),
        concurrent_tasks: options.tasks.max(1),
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work_dir.to_string_lossy().into_owned()),
        executor_heartbeat_interval_seconds: options.heartbeat_secs.max(1),
        override_physical_codec: Some(Arc::new(NodeCodec::of_executor())),
        override_execution_engine: Some(Arc::new(engine)),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config)).await.map_err(|error| ClusterError::engine("run an executor", error))
}
