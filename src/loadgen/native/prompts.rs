//! What prompts say.

use rand::RngExt;

use crate::loadgen::{PromptEncoding, TrialJob};
use crate::workload::{PlannedRequest, seeds};

/// A prompt, ready for a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptPayload {
    /// Token ids (completions only).
    Ids(Vec<u32>),
    /// Text.
    Text(String),
}

/// Makes the prompts of a trial. Called ahead of the send times, from a thread of its own.
pub trait PromptBodies: Send {
    /// The prompt of `request`: the same for the same `salt` and length.
    fn prompt(&mut self, request: &PlannedRequest) -> PromptPayload;
}

/// Prompts that need no file: token ids, or plain words in calibrated number. `None` where the job asks for a tokenizer,
/// which somebody else must bring.
pub fn builtin(job: &TrialJob) -> Option<Box<dyn PromptBodies>> {
    let unique = job.spec.workload.prompts.unique_prefix;
    match job.encoding {
        PromptEncoding::TokenIds { low, high } => Some(Box::new(RandomIds { low, high, unique })),
        PromptEncoding::Calibrated { overhead, per_word } => Some(Box::new(PlainWords {
            overhead,
            per_word,
            unique,
        })),
        PromptEncoding::Tokenizer { .. } => None,
    }
}

/// Token ids drawn from `[low, high)`. With a unique prefix each prompt has a stream of its own, so that no two share
/// their first tokens; else all are beginnings of the same stream.
struct RandomIds {
    low: u32,
    high: u32,
    unique: bool,
}

impl PromptBodies for RandomIds {
    fn prompt(&mut self, request: &PlannedRequest) -> PromptPayload {
        let mut rng = seeds::stream(if self.unique { request.salt } else { 0 }, "ids");
        let high = self.high.max(self.low + 1);
        PromptPayload::Ids(
            (0..request.input_tokens)
                .map(|_| rng.random_range(self.low..high))
                .collect(),
        )
    }
}

/// Common short words, most of them one token in every tokenizer.
struct PlainWords {
    overhead: f64,
    per_word: f64,
    unique: bool,
}

impl PromptBodies for PlainWords {
    fn prompt(&mut self, request: &PlannedRequest) -> PromptPayload {
        let mut rng = seeds::stream(if self.unique { request.salt } else { 0 }, "words");
        let wanted = (f64::from(request.input_tokens) - self.overhead) / self.per_word;
        let words: Vec<&str> = (0..wanted.round().max(1.0) as usize)
            .map(|_| WORDS[rng.random_range(0..WORDS.len())])
            .collect();
        PromptPayload::Text(words.join(" "))
    }
}

/// The words.
const WORDS: [&str; 64] = [
    "the", "of", "and", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as", "with",
    "his", "they", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not",
    "what", "all", "were", "we", "when", "your", "can", "said", "there", "use", "an", "each", "which", "she",
    "do", "how", "their", "if", "will", "up", "other", "about", "out", "many", "then", "them", "these", "so",
    "some", "her", "would", "make", "like", "him",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(salt: u64) -> PlannedRequest {
        PlannedRequest {
            intended_ns: 0,
            class: 0,
            input_tokens: 40,
            output_tokens: 1,
            salt,
        }
    }

    #[test]
    fn lengths_are_kept_and_prefixes_differ_where_asked() {
        for unique in [true, false] {
            let mut ids = RandomIds {
                low: 5,
                high: 9_000,
                unique,
            };
            let (PromptPayload::Ids(a), PromptPayload::Ids(b)) =
                (ids.prompt(&request(1)), ids.prompt(&request(2)))
            else {
                panic!("ids expected");
            };
            assert_eq!((a.len(), b.len()), (40, 40));
            assert!(a.iter().all(|id| (5..9_000).contains(id)));
            assert_eq!(a[..4] != b[..4], unique);
        }
        let mut words = PlainWords {
            overhead: 10.0,
            per_word: 1.5,
            unique: true,
        };
        let PromptPayload::Text(text) = words.prompt(&request(1)) else {
            panic!("text expected");
        };
        assert_eq!(text.split(' ').count(), 20);
    }
}
