//! What a response amounts to, added up while it streams in.

use super::event::{self, ErrorFrame, Event, Keys, Usage};
use super::sse::Scanner;
use crate::trial::{Outcome, RawRow};

/// No server puts more tokens into one event; a larger count is a mistake that must not cost memory.
const MOST_TOKENS_AN_EVENT: u32 = 4096;

/// A response as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Tally {
    scanner: Scanner,
    /// Arrival of the first token, nanoseconds since the start of the trial.
    pub(super) first_ns: Option<u64>,
    /// Arrival of the last token.
    last_ns: u64,
    /// Arrival of the last token in whole microseconds after the first, as the gaps add up to.
    gaps_sum_us: u64,
    gaps_us: Vec<u32>,
    /// Tokens accounted for in `first_ns` and `gaps_us`.
    counted: u32,
    usage: Option<Usage>,
    finish: Option<String>,
    error: Option<ErrorFrame>,
    done: bool,
    malformed: Option<String>,
    events: u32,
}

impl Tally {
    /// Whether any byte of an event was understood.
    pub(super) fn has_events(&self) -> bool {
        self.events > 0
    }

    /// Arrival of the last token, where one came.
    pub(super) fn last_token_ns(&self) -> Option<u64> {
        self.first_ns.map(|_| self.last_ns)
    }

    /// Token counts as the server gave them.
    pub(super) fn usage(&self) -> Usage {
        self.usage.unwrap_or_default()
    }

    /// Tokens that have come.
    pub(super) fn counted(&self) -> u32 {
        self.counted
    }

    /// Reserves room for the gaps of `tokens` tokens.
    pub(super) fn expect(&mut self, tokens: u32) {
        self.gaps_us.reserve(tokens.saturating_sub(1).min(4096) as usize);
    }

    /// Takes a piece of the body that arrived at `at_ns`.
    pub(super) fn feed(&mut self, keys: &Keys, piece: &[u8], at_ns: u64) {
        let mut scanner = std::mem::take(&mut self.scanner);
        scanner.feed(piece, |field, data| self.event(keys, field, data, at_ns));
        self.scanner = scanner;
    }

    /// The body is over.
    pub(super) fn finish(&mut self, keys: &Keys, at_ns: u64) {
        let mut scanner = std::mem::take(&mut self.scanner);
        scanner.finish(|field, data| self.event(keys, field, data, at_ns));
    }

    fn event(&mut self, keys: &Keys, field: super::sse::Field, data: &[u8], at_ns: u64) {
        self.events += 1;
        // The first event is always parsed, so that a dialect that the search does not know is noticed.
        if self.counted > 0 && field == super::sse::Field::Data && keys.is_plain_token(data) {
            self.tokens(1, at_ns);
            return;
        }
        let event = event::parse(field, data);
        self.apply(event, data, at_ns);
    }

    fn apply(&mut self, event: Event, data: &[u8], at_ns: u64) {
        if event.malformed && self.malformed.is_none() {
            self.malformed = Some(crate::endpoint::said(data));
        }
        // Servers that count as they go tell how many tokens an event holds; others are taken to send one an event.
        let told = event.usage.and_then(|u| u.completion);
        if event.token {
            let fresh = told.map_or(1, |total| {
                total.saturating_sub(self.counted).clamp(1, MOST_TOKENS_AN_EVENT)
            });
            self.tokens(fresh, at_ns);
        }
        self.usage = event.usage.or(self.usage);
        self.finish = event.finish.or(self.finish.take());
        self.error = self.error.take().or(event.error);
        self.done |= event.done;
    }

    /// Accounts for `count` tokens that came together: all but the first have gap 0.
    fn tokens(&mut self, count: u32, at_ns: u64) {
        let mut left = count;
        if let Some(first) = self.first_ns {
            // Gaps are differences of rounded times, so that their sum does not drift.
            let since_us = at_ns.saturating_sub(first) / 1_000;
            let gap = since_us.saturating_sub(self.gaps_sum_us);
            self.gaps_us.push(u32::try_from(gap).unwrap_or(u32::MAX));
            self.gaps_sum_us += gap;
        } else {
            self.first_ns = Some(at_ns);
        }
        left -= 1;
        self.gaps_us.extend(std::iter::repeat_n(0, left as usize));
        self.counted += count;
        self.last_ns = at_ns.max(self.last_ns);
    }

