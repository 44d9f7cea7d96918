//! When the tokens of a trial's requests came, and when the server began with them, as far as it is known.

/// Per request, in the order of [`Measurement::records`](super::Measurement::records). Microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenTimes {
    /// Gaps between successive tokens, those of a request behind those of the one before it. The time to the first token
    /// is not among them.
    gaps_us: Vec<u32>,
    /// Where the gaps of a request end.
    ends: Vec<u32>,
    /// From the intended send time to the first iteration, [`u64::MAX`] where it never came; empty where the load
    /// generator cannot tell, as all that see a server from outside.
    delays_us: Vec<u64>,
}

impl TokenTimes {
    /// For so many requests.
    pub fn with_capacity(requests: usize) -> Self {
        Self {
            ends: Vec::with_capacity(requests),
            ..Self::default()
        }
    }

    /// Adds the next request.
    pub fn push(&mut self, gaps_us: &[u32]) {
        self.gaps_us.extend_from_slice(gaps_us);
        self.ends.push(self.gaps_us.len() as u32);
    }

    /// Adds the next request, with the wait for its first iteration. Either all requests have one or none.
    pub fn push_delayed(&mut self, gaps_us: &[u32], delay_us: u64) {
        self.push(gaps_us);
        self.delays_us.push(delay_us);
    }

    /// Adds the wait of the first request that has none yet.
    pub fn push_delay(&mut self, delay_us: u64) {
        self.delays_us.push(delay_us);
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The gaps of a request.
    pub fn gaps_us(&self, request: usize) -> &[u32] {
        let begin = request.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.gaps_us[begin as usize..self.ends[request] as usize]
    }

    /// The gaps of all requests, one behind the other.
    pub fn all_gaps_us(&self) -> &[u32] {
        &self.gaps_us
    }

    /// The wait of a request for its first iteration, where it is known.
    pub fn delay_us(&self, request: usize) -> Option<u64> {
        self.delays_us.get(request).copied()
    }

    /// Whether waits for the first iteration are known.
    pub fn has_delays(&self) -> bool {
        !self.ends.is_empty() && self.delays_us.len() == self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_gaps() {
        let mut times = TokenTimes::with_capacity(3);
        for gaps in [&[1, 2][..], &[], &[3]] {
            times.push(gaps);
        }
        assert_eq!((times.len(), times.all_gaps_us()), (3, &[1, 2, 3][..]));
        assert_eq!(times.gaps_us(0), [1, 2]);
        assert!(times.gaps_us(1).is_empty());
        assert_eq!(times.gaps_us(2), [3]);
        assert!(!times.has_delays() && times.delay_us(0).is_none());
        let mut times = TokenTimes::default();
        times.push_delayed(&[7], 9);
        assert!(times.has_delays());
        assert_eq!(times.delay_us(0), Some(9));
    }
}
