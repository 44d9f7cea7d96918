//! What is written to clients. The frame of an ordinary token is built once a request and shared by all its tokens.

use std::fmt::Write;

use bytes::Bytes;

use crate::loadgen::Api;

/// Every token of a response. One word, so that it counts as one token when sent back as a prompt.
const TOKEN: &str = " word";

/// Builds the answer to one request.
pub(super) struct Frames {
    api: Api,
    stream: bool,
    include_usage: bool,
    continuous_usage: bool,
    input_tokens: u32,
    output_tokens: u32,
    /// `length` or `stop`.
    finish_reason: &'static str,
    /// `"id":…,"object":…,"created":…,"model":…`, the same in every object.
    head: String,
    /// A token that is neither first nor last.
    middle: Bytes,
}

/// How the answer is asked for.
pub(super) struct Shape {
    pub(super) api: Api,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) continuous_usage: bool,
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) finish_reason: &'static str,
}

impl Frames {
    /// `model_json` is the model's name as a JSON string, `created` seconds since 1970.
    pub(super) fn new(shape: &Shape, number: u64, model_json: &str, created: u64) -> Self {
        let (prefix, object) = match (shape.api, shape.stream) {
            (Api::Completions, _) => ("cmpl", "text_completion"),
            (Api::Chat, true) => ("chatcmpl", "chat.completion.chunk"),
            (Api::Chat, false) => ("chatcmpl", "chat.completion"),
        };
        let mut frames = Self {
            api: shape.api,
            stream: shape.stream,
            include_usage: shape.include_usage,
            continuous_usage: shape.continuous_usage,
            input_tokens: shape.input_tokens,
            output_tokens: shape.output_tokens,
            finish_reason: shape.finish_reason,
            head: format!(
                r#""id":"{prefix}-{number:016x}","object":"{object}","created":{created},"model":{model_json}"#
            ),
            middle: Bytes::new(),
        };
        let mut middle = String::new();
        frames.push_token(&mut middle, None, 0);
        frames.middle = middle.into();
        frames
    }