    /// Judges a response whose body came to its end; the words say what is wrong with it.
    pub(super) fn judge(&self, asked: u32) -> (Outcome, Option<String>) {
        if let Some(frame) = &self.error {
            return (Outcome::ErrorFrame(frame.code), Some(frame.message.clone()));
        }
        if let Some(text) = &self.malformed {
            return (
                Outcome::BadResponse,
                Some(format!("not an event of the API: {text}")),
            );
        }
        if self.finish.is_none() && !self.done {
            let why = "the stream ended without a finish reason";
            return (Outcome::BrokenStream, Some(why.to_owned()));
        }
        if self.counted == 0 && self.usage.and_then(|u| u.completion).unwrap_or(0) == 0 {
            return (Outcome::NoTokens, None);
        }
        if self.counted == 0 {
            return (
                Outcome::NoTokens,
                Some("the server counts tokens but sent no text".to_owned()),
            );
        }
        if self.finish.is_none() {
            let why = "the stream has no finish reason";
            return (Outcome::BadResponse, Some(why.to_owned()));
        }
        let arrived = self.usage.and_then(|u| u.completion).unwrap_or(self.counted);
        if arrived != asked {
            let why = format!("asked for {asked} tokens, got {arrived}");
            return (Outcome::WrongLength, Some(why));
        }
        (Outcome::Ok, None)
    }

    /// Moves what was counted into the row.
    pub(super) fn fill(self, row: &mut RawRow) {
        let sent = row.sent_ns.unwrap_or_default();
        row.first_us = self.first_ns.map(|t| t.saturating_sub(sent) / 1_000);
        row.gaps_us = self.gaps_us;
        row.finish = self.finish;
        if let Some(usage) = self.usage {
            row.input_used = usage.prompt;
            row.output_used = usage.completion;
            row.cached = usage.cached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(pieces: &[(&str, u64)]) -> Tally {
        let keys = Keys::default();
        let mut tally = Tally::default();
        for (piece, at) in pieces {
            tally.feed(&keys, piece.as_bytes(), *at);
        }
        tally.finish(&keys, pieces.last().map_or(0, |p| p.1));
        tally
    }

    const A: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";
    const END: &str =
        "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";

    #[test]
    fn gaps_add_up_and_coalesced_tokens_have_none() {
        let both = format!("{A}{A}");
        let tally = tally(&[(A, 1_000_900), (&both, 2_001_800), (END, 3_002_700)]);
        assert_eq!(tally.judge(4).0, Outcome::Ok);
        let mut row = RawRow {
            sent_ns: Some(500),
            ..RawRow::default()
        };
        tally.fill(&mut row);
        assert_eq!(row.first_us, Some(1_000));
        assert_eq!(row.gaps_us, [1_000, 0, 1_001]);
        assert_eq!(row.output_tokens(), 4);
    }

    #[test]
    fn every_defect_has_its_outcome() {
        let usage = |n: u32| {
            format!(
                "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{n}}}}}\n\n"
            )
        };
        let error = "data: {\"error\":{\"message\":\"full\",\"code\":503}}\n\ndata: [DONE]\n\n".to_owned();
        let stop = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n".to_owned();
        for (stream, expected) in [
            (format!("{A}{END}"), Outcome::Ok),
            (format!("{A}{END}{}", usage(2)), Outcome::Ok),
            (format!("{A}{END}{}", usage(5)), Outcome::WrongLength),
            (format!("{A}{stop}"), Outcome::WrongLength),
            (error.clone(), Outcome::ErrorFrame(Some(503))),
            (format!("{A}{error}"), Outcome::ErrorFrame(Some(503))),
            (A.to_owned(), Outcome::BrokenStream),
            (String::new(), Outcome::BrokenStream),
            (format!("{A}data: [DONE]\n\n"), Outcome::BadResponse),
            (stop, Outcome::NoTokens),
            ("data: <html>\n\n".to_owned(), Outcome::BadResponse),
        ] {
            assert_eq!(tally(&[(&stream, 5)]).judge(2).0, expected, "{stream}");
        }
    }

    #[test]
    fn continuous_usage_splits_an_event_into_its_tokens() {
        let event = |n: u32| {
            format!(
                "data: {{\"choices\":[{{\"text\":\"ab\",\"finish_reason\":null}}],\"usage\":{{\"completion_tokens\":{n}}}}}\n\n"
            )
        };
        let mut row = RawRow::default();
        tally(&[(&event(2), 1_000), (&event(5), 9_000)]).fill(&mut row);
        assert_eq!(row.gaps_us, [0, 8, 0, 0]);
    }
}
