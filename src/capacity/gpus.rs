//! Which GPUs a job is given, as etalon and sarathi-serve give them: neighbours on one node, or whole nodes.
//!
//! The first GPU of a job of `n` has a number that `n` divides; a job on several nodes takes only nodes of which no GPU is
//! in use. Jobs are not put in another order here: who asks first waits first.

/// A GPU: its node, its number there.
pub type Gpu = (usize, usize);

/// A request that can never be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// More than there are.
    #[error("{asked} GPUs are asked for, but there are {present}")]
    TooMany {
        /// How many are asked for.
        asked: usize,
        /// How many there are.
        present: usize,
    },
    /// Several nodes, but not whole ones.
    #[error("{asked} GPUs are more than one node has and no whole nodes of {of_node}")]
    NoWholeNodes {
        /// How many are asked for.
        asked: usize,
        /// How many a node has.
        of_node: usize,
    },
}

/// A cluster of equal nodes.
#[derive(Clone, Debug)]
pub struct Gpus {
    /// By node and GPU: whether it is free.
    free: Vec<Vec<bool>>,
}

impl Gpus {
    /// All free.
    pub fn new(nodes: usize, of_node: usize) -> Self {
        Self {
            free: vec![vec![true; of_node]; nodes],
        }
    }

    /// Takes GPUs for a job; `None` when it has to wait.
    ///
    /// # Errors
    /// When no waiting helps.
    pub fn take(&mut self, count: usize) -> Result<Option<Vec<Gpu>>, GpuError> {
        let of_node = self.free.first().map_or(0, Vec::len);
        let present = of_node * self.free.len();
        if count > present {
            return Err(GpuError::TooMany {
                asked: count,
                present,
            });
        }
        let granted = if count <= of_node {
            self.on_one_node(count)
        } else if count.is_multiple_of(of_node) {
            self.whole_nodes(count / of_node)
        } else {
            return Err(GpuError::NoWholeNodes {
                asked: count,
                of_node,
            });
        };
        for &(node, gpu) in granted.iter().flatten() {
            self.free[node][gpu] = false;
        }
        Ok(granted)
    }

    /// Gives GPUs back.
    pub fn release(&mut self, gpus: &[Gpu]) {
        for &(node, gpu) in gpus {
            self.free[node][gpu] = true;
        }
    }

    fn on_one_node(&self, count: usize) -> Option<Vec<Gpu>> {
        for (node, free) in self.free.iter().enumerate() {
            let mut run = Vec::new();
            for (gpu, &is_free) in free.iter().enumerate() {
                if run.is_empty() && gpu % count.max(1) != 0 {
                    continue;
                }
                if is_free {
                    run.push((node, gpu));
                } else {
                    run.clear();
                }
                if run.len() == count {
                    return Some(run);
                }
            }
        }
        None
    }

    fn whole_nodes(&self, count: usize) -> Option<Vec<Gpu>> {
        let idle = |(_, free): &(usize, &Vec<bool>)| free.iter().all(|free| *free);
        let nodes: Vec<_> = self.free.iter().enumerate().filter(idle).take(count).collect();
        (nodes.len() == count).then(|| {
            nodes
                .into_iter()
                .flat_map(|(node, free)| (0..free.len()).map(move |gpu| (node, gpu)))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_begin_at_a_multiple() {
        let mut gpus = Gpus::new(2, 4);
        assert_eq!(gpus.take(1), Ok(Some(vec![(0, 0)])));
        assert_eq!(gpus.take(2), Ok(Some(vec![(0, 2), (0, 3)])));
        assert_eq!(gpus.take(8), Ok(None));
        assert_eq!(gpus.take(2), Ok(Some(vec![(1, 0), (1, 1)])));
        assert_eq!(gpus.take(4), Ok(None));
        gpus.release(&[(1, 0), (1, 1)]);
        assert_eq!(gpus.take(4).unwrap().unwrap().len(), 4);
    }

    #[test]
    fn several_nodes_are_whole_ones() {
        let mut gpus = Gpus::new(3, 4);
        gpus.take(1).unwrap();
        assert_eq!(gpus.take(8).unwrap().unwrap()[0], (1, 0));
        assert!(matches!(gpus.take(6), Err(GpuError::NoWholeNodes { .. })));
        assert!(matches!(gpus.take(13), Err(GpuError::TooMany { .. })));
    }

    proptest! {
        /// No GPU is given twice.
        #[test]
        fn nothing_is_given_twice(asked in prop::collection::vec((1usize..5, prop::bool::ANY), 1..40)) {
            let mut gpus = Gpus::new(3, 4);
            let mut held: Vec<Vec<Gpu>> = Vec::new();
            for (count, release) in asked {
                if release && !held.is_empty() {
                    let back = held.remove(0);
                    gpus.release(&back);
                } else if let Some(granted) = gpus.take(count).unwrap() {
                    prop_assert_eq!(granted.len(), count);
                    prop_assert!(granted.windows(2).all(|w| w[0].0 == w[1].0 && w[0].1 + 1 == w[1].1));
                    prop_assert!(held.iter().flatten().all(|gpu| !granted.contains(gpu)));
                    held.push(granted);
                }
            }
        }
    }
}