    /// `length` or `stop`.
    pub(super) fn finish_reason(&self) -> &'static str {
        self.finish_reason
    }

    /// The piece to write when token `produced` (from one) comes; for a response that is not streamed only the last
    /// token has one.
    pub(super) fn piece(&self, produced: u32) -> Option<Bytes> {
        let last = produced >= self.output_tokens;
        if !self.stream {
            return last.then(|| self.whole());
        }
        if produced > 1 && !last && !self.continuous_usage {
            return Some(self.middle.clone());
        }
        let mut text = String::with_capacity(3 * self.middle.len());
        if produced == 1 && self.api == Api::Chat {
            self.push_chunk(
                &mut text,
                r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#,
                self.continuous_usage.then_some(0),
            );
        }
        self.push_token(&mut text, last.then_some(self.finish_reason), produced);
        if last {
            if self.include_usage {
                self.push_chunk(&mut text, "", Some(produced));
            }
            text.push_str("data: [DONE]\n\n");
        }
        Some(text.into())
    }

    fn push_token(&self, text: &mut String, finish_reason: Option<&str>, produced: u32) {
        let reason = finish_reason.map_or_else(|| "null".to_owned(), |r| format!("\"{r}\""));
        let choice = match self.api {
            Api::Completions => {
                format!(
                    r#"{{"index":0,"text":"{TOKEN}","logprobs":null,"finish_reason":{reason},"stop_reason":null}}"#
                )
            }
            Api::Chat => format!(
                r#"{{"index":0,"delta":{{"content":"{TOKEN}"}},"logprobs":null,"finish_reason":{reason},"stop_reason":null}}"#
            ),
        };
        self.push_chunk(text, &choice, self.continuous_usage.then_some(produced));
    }

    fn push_chunk(&self, text: &mut String, choice: &str, usage: Option<u32>) {
        write!(text, "data: {{{},\"choices\":[{choice}]", self.head).expect("a string can be written to");
        if let Some(produced) = usage {
            text.push(',');
            text.push_str(&self.usage(produced));
        }
        text.push_str("}\n\n");
    }

    fn usage(&self, produced: u32) -> String {
        let prompt = self.input_tokens;
        let total = u64::from(prompt) + u64::from(produced);
        format!(
            r#""usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{produced}}}"#
        )
    }

    /// The answer that is not streamed.
    fn whole(&self) -> Bytes {
        let text = TOKEN.repeat(self.output_tokens as usize);
        let reason = self.finish_reason;
        let choice = match self.api {
            Api::Completions => {
                format!(
                    r#"{{"index":0,"text":"{text}","logprobs":null,"finish_reason":"{reason}","stop_reason":null}}"#
                )
            }
            Api::Chat => format!(
                r#"{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null}}"#
            ),
        };
        let usage = self.usage(self.output_tokens);
        format!(r#"{{{},"choices":[{choice}],{usage}}}"#, self.head).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn all(api: Api, stream: bool, usage: (bool, bool), tokens: u32) -> String {
        let shape = Shape {
            api,
            stream,
            include_usage: usage.0,
            continuous_usage: usage.1,
            input_tokens: 5,
            output_tokens: tokens,
            finish_reason: "length",
        };
        let frames = Frames::new(&shape, 7, "\"m\\\"x\"", 1);
        let pieces = (1..=tokens).filter_map(|n| frames.piece(n));
        pieces.map(|b| String::from_utf8(b.to_vec()).unwrap()).collect()
    }

    fn objects(text: &str) -> Vec<Value> {
        text.split("\n\n")
            .filter_map(|f| f.strip_prefix("data: "))
            .filter(|f| *f != "[DONE]")
            .map(|f| serde_json::from_str(f).unwrap())
            .collect()
    }

    #[test]
    fn streams_end_with_reason_usage_and_done() {
        for (api, extra) in [(Api::Completions, 0), (Api::Chat, 1)] {
            for tokens in [1, 2, 5] {
                let text = all(api, true, (true, false), tokens);
                assert!(text.ends_with("data: [DONE]\n\n"));
                let objects = objects(&text);
                assert_eq!(objects.len() as u32, tokens + extra + 1);
                let usage = &objects[objects.len() - 1];
                assert_eq!(usage["choices"], serde_json::json!([]));
                assert_eq!(usage["usage"]["completion_tokens"], tokens);
                assert_eq!(usage["usage"]["total_tokens"], tokens + 5);
                assert_eq!(usage["model"], "m\"x");
                let last = &objects[objects.len() - 2]["choices"][0];
                assert_eq!(last["finish_reason"], "length");
                let ended = |o: &&Value| o["choices"][0]["finish_reason"] == "length";
                assert_eq!(objects.iter().filter(ended).count(), 1);
            }
        }
        let role = &objects(&all(Api::Chat, true, (false, false), 2))[0]["choices"][0]["delta"];
        assert_eq!(role["role"], "assistant");
        assert_eq!(role["content"], "");
    }

    #[test]
    fn continuous_usage_counts_up() {
        let objects = objects(&all(Api::Completions, true, (true, true), 3));
        let counts: Vec<u64> = objects
            .iter()
            .map(|o| o["usage"]["completion_tokens"].as_u64().unwrap())
            .collect();
        assert_eq!(counts, [1, 2, 3, 3]);
    }

    #[test]
    fn whole_answers_hold_all_tokens() {
        let chat: Value = serde_json::from_str(&all(Api::Chat, false, (false, false), 3)).unwrap();
        assert_eq!(chat["choices"][0]["message"]["content"], " word word word");
        assert_eq!(chat["object"], "chat.completion");
        let plain: Value = serde_json::from_str(&all(Api::Completions, false, (false, false), 2)).unwrap();
        assert_eq!(plain["choices"][0]["text"], " word word");
        assert_eq!(plain["usage"]["prompt_tokens"], 5);
    }
}
