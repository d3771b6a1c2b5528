//! The processes of a cluster: a scheduler, executors, or both in one.
//!
//! Ballista knows no users and no passwords: whoever reaches its ports can run jobs with the executors' credentials. So
//! they listen on this machine alone unless told otherwise.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service};
use tlc_core::Progress;

use super::address::{host_problem, in_address};
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
/// A day: whoever waits longer has given a number of something else.
const MAX_SECS: u64 = 24 * 60 * 60;
/// Far more than any machine has cores.
const MAX_TASKS: usize = 65_536;
/// What errors call the processes.
const A_SCHEDULER: &str = "a scheduler";
const AN_EXECUTOR: &str = "an executor";

/// How a scheduler is run.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens. Default 127.0.0.1: for processes of this machine only.
    pub bind: IpAddr,
    /// Its port, not 0. Default 50050.
    pub port: u16,
    /// By which name executors reach it; needed where it listens at all addresses (0.0.0.0). Default: the address where it
    /// listens.
    pub host: Option<String>,
    /// Seconds without a sign of life until an executor's tasks are given to others, at least 1. Default 30.
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

impl SchedulerOptions {
    /// The address by which it is reached.
    ///
    /// # Errors
    /// Options out of their ranges; no name although it listens at all addresses.
    pub fn address(&self) -> Result<ClusterAddress, ClusterError> {
        let host = reached_as(A_SCHEDULER, self.bind, self.host.as_deref())?;
        need(A_SCHEDULER, "port", self.port, 1..=u16::MAX)?;
        need(A_SCHEDULER, "executor timeout", self.executor_timeout_secs, 1..=MAX_SECS)?;
        Ok(ClusterAddress::new(host, self.port))
    }
}

/// How an executor is run.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The scheduler that it works for.
    pub scheduler: ClusterAddress,
    /// Where it listens. Default 127.0.0.1: for processes of this machine only.
    pub bind: IpAddr,
    /// By which name scheduler and clients reach it; needed where it listens at all addresses (0.0.0.0). Default: the
    /// address where it listens.
    pub host: Option<String>,
    /// Its port for what tasks answer, 1 to 65534; the next one is for tasks. Default 50051.
    pub port: u16,
    /// Tasks at once, at least 1. Default 1, since one uses all cores.
    pub tasks: usize,
    /// Where Ballista keeps what tasks answer; some hundred bytes each. Default: a temporary folder.
    pub work_dir: Option<PathBuf>,
    /// Seconds between signs of life, at least 1 and well below the scheduler's timeout. Default 5.
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

    /// By which name it is reached, as it stands before a port.
    fn reached_as(&self) -> Result<String, ClusterError> {
        need(AN_EXECUTOR, "port", self.port, 1..=u16::MAX - 1)?;
        need(AN_EXECUTOR, "number of tasks at once", self.tasks, 1..=MAX_TASKS)?;
        need(AN_EXECUTOR, "heartbeat", self.heartbeat_secs, 1..=MAX_SECS)?;
        reached_as(AN_EXECUTOR, self.bind, self.host.as_deref())
    }
}

/// Refuses a value out of a range.
fn need<T: PartialOrd + Display>(
    process: &'static str,
    option: &'static str,
    value: T,
    accepted: RangeInclusive<T>,
) -> Result<(), ClusterError> {
    match accepted.contains(&value) {
        true => Ok(()),
        false => {
            let accepted = format!("{} to {} are possible", accepted.start(), accepted.end());
            Err(ClusterError::Option { process, option, value: value.to_string(), accepted })
        }
    }
}

/// By which name others reach a process, as it stands before a port.
fn reached_as(process: &'static str, bind: IpAddr, host: Option<&str>) -> Result<String, ClusterError> {
    let refused = |option, value: String, accepted: &str| {
        Err(ClusterError::Option { process, option, value, accepted: accepted.to_owned() })
    };
    match host {
        None if bind.is_unspecified() => refused(
            "bind",
            bind.to_string(),
            "there nobody else can reach it, so name the host by which others do, too (`--host NAME`)",
        ),
        None => Ok(in_address(&bind.to_string())),
        Some(host) => match host_problem(host) {
            None => Ok(host.to_owned()),
            Some(reason) => refused("host", format!("{host:?}"), reason),
        },
    }
}

/// Runs a scheduler until the caller wants to stop.
///
/// # Errors
/// Options as in [`SchedulerOptions::address`]; a port that is taken; cancellation.
pub fn run_scheduler(options: &SchedulerOptions, progress: &Progress) -> Result<(), ClusterError> {
    options.address()?;
    Engine::new()?.wait("run a scheduler", progress, || scheduler(options))?
}

/// Runs an executor until its process is told to stop (ctrl-C, SIGTERM): it finishes its tasks first. It also ends when
/// its scheduler tells it to, having thought it dead for want of signs of life.
///
/// # Errors
/// Options out of their ranges; a scheduler that cannot be reached; ports that are taken.
pub fn run_executor(options: &ExecutorOptions) -> Result<(), ClusterError> {
    options.reached_as()?;
    options.scheduler.check()?;
    Engine::new()?.wait("run an executor", &Progress::default(), || executor(options))?
}

