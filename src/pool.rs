//! Tasks on all cores. Results are in the order of the tasks, whoever did them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// `of(0)` to `of(count - 1)` on all cores.
pub(crate) fn each<R: Send>(count: usize, of: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let places: Vec<usize> = (0..count).collect();
    run(cores, &places, |place| of(*place))
}

/// Runs `task` for each of `tasks`, on so many threads at most.
pub(crate) fn run<T: Sync, R: Send>(threads: usize, tasks: &[T], task: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(tasks.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = tasks.get(place) else { return };
                    let result = task(one);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn order_is_kept() {
        for count in [0, 1, 2, 7, 100] {
            let wanted: Vec<usize> = (0..count).map(|i| i * i).collect();
            assert_eq!(super::each(count, |i| i * i), wanted);
        }
    }
}
