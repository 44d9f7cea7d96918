//! Deadlines of audio: the frames of a stream as they become playable, counted as tokens are (veeksha's fluidity of audio).

use serde::{Deserialize, Serialize};

/// A piece of audio as it came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// When, milliseconds.
    pub receipt_ms: f64,
    /// How much, milliseconds of audio.
    pub duration_ms: f64,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioFluidity {
    /// Whole frames; what is left of the last one is not counted.
    pub playable_frames: u64,
    /// Deadlines that were kept or missed.
    pub total_deadlines: u64,
    /// Deadlines that went by without a frame.
    pub missed_deadlines: u64,
}

impl AudioFluidity {
    /// The share of deadlines that were kept.
    pub fn fluidity_index(&self) -> f64 {
        (self.total_deadlines - self.missed_deadlines) as f64 / self.total_deadlines as f64
    }
}

/// Counts the deadlines of frames of `frame_ms` each, above 0. A frame can be played once all of its audio came; the first
/// one's deadline is `startup_delay_ms` after that, so that waiting for it is measured elsewhere. `None` without a whole
/// frame.
pub fn audio_fluidity(chunks: &[Chunk], frame_ms: f64, startup_delay_ms: f64) -> Option<AudioFluidity> {
    let mut arrivals = Vec::new();
    let (mut received, mut boundary) = (0.0, frame_ms);
    let hair = frame_ms * 1e-9;
    for chunk in chunks {
        received += chunk.duration_ms;
        while received + hair >= boundary {
            arrivals.push(chunk.receipt_ms);
            boundary += frame_ms;
        }
    }
    let first = *arrivals.first()?;
    let (mut total, mut missed) = (0, 0);
    let mut slack = 0.0;
    let mut before = first;
    for (index, &arrival) in arrivals.iter().enumerate() {
        let gap = arrival - before;
        before = arrival;
        let deadline = if index == 0 { startup_delay_ms } else { frame_ms };
        if gap <= deadline + slack {
            slack += deadline - gap;
            total += 1;
        } else {
            let gone = ((gap - slack - deadline) / frame_ms).floor() as u64 + 1;
            missed += gone;
            total += gone;
            slack = 0.0;
        }
    }
    Some(AudioFluidity {
        playable_frames: arrivals.len() as u64,
        total_deadlines: total,
        missed_deadlines: missed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(pairs: &[(f64, f64)]) -> Vec<Chunk> {
        pairs
            .iter()
            .map(|&(receipt_ms, duration_ms)| Chunk {
                receipt_ms,
                duration_ms,
            })
            .collect()
    }

    #[test]
    fn a_delay_at_the_start_hides_a_gap() {
        let late = chunks(&[(0.0, 20.0), (60.0, 20.0)]);
        let counted = |delay| {
            let result = audio_fluidity(&late, 20.0, delay).unwrap();
            (result.missed_deadlines, result.total_deadlines)
        };
        assert_eq!(counted(0.0), (3, 4));
        assert_eq!(counted(40.0), (0, 2));
    }

    #[test]
    fn fragments_make_frames() {
        let whole = audio_fluidity(&chunks(&[(5.0, 20.0)]), 20.0, 0.0).unwrap();
        let parts = audio_fluidity(&chunks(&[(1.0, 5.0), (3.0, 5.0), (5.0, 12.0)]), 20.0, 0.0).unwrap();
        assert_eq!(whole, parts);
        assert_eq!(whole.fluidity_index(), 1.0);
        assert_eq!(audio_fluidity(&chunks(&[(0.0, 19.0)]), 20.0, 0.0), None);
    }
}
