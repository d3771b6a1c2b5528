//! Reading several tables at once.

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

/// More than cores: most of the time a store that is far away is waited for.
const READERS: usize = 8;

/// What `read` gives of each item, in their order.
pub(crate) fn at_once<T: Sync, R: Send>(items: &[T], read: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.iter().map(read).collect();
    }
    match ThreadPoolBuilder::new().num_threads(READERS.min(items.len())).build() {
        Ok(readers) => readers.install(|| items.par_iter().with_max_len(1).map(&read).collect()),
        // A system that has no threads left.
        Err(_) => items.iter().map(read).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn items_are_read_at_once_and_come_in_order() {
        // Nobody gets past it alone.
        let barrier = Barrier::new(2);
        let read = |item: &u32| {
            barrier.wait();
            item * 10
        };
        assert_eq!(at_once(&[1, 2, 3, 4], read), [10, 20, 30, 40]);
        assert_eq!(at_once(&[7], |item| item + 1), [8]);
        assert!(at_once(&[], |item: &u32| *item).is_empty());
    }
}