/// Runs a scheduler and one executor of `tasks` tasks at once in this process, until the caller wants to stop.
///
/// # Errors
/// Options out of their ranges; ports that are taken; cancellation.
pub fn run_standalone(
    scheduler_options: &SchedulerOptions,
    executor_options: &ExecutorOptions,
    progress: &Progress,
) -> Result<(), ClusterError> {
    scheduler_options.address()?;
    executor_options.reached_as()?;
    // What a scheduler elsewhere allows is not known here.
    let longest = scheduler_options.executor_timeout_secs.saturating_sub(1);
    need(AN_EXECUTOR, "heartbeat", executor_options.heartbeat_secs, 1..=longest)?;
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
    let timeout = options.executor_timeout_secs;
    let mut config = SchedulerConfig {
        external_host: in_address(options.address()?.host()),
        bind_host: in_address(&options.bind.to_string()),
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
    // Removed when the executor has ended.
    let temporary = tempfile::tempdir().map_err(|error| ClusterError::engine("make a temporary folder", error))?;
    let work_dir = options.work_dir.as_deref().unwrap_or(temporary.path());
    let host = options.reached_as()?;
    let engine = TaskEngine::new(format!("{host}:{}", options.port));
    let config = ExecutorProcessConfig {
        bind_host: in_address(&options.bind.to_string()),
        external_host: Some(host),
        port: options.port,
        grpc_port: options.port + 1,
        scheduler_host: in_address(options.scheduler.host()),
        scheduler_port: options.scheduler.port(),
        concurrent_tasks: options.tasks,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work_dir.to_string_lossy().into_owned()),
        executor_heartbeat_interval_seconds: options.heartbeat_secs,
        override_physical_codec: Some(Arc::new(NodeCodec::of_executor())),
        override_execution_engine: Some(Arc::new(engine)),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config)).await.map_err(|error| ClusterError::engine("run an executor", error))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn executor() -> ExecutorOptions {
        ExecutorOptions::new(ClusterAddress::new("127.0.0.1", SCHEDULER_PORT))
    }

    #[test]
    fn who_listens_everywhere_must_say_how_others_reach_it() {
        let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let scheduler = SchedulerOptions { bind: everywhere, ..SchedulerOptions::default() };
        for error in [
            run_scheduler(&scheduler, &Progress::default()).expect_err("refused").to_string(),
            run_executor(&ExecutorOptions { bind: everywhere, ..executor() }).expect_err("refused").to_string(),
        ] {
            assert!(error.contains("bind is 0.0.0.0") && error.contains("--host NAME"), "{error}");
        }
        let named = SchedulerOptions { host: Some("head".to_owned()), ..scheduler };
        assert_eq!(named.address().expect("reachable").to_string(), "df://head:50050");
        let bracketed = SchedulerOptions { host: Some("[fd00::1]".to_owned()), ..named };
        assert_eq!(bracketed.address().expect("reachable").to_string(), "df://[fd00::1]:50050");
        let local = SchedulerOptions { bind: Ipv6Addr::LOCALHOST.into(), host: None, ..named };
        assert_eq!(local.address().expect("reachable").to_string(), "df://[::1]:50050");
        let bare = SchedulerOptions { host: Some("fd00::1".to_owned()), ..named };
        let error = bare.address().expect_err("refused").to_string();
        assert!(error.contains("host is \"fd00::1\"") && error.contains("brackets"), "{error}");
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        let scheduler = |change: fn(&mut SchedulerOptions)| {
            let mut options = SchedulerOptions::default();
            change(&mut options);
            run_scheduler(&options, &Progress::default()).expect_err("refused").to_string()
        };
        let executor = |change: fn(&mut ExecutorOptions)| {
            let mut options = executor();
            change(&mut options);
            run_executor(&options).expect_err("refused").to_string()
        };
        let late = ExecutorOptions { heartbeat_secs: 30, ..self::executor() };
        let late = run_standalone(&SchedulerOptions::default(), &late, &Progress::default());
        for (error, expected) in [
            (scheduler(|it| it.port = 0), "a scheduler: port is 0; 1 to 65535"),
            (scheduler(|it| it.executor_timeout_secs = 0), "executor timeout is 0; 1 to 86400"),
            (executor(|it| it.port = 0), "an executor: port is 0; 1 to 65534"),
            (executor(|it| it.port = 65535), "port is 65535; 1 to 65534"),
            (executor(|it| it.tasks = 0), "number of tasks at once is 0; 1 to 65536"),
            (executor(|it| it.heartbeat_secs = 0), "heartbeat is 0; 1 to 86400"),
            (late.expect_err("refused").to_string(), "heartbeat is 30; 1 to 29"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }
}
