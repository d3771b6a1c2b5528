//! What a driver asks a scheduler, over Ballista's own protocol.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::serde::protobuf::execute_query_failure_result::Failure;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result::Result as Submitted;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{CancelJobParams, ExecuteQueryParams, GetJobStatusParams, job_status};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use datafusion::prelude::SessionConfig;
use tlc_core::ulid::Ulid;
use tlc_core::{Progress, with_causes};
use tonic::transport::Channel;
use tonic::{Code, Response};

use super::said::Said;
use super::{ClusterAddress, VERSION};
use crate::ClusterError;
use crate::runtime::Engine;

/// Seconds that a connection and an answer may take.
const CONNECT_SECS: u64 = 5;
const ANSWER_SECS: u64 = 10;
/// The answer to a job of ten thousand tasks is some megabytes.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// How often it is said that a job shall end, and how long that may take.
const CANCEL: Duration = Duration::from_millis(50);
const ENDS_WITHIN: Duration = Duration::from_secs(5);

type Client = SchedulerGrpcClient<Channel>;

/// How a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// It was submitted just now, or the scheduler was started anew since.
    Unknown,
    /// It waits for executors or runs.
    Running,
    /// All tasks are done.
    Successful,
    /// It was given up, for this reason.
    Failed(String),
}

/// A scheduler that is asked from this process. It is connected to when it is asked, again if need be.
pub(super) struct Scheduler<'a> {
    engine: &'a Engine,
    address: &'a ClusterAddress,
    client: Client,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(engine: &'a Engine, address: &'a ClusterAddress) -> Result<Self, ClusterError> {
        let config = GrpcClientConfig {
            connect_timeout_seconds: CONNECT_SECS,
            timeout_seconds: ANSWER_SECS,
            ..GrpcClientConfig::default()
        };
        let endpoint = create_grpc_client_endpoint(address.endpoint(), Some(&config))
            .map_err(|error| ClusterError::engine("prepare a connection to a scheduler", error))?;
        let channel = engine.wait("prepare a connection to a scheduler", &Progress::default(), || async move {
            endpoint.connect_lazy()
        })?;
        let client = Client::new(channel)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { engine, address, client })
    }

    /// Submits an encoded physical plan. What the scheduler calls the job.
    pub(super) fn submit(&self, plan: &[u8]) -> Result<String, ClusterError> {
        let config = SessionConfig::new_with_ballista().with_ballista_job_name("tlc apply");
        let params = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(plan.to_vec())),
            settings: config.to_key_value_pairs(),
            session_id: Ulid::generate().to_string(),
            operation_id: Ulid::generate().to_string(),
        };
        let answer = self.ask(|mut client| async move { client.execute_query(params).await })?;
        let refused = |text: &str| ClusterError::Refused { address: self.address.to_string(), reason: said(text) };
        match answer.result {
            Some(Submitted::Success(job)) => Ok(job.job_id),
            Some(Submitted::Failure(failure)) => Err(match failure.failure {
                Some(Failure::PlanParsingFailure(text) | Failure::SqlParsingFailure(text)) => refused(&text),
                other => refused(&format!("{other:?}")),
            }),
            None => Err(self.answer("a job was submitted and nothing came back".to_owned())),
        }
    }

    pub(super) fn status(&self, job: &str) -> Result<Status, ClusterError> {
        let params = GetJobStatusParams { job_id: job.to_owned() };
        let answer = self.ask(|mut client| async move { client.get_job_status(params).await })?;
        Ok(match answer.status.and_then(|job| job.status) {
            None => Status::Unknown,
            Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => Status::Running,
            Some(job_status::Status::Successful(_)) => Status::Successful,
            Some(job_status::Status::Failed(job)) => Status::Failed(said(&job.error)),
        })
    }

    /// Ends a job and its tasks. If that fails they end by themselves: nobody wants their parts any more.
    pub(super) fn cancel(&self, job: &str) {
        let begin = Instant::now();
        loop {
            let params = CancelJobParams { job_id: job.to_owned() };
            let asked = self.ask(|mut client| async move { client.cancel_job(params).await });
            // More than once: a scheduler forgets the wish if the job was submitted just now.
            std::thread::sleep(CANCEL);
            let error = match asked.and_then(|_| self.status(job)) {
                Ok(Status::Running) if begin.elapsed() < ENDS_WITHIN => continue,
                Ok(Status::Running) => "it still runs".to_owned(),
                Ok(_) => return,
                Err(error) => with_causes(&error),
            };
            tracing::warn!(cluster = %self.address, job, error, "cannot cancel a job; its tasks end by themselves");
            return;
        }
    }

    /// Not interrupted by a wish to stop: a job whose name has not arrived could not be cancelled.
    fn ask<T: Send, F>(&self, request: impl FnOnce(Client) -> F + Send) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<Response<T>, tonic::Status>>,
    {
        let client = self.client.clone();
        let answer = self.engine.wait("ask a scheduler", &Progress::default(), || request(client))?;
        let failed = |status: tonic::Status| match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                let source = io::Error::other(status.message().to_owned());
                ClusterError::Unreachable { address: self.address.to_string(), source }
            }
            code => self.answer(format!("{} ({code:?})", said(status.message()))),
        };
        answer.map(Response::into_inner).map_err(failed)
    }

    fn answer(&self, reason: String) -> ClusterError {
        ClusterError::Answer { address: self.address.to_string(), expected: VERSION, reason }
    }
}

/// What a task or our codec said, or why that is not known.
fn said(text: &str) -> String {
    match text.contains("BallistaPhysicalPlanNode") {
        true => {
            format!("its scheduler does not know the plans of tlc; start it by `tlc cluster scheduler` ({VERSION})")
        }
        false => Said::find_in(text).text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_without_our_plans_is_told_how_to_start() {
        assert!(said("Could not deserialize BallistaPhysicalPlanNode: …").contains("tlc cluster scheduler"));
        assert_eq!(said("Stream closed\n"), "Stream closed");
    }
}
