//! The one async runtime, and the only places that wait for it.
//!
//! Lance is async, the contract blocks. Each wait happens on a thread of its own, so that it works
//! when the caller is a task of somebody else's runtime, where blocking in place would panic; and a
//! panic in Lance, which some damaged manifests cause, ends as an error.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};

use futures::{Stream, StreamExt};
use tokio::runtime::{Builder, Runtime};

/// Batches that wait between Lance and the caller: enough to overlap, little memory.
pub(crate) const QUEUED_BATCHES: usize = 2;

/// The work panicked; its message went to the panic hook.
#[derive(Debug, thiserror::Error)]
#[error("the storage engine panicked: {0}")]
pub(crate) struct Panicked(String);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .enable_all()
            .thread_name("tlc-table")
            .build()
            .expect("the operating system gives us threads")
    })
}

/// Runs the future that `work` makes to its end.
pub(crate) fn wait<F: Future>(work: impl FnOnce() -> F + Send) -> Result<F::Output, Panicked>
where
    F::Output: Send,
{
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(work())).join()).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Panicked(text.unwrap_or_else(|| "no message".to_owned()))
    })
}

/// What a [`pump`] delivers.
pub(crate) enum Pumped<T> {
    /// The next item.
    Item(T),
    /// The stream came to its end. Without this, the pump died.
    End,
}

/// Drives a stream from a thread of its own.
pub(crate) fn pump<S>(stream: S) -> Receiver<Pumped<S::Item>>
where
    S: Stream + Send + 'static,
    S::Item: Send,
{
    let (sender, receiver) = sync_channel(QUEUED_BATCHES);
    std::thread::spawn(move || {
        let mut stream = std::pin::pin!(stream);
        while let Some(item) = runtime().block_on(stream.next()) {
            if sender.send(Pumped::Item(item)).is_err() {
                return; // The reader lost interest.
            }
        }
        let _ = sender.send(Pumped::End);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_works_inside_another_runtime() {
        let theirs = Builder::new_current_thread().build().expect("a runtime");
        let found = theirs.block_on(async { wait(|| async { 6 * 7 }) });
        assert_eq!(found.expect("no panic"), 42);
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let result = wait::<std::future::Ready<()>>(|| panic!("slice index starts at 5"));
        let error = result.expect_err("it panicked");
        assert_eq!(error.to_string(), "the storage engine panicked: slice index starts at 5");
    }
}
