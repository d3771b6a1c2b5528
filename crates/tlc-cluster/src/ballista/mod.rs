//! Jobs on an Apache Ballista cluster, and the processes of one.
//!
//! Scheduling is Ballista's. Ours are the [codec](codec) for two plan nodes and three functions, the
//! [driver](driver), which knows by the parts of the table how far a job is and submits it again when it does not go on,
//! the scheduler's [keeper](keeper), without which a job waits for ever once an executor is lost at a bad moment, and the
//! executor's [engine](engine), without which no task is tried again; the [dealer](dealer) gives it to another executor then.

mod address;
mod client;
mod codec;
mod dealer;
mod driver;
mod engine;
mod keeper;
mod processes;
mod refused;
mod said;
#[cfg(test)]
mod tests;

pub use address::ClusterAddress;
pub(crate) use driver::{Job, run};
pub use processes::{ExecutorOptions, SchedulerOptions, run_executor, run_scheduler, run_standalone};

/// What each process of a cluster must be.
const VERSION: &str = concat!("tlc-cluster ", env!("CARGO_PKG_VERSION"), " on DataFusion and Ballista 54.1.0");
