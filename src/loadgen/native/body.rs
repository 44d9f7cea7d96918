//! The body of a request, and the fields that a server may not know.

use bytes::Bytes;
use serde::Serialize;

use crate::loadgen::Api;
use crate::workload::prompts::Prompt;

/// A field that improves the measurement but that a strict server may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Optional {
    /// vLLM's lower bound of the output length.
    MinTokens,
    /// Generate on past the end-of-text token.
    IgnoreEos,
    /// Token counts at the end of a stream.
    StreamOptions,
    /// Sampling seed.
    Seed,
    /// Sampling temperature 0.
    Temperature,
}

impl Optional {
    /// All, in the order in which they are given up.
    pub(super) const ALL: [Self; 5] = [
        Self::MinTokens,
        Self::IgnoreEos,
        Self::StreamOptions,
        Self::Seed,
        Self::Temperature,
    ];

    /// The name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MinTokens => "min_tokens",
            Self::IgnoreEos => "ignore_eos",
            Self::StreamOptions => "stream_options",
            Self::Seed => "seed",
            Self::Temperature => "temperature",
        }
    }
}

/// What all bodies of a trial have in common.
#[derive(Clone, Debug)]
pub(super) struct BodyForm {
    /// The API.
    pub(super) api: Api,
    /// The model's name.
    pub(super) model: String,
    /// Fields that the server refused.
    pub(super) dropped: Vec<Optional>,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Wire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<[Message<'a>; 1]>,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Wire<'a> {
    Ids(&'a [u32]),
    Text(&'a str),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// `continuous_usage_stats` is not asked for: it makes every event larger, and with it the server's and the client's
/// work; the count at the end settles the length.
#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl BodyForm {
    /// The body of one request.
    pub(super) fn body(&self, prompt: &Prompt, output_tokens: u32, salt: u64) -> Bytes {
        let optional = |field| !self.dropped.contains(&field);
        let (completion, chat) = match (self.api, prompt) {
            (Api::Completions, Prompt::Ids(ids)) => (Some(Wire::Ids(ids)), None),
            (Api::Completions, Prompt::Text { text, .. }) => (Some(Wire::Text(text)), None),
            (Api::Chat, Prompt::Text { text, .. }) => (None, Some(text.as_str())),
            (Api::Chat, Prompt::Ids(_)) => unreachable!("a job with token ids for chat is refused"),
        };
        let body = Body {
            model: &self.model,
            prompt: completion,
            messages: chat.map(|content| {
                [Message {
                    role: "user",
                    content,
                }]
            }),
            max_tokens: output_tokens,
            min_tokens: optional(Optional::MinTokens).then_some(output_tokens),
            ignore_eos: optional(Optional::IgnoreEos).then_some(true),
            temperature: optional(Optional::Temperature).then_some(0),
            // 31 bits: some servers read a signed integer.
            seed: optional(Optional::Seed).then_some((salt >> 33) as u32),
            stream: true,
            stream_options: optional(Optional::StreamOptions)
                .then_some(StreamOptions { include_usage: true }),
        };
        serde_json::to_vec(&body)
            .expect("a body has string keys only")
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_hold_what_the_apis_want() {
        let mut form = BodyForm {
            api: Api::Completions,
            model: "m".to_owned(),
            dropped: Vec::new(),
        };
        let body = form.body(&Prompt::Ids(vec![4, 5]), 8, 1 << 33);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"model":"m","prompt":[4,5],"max_tokens":8,"min_tokens":8,"ignore_eos":true,"temperature":0,"seed":1,"stream":true,"stream_options":{"include_usage":true}}"#
        );
        form.api = Api::Chat;
        form.dropped = Optional::ALL.to_vec();
        let text = Prompt::Text {
            text: "a \"b\"".to_owned(),
            expected_tokens: None,
        };
        let body = form.body(&text, 8, 0);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"model":"m","messages":[{"role":"user","content":"a \"b\""}],"max_tokens":8,"stream":true}"#
        );
    }
}
