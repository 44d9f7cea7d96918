//! What one event of a completion stream means.
//!
//! Nearly all events are a token and nothing else; these are recognised by searching for a few keys, which cannot occur
//! inside a JSON string because its quotes would be escaped. Everything else goes through a JSON parser.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use super::sse::Field;

/// The meaning of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Event {
    /// Whether text came with it.
    pub(super) token: bool,
    /// The reason that the server gives for ending.
    pub(super) finish: Option<String>,
    /// Token counts.
    pub(super) usage: Option<Usage>,
    /// An error in place of a token.
    pub(super) error: Option<ErrorFrame>,
    /// The end mark `[DONE]`.
    pub(super) done: bool,
    /// Not what the API promises.
    pub(super) malformed: bool,
}

/// Token counts as the server gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Prompt tokens.
    pub(super) prompt: Option<u32>,
    /// Response tokens, so far or in all.
    pub(super) completion: Option<u32>,
    /// Prompt tokens found in the prefix cache.
    pub(super) cached: Option<u32>,
}

/// An error that came inside a stream of status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorFrame {
    /// Its code, where it has one.
    pub(super) code: Option<u16>,
    /// Its message.
    pub(super) message: String,
}

/// The keys that tell events apart.
pub(super) struct Keys {
    finish: memmem::Finder<'static>,
    usage: memmem::Finder<'static>,
    error: memmem::Finder<'static>,
    text: memmem::Finder<'static>,
    content: memmem::Finder<'static>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            finish: memmem::Finder::new(b"\"finish_reason\":"),
            usage: memmem::Finder::new(b"\"usage\":"),
            error: memmem::Finder::new(b"\"error\":"),
            text: memmem::Finder::new(b"\"text\":"),
            content: memmem::Finder::new(b"\"content\":"),
        }
    }
}

impl Keys {
    /// Whether the event is a token and nothing else. `false` means that it must be parsed.
    pub(super) fn is_plain_token(&self, data: &[u8]) -> bool {
        let value = |key: &memmem::Finder<'_>| {
            let at = key.find(data)? + key.needle().len();
            Some(data[at..].trim_ascii_start())
        };
        let absent_or_null = |key| value(key).is_none_or(|v| v.starts_with(b"null"));
        let full = |v: &[u8]| v.len() > 1 && v[0] == b'"' && v[1] != b'"';
        data.ends_with(b"}")
            && value(&self.text)
                .or_else(|| value(&self.content))
                .is_some_and(full)
            && absent_or_null(&self.finish)
            && absent_or_null(&self.usage)
            && self.error.find(data).is_none()
    }
}

/// Parses an event in full.
pub(super) fn parse(field: Field, data: &[u8]) -> Event {
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        return Event {
            done: true,
            ..Event::default()
        };
    }
    if field == Field::Error {
        return Event {
            error: Some(error_frame(data)),
            ..Event::default()
        };
    }
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
        return Event {
            malformed: true,
            ..Event::default()
        };
    };
    let failed =
        chunk.error.as_ref().is_some_and(|e| !e.is_null()) || chunk.object.as_deref() == Some("error");
    if failed {
        return Event {
            error: Some(error_frame(data)),
            ..Event::default()
        };
    }
    let malformed = chunk.choices.is_none() && chunk.usage.is_none();
    let mut event = Event {
        usage: chunk.usage.map(|u| Usage {
            prompt: u.prompt_tokens,
            completion: u.completion_tokens,
            cached: u.prompt_tokens_details.and_then(|d| d.cached_tokens),
        }),
        malformed,
        ..Event::default()
    };
    for choice in chunk.choices.into_iter().flatten() {
        let delta = choice.delta.unwrap_or_default();
        let texts = [
            choice.text,
            delta.content,
            delta.reasoning_content,
            delta.reasoning,
        ];
        let called = delta
            .tool_calls
            .is_some_and(|c| c.as_array().is_some_and(|calls| !calls.is_empty()));
        event.token |= called || texts.iter().flatten().any(|t| !t.is_empty());
        if let Some(reason) = choice.finish_reason {
            event.finish = Some(reason.into_owned());
        }
    }
    event
}

/// The error that `data` holds, in any of the dialects.
fn error_frame(data: &[u8]) -> ErrorFrame {
    let value: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    let inner = value.get("error").filter(|e| e.is_object()).unwrap_or(&value);
    let number = |v: &serde_json::Value| v.as_u64().or_else(|| v.as_str()?.parse().ok());
    ErrorFrame {
        code: inner
            .get("code")
            .and_then(number)
            .and_then(|code| u16::try_from(code).ok()),
        message: crate::endpoint::said(data),
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<UsageObject>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    tool_calls: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct UsageObject {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &str) -> Event {
        parse(Field::Data, data.as_bytes())
    }

    #[test]
    fn the_fast_path_agrees_with_the_parser() {
        let keys = Keys::default();
        for (data, plain) in [
            (
                r#"{"choices":[{"text":" a","index":0,"finish_reason":null}]}"#,
                true,
            ),
            (
                r#"{"choices": [{"text": " a", "finish_reason": null}], "usage": null}"#,
                true,
            ),
            (
                r#"{"choices":[{"delta":{"content":"\"usage\":{"},"finish_reason":null}]}"#,
                true,
            ),
            (r#"{"choices":[{"text":"","finish_reason":null}]}"#, false),
            (r#"{"choices":[{"text":"a","finish_reason":"length"}]}"#, false),
            (
                r#"{"choices":[{"delta":{"content":null,"role":"assistant"}}]}"#,
                false,
            ),
            (r#"{"choices":[],"usage":{"completion_tokens":3}}"#, false),
            (r#"{"error":{"message":"full","code":503}}"#, false),
            ("[DONE]", false),
        ] {
            assert_eq!(keys.is_plain_token(data.as_bytes()), plain, "{data}");
            if plain {
                let token = Event {
                    token: true,
                    ..Event::default()
                };
                assert_eq!(of(data), token, "{data}");
            }
        }
    }

    #[test]
    fn the_parser_knows_the_dialects() {
        let last = of(
            r#"{"choices":[{"text":"z","finish_reason":"length"}],"usage":{"prompt_tokens":4,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        );
        assert!(last.token);
        assert_eq!(last.finish.as_deref(), Some("length"));
        let usage = Usage {
            prompt: Some(4),
            completion: Some(9),
            cached: Some(2),
        };
        assert_eq!(last.usage, Some(usage));
        let refused = of(r#"{"error":{"message":"queue full","code":503}}"#)
            .error
            .unwrap();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (Some(503), "queue full")
        );
        let old = of(r#"{"object":"error","message":"m","code":400}"#)
            .error
            .unwrap();
        assert_eq!((old.code, old.message.as_str()), (Some(400), "m"));
        assert!(!of(r#"{"choices":[{"delta":{"content":null}}]}"#).token);
        assert!(of(r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#).token);
        assert!(of("{}").malformed);
        assert!(of("<html>").malformed);
        assert!(of("[DONE]").done);
        assert_eq!(parse(Field::Error, b"boom").error.unwrap().message, "boom");
    }
}
