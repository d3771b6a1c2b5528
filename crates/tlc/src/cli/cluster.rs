//! `tlc cluster`: the processes of a cluster.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use tlc::cluster::{
    ClusterAddress, ClusterError, ExecutorOptions, SchedulerOptions, run_executor, run_scheduler, run_standalone,
};
use tlc::core::Progress;

/// Which process is run.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    process: Process,
}

#[derive(Subcommand)]
enum Process {
    /// A scheduler and one executor in this process: a whole cluster, to try things out
    Standalone(StandaloneArgs),
    /// Deals the tasks of jobs to executors
    Scheduler(SchedulerArgs),
    /// Runs tasks; reads and writes tables with the credentials of its own environment
    Executor(ExecutorArgs),
}

#[derive(Args)]
struct SchedulerArgs {
    /// Where it listens; 0.0.0.0 for all machines, with --host. Whoever reaches it can run jobs: there are no passwords
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    bind: IpAddr,
    /// Its port
    #[arg(long, default_value_t = 50050)]
    port: u16,
    /// By which name executors reach it, or a number, of IPv6 in brackets [default: where it listens]
    #[arg(long)]
    host: Option<String>,
    /// Seconds without a sign of life until an executor's tasks are given to others
    #[arg(long, default_value_t = 30)]
    executor_timeout: u64,
    /// Seconds that jobs wait while there is no executor at all; then they are given up
    #[arg(long, default_value_t = 60)]
    executor_wait: u64,
}

impl SchedulerArgs {
    fn options(&self) -> SchedulerOptions {
        SchedulerOptions {
            bind: self.bind,
            port: self.port,
            host: self.host.clone(),
            executor_timeout_secs: self.executor_timeout,
            executor_wait_secs: self.executor_wait,
        }
    }
}

#[derive(Args)]
struct ExecutorArgs {
    /// The scheduler that it works for
    #[arg(long, value_name = "df://HOST:PORT", default_value = "df://127.0.0.1:50050")]
    scheduler: ClusterAddress,
    /// Where it listens; 0.0.0.0 for all machines, with --host
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST.into())]
    bind: IpAddr,
    /// Its port for what tasks answer; the next one is for tasks
    #[arg(long, default_value_t = 50051)]
    port: u16,
    /// By which name scheduler and clients reach it, or a number, of IPv6 in brackets [default: where it listens]
    #[arg(long)]
    host: Option<String>,
    /// Tasks at once; one uses all cores
    #[arg(long, default_value_t = 1)]
    tasks: usize,
    /// Where Ballista keeps what tasks answer [default: a temporary folder]
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Seconds between signs of life; well below the scheduler's --executor-timeout
    #[arg(long, default_value_t = 5)]
    heartbeat: u64,
}

#[derive(Args)]
struct StandaloneArgs {
    /// The port of its scheduler; the executor takes the next two
    #[arg(long, default_value_t = 50050, value_parser = clap::value_parser!(u16).range(1..65533))]
    port: u16,
    /// Tasks at once; one uses all cores
    #[arg(long, default_value_t = 1)]
    tasks: usize,
}

pub(crate) fn run(args: &ClusterArgs, progress: &Progress) -> anyhow::Result<()> {
    let ended = match &args.process {
        Process::Standalone(args) => {
            let scheduler = SchedulerOptions { port: args.port, ..SchedulerOptions::default() };
            let address = scheduler.address()?;
            say!("{address}");
            let executor = ExecutorOptions { port: args.port + 1, tasks: args.tasks, ..ExecutorOptions::new(address) };
            run_standalone(&scheduler, &executor, progress)
        }
        Process::Scheduler(args) => {
            let options = args.options();
            say!("{}", options.address()?);
            run_scheduler(&options, progress)
        }
        Process::Executor(args) => run_executor(&ExecutorOptions {
            bind: args.bind,
            host: args.host.clone(),
            port: args.port,
            tasks: args.tasks,
            work_dir: args.work_dir.clone(),
            heartbeat_secs: args.heartbeat,
            ..ExecutorOptions::new(args.scheduler.clone())
        }),
    };
    match ended {
        // To be stopped is how such a process ends.
        Err(ClusterError::Cancelled(_)) => Ok(()),
        ended => Ok(ended?),
    }
}
