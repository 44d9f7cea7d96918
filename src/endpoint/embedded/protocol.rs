//! What clients may ask: the bodies of completions and chat completions.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::frames::Shape;
use crate::loadgen::Api;

/// `max_tokens` where a request does not say, as in vLLM.
const DEFAULT_MAX_TOKENS: u32 = 16;
/// Largest `max_tokens` and prompt: a response that is not streamed is held in memory.
const MOST_TOKENS: u64 = 1 << 20;

/// A request that was understood but cannot be served; the text says why.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed(pub(super) String);

#[derive(Deserialize)]
struct Body {
    prompt: Option<Prompt>,
    messages: Option<Vec<Message>>,
    model: Option<String>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    min_tokens: Option<u64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
}

/// The content of a message: text, or parts of which those with text count.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl Message {
    fn words(&self) -> u64 {
        match &self.content {
            None => 0,
            Some(Content::Text(text)) => words(text),
            Some(Content::Parts(parts)) => parts.iter().filter_map(|p| p.text.as_deref()).map(words).sum(),
        }
    }
}

/// One word, that is one run of characters without white space, is one token.
fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The length of a prompt, counted while it is read: nothing of it is kept.
struct Prompt {
    tokens: u64,
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a prompt: a string, a list of token ids, or a list with one of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Prompt, E> {
        Ok(Prompt { tokens: words(text) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompt, A::Error> {
        let (mut ids, mut prompts) = (0u64, Vec::new());
        while let Some(item) = items.next_element::<Item>()? {
            match item {
                Item::Id => ids += 1,
                Item::Prompt(tokens) => prompts.push(tokens),
            }
        }
        match (ids, prompts.as_slice()) {
            (tokens, []) => Ok(Prompt { tokens }),
            (0, [tokens]) => Ok(Prompt { tokens: *tokens }),
            (0, _) => Err(A::Error::custom("only one prompt a request is supported")),
            _ => Err(A::Error::custom("a prompt mixes token ids with text")),
        }
    }
}

/// An element of a list: a token id, or a prompt of this many tokens.
enum Item {
    Id,
    Prompt(u64),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a token id, a string or a list of token ids")
            }

            fn visit_u64<E: Error>(self, _id: u64) -> Result<Item, E> {
                Ok(Item::Id)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Prompt(words(text)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Item, A::Error> {
                let mut tokens = 0;
                while ids.next_element::<u64>()?.is_some() {
                    tokens += 1;
                }
                Ok(Item::Prompt(tokens))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

/// What a client asks for.
pub(super) struct Ask {
    /// The model it names, where it names one.
    pub(super) model: Option<String>,
    pub(super) shape: Shape,
}

impl Ask {
    /// Reads the body of a request. `eos_after` is where responses end by themselves.
    ///
    /// # Errors
    /// When it is not JSON of the right shape, or asks for what cannot be.
    pub(super) fn parse(api: Api, body: &[u8], eos_after: Option<u32>) -> Result<Self, Malformed> {
        let body: Body = serde_json::from_slice(body).map_err(|e| Malformed(e.to_string()))?;
        let fail = |why: &str| Err(Malformed(why.to_owned()));
        let input = match api {
            Api::Completions => match &body.prompt {
                Some(prompt) => prompt.tokens,
                None => return fail("`prompt` is missing"),
            },
            Api::Chat => match &body.messages {
                Some(messages) => messages.iter().map(Message::words).sum(),
                None => return fail("`messages` is missing"),
            },
        };
        if input == 0 {
            return fail("the prompt is empty");
        }
        let most = body
            .max_completion_tokens
            .filter(|_| api == Api::Chat)
            .or(body.max_tokens)
            .unwrap_or(DEFAULT_MAX_TOKENS.into());
        let least = body.min_tokens.unwrap_or(0);
        if most == 0 || least > most {
            return fail("`max_tokens` must be at least 1, and no less than `min_tokens`");
        }
        if most > MOST_TOKENS || input > MOST_TOKENS {
            return fail("at most 1048576 tokens are supported");
        }
        if body.n.is_some_and(|n| n != 1) {
            return fail("only `n` = 1 is supported");
        }
        let options = body.stream_options.unwrap_or_default();
        let natural = eos_after
            .filter(|_| body.ignore_eos != Some(true))
            .map_or(most, |eos| u64::from(eos).max(least).max(1));
        let output = natural.min(most);
        Ok(Self {
            model: body.model,
            shape: Shape {
                api,
                stream: body.stream.unwrap_or(false),
                include_usage: options.include_usage.unwrap_or(false),
                continuous_usage: options.continuous_usage_stats.unwrap_or(false),
                input_tokens: input as u32,
                output_tokens: output as u32,
                finish_reason: if natural < most { "stop" } else { "length" },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(body: &str, eos_after: Option<u32>) -> Result<(u32, u32, &'static str), Malformed> {
        let ask = Ask::parse(Api::Completions, body.as_bytes(), eos_after)?;
        Ok((
            ask.shape.input_tokens,
            ask.shape.output_tokens,
            ask.shape.finish_reason,
        ))
    }

    #[test]
    fn prompts_are_counted_in_every_form() {
        for (prompt, tokens) in [
            (r#""one  two\nthree""#, 3),
            ("[5, 6, 7, 8]", 4),
            (r#"["one two"]"#, 2),
            ("[[1, 2, 3]]", 3),
        ] {
            let body = format!(r#"{{"prompt": {prompt}, "max_tokens": 9, "unknown": {{}}}}"#);
            assert_eq!(completion(&body, None), Ok((tokens, 9, "length")), "{prompt}");
        }
        let chat = r#"{"messages": [{"role": "system", "content": "a b"},
            {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "image_url"}]}]}"#;
        let ask = Ask::parse(Api::Chat, chat.as_bytes(), None).ok().unwrap();
        assert_eq!((ask.shape.input_tokens, ask.shape.output_tokens), (3, 16));
    }

    #[test]
    fn responses_end_by_themselves_unless_told_otherwise() {
        let ask = |rest: &str| completion(&format!(r#"{{"prompt": "a", "max_tokens": 50{rest}}}"#), Some(20));
        assert_eq!(ask(""), Ok((1, 20, "stop")));
        assert_eq!(ask(r#", "ignore_eos": true"#), Ok((1, 50, "length")));
        assert_eq!(ask(r#", "min_tokens": 30"#), Ok((1, 30, "stop")));
        assert_eq!(ask(r#", "min_tokens": 50"#), Ok((1, 50, "length")));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for body in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"prompt": ""}"#,
            r#"{"prompt": []}"#,
            r#"{"prompt": 3}"#,
            r#"{"prompt": ["a", "b"]}"#,
            r#"{"prompt": [1, "b"]}"#,
            r#"{"prompt": "a", "max_tokens": 0}"#,
            r#"{"prompt": "a", "max_tokens": -1}"#,
            r#"{"prompt": "a", "max_tokens": "9"}"#,
            r#"{"prompt": "a", "max_tokens": 9, "min_tokens": 10}"#,
            r#"{"prompt": "a", "max_tokens": 99999999}"#,
            r#"{"prompt": "a", "n": 2}"#,
        ] {
            assert!(completion(body, None).is_err(), "{body}");
        }
    }
}
