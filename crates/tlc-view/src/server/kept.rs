//! What is worked out once, by one who asks, while nobody who waits for it keeps others from working.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// A value that takes long to work out.
pub(super) struct Kept<T> {
    value: OnceLock<Arc<T>>,
    /// Locked by who works it out.
    under_way: Arc<Mutex<()>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { value: OnceLock::new(), under_way: Arc::default() }
    }
}

impl<T> Kept<T> {
    /// The value, if it is known.
    pub(super) fn known(&self) -> Option<Arc<T>> {
        self.value.get().cloned()
    }

    /// Waits until nobody else works it out: it may be known then.
    pub(super) async fn alone(&self) -> OwnedMutexGuard<()> {
        self.under_way.clone().lock_owned().await
    }

    /// The value, worked out unless it is known; only for who is [alone](Self::alone) with it.
    pub(super) fn known_or<E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        if let Some(value) = self.known() {
            return Ok(value);
        }
        let value = work()?;
        Ok(self.value.get_or_init(|| Arc::new(value)).clone())
    }
}
