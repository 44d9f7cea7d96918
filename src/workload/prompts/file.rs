//! The prompts file: one JSON object a line with a text and its token count.

use std::path::Path;

use fs_err as fs;
use serde_json::Value;

use super::{Counter, PromptError};
use crate::units::TokenRange;
use crate::workload::LengthClass;

/// Keys that may hold the text, in order of preference.
const TEXT_KEYS: [&str; 2] = ["text", "prompt"];
/// Keys that may hold its token count, in order of preference.
const COUNT_KEYS: [&str; 3] = ["gpt2_token_count", "token_count", "prompt_token_count"];

/// One prompt of the file.
#[derive(Debug)]
pub(super) struct FilePrompt {
    /// The text as it stands in the file.
    pub(super) text: String,
    /// Its length: by the tokenizer where one is given, else as the file says.
    pub(super) tokens: u32,
}

/// The prompts of a file, and which of them each class may use.
#[derive(Debug)]
pub(super) struct FilePrompts {
    /// All prompts.
    pub(super) prompts: Vec<FilePrompt>,
    /// For every class the prompts in its input range.
    pub(super) by_class: Vec<Vec<u32>>,
}

/// Hexadecimal BLAKE3 digest of a file's content.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of_file(path: &Path) -> Result<String, PromptError> {
    Ok(digest(&fs::read(path)?))
}

fn digest(content: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content);
    hasher.finalize().to_hex().to_string()
}

impl FilePrompts {
    /// Reads a file and sorts its prompts by class; blank lines are passed over. `expected_digest` is that of the content
    /// which the trial was planned with.
    pub(super) fn load(
        path: &Path,
        classes: &[LengthClass],
        counter: Option<&Counter>,
        expected_digest: &str,
    ) -> Result<Self, PromptError> {
        let content = fs::read(path)?;
        if digest(&content) != expected_digest {
            return Err(PromptError::Changed {
                path: path.to_owned(),
            });
        }
        let mut prompts = Vec::new();
        for (number, line) in content.split(|&b| b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            prompts.push(parse_line(line, counter).map_err(|why| PromptError::Line {
                path: path.to_owned(),
                line: number + 1,
                why,
            })?);
        }
        let mut by_class = Vec::with_capacity(classes.len());
        for class in classes {
            let fitting: Vec<u32> = (0u32..)
                .zip(&prompts)
                .filter(|(_, p)| class.pair.input.contains(p.tokens))
                .map(|(index, _)| index)
                .collect();
            if fitting.is_empty() {
                return Err(PromptError::NoneInRange {
                    path: path.to_owned(),
                    wanted: class.pair.input,
                    present: describe(&prompts, class.pair.input),
                });
            }
            by_class.push(fitting);
        }
        Ok(Self { prompts, by_class })
    }
}

fn parse_line(line: &[u8], counter: Option<&Counter>) -> Result<FilePrompt, String> {
    let text = std::str::from_utf8(line)
        .map_err(|e| format!("not UTF-8 (byte {} of the line)", e.valid_up_to() + 1))?;
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))?;
    let Value::Object(object) = value else {
        return Err("not a JSON object; write for example {\"text\": \"…\", \"token_count\": 12}".to_owned());
    };
    let text = TEXT_KEYS
        .iter()
        .find_map(|key| object.get(*key))
        .ok_or("no prompt text; write it under \"text\" (or \"prompt\")")?
        .as_str()
        .ok_or("the prompt text is not a string")?;
    if text.trim().is_empty() {
        return Err("the prompt text is empty".to_owned());
    }
    let tokens = match counter {
        Some(counter) => counter.count(text)?,
        None => COUNT_KEYS
            .iter()
            .find_map(|key| object.get(*key))
            .ok_or_else(|| {
                format!(
                    "no token count; write it under one of {}, or set TOKENIZER to have it counted",
                    COUNT_KEYS.map(|k| format!("\"{k}\"")).join(", ")
                )
            })?
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .ok_or("the token count is not a positive integer")?,
    };
    Ok(FilePrompt {
        text: text.to_owned(),
        tokens,
    })
}

/// What lengths a file holds, and the nearest to those wanted.
fn describe(prompts: &[FilePrompt], wanted: TokenRange) -> String {
    let counts = || prompts.iter().map(|p| p.tokens);
    let (Some(min), Some(max)) = (counts().min(), counts().max()) else {
        return "it holds no prompt".to_owned();
    };
    let below = counts().filter(|&n| n < wanted.lowest()).max();
    let above = counts().filter(|&n| n > wanted.max).min();
    let nearest: Vec<String> = below.into_iter().chain(above).map(|n| n.to_string()).collect();
    format!(
        "its {} prompts have {} tokens, the nearest {}",
        prompts.len(),
        TokenRange { min, max },
        nearest.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TokenPair;

    fn class(min: u32, max: u32) -> LengthClass {
        LengthClass {
            pair: TokenPair {
                input: TokenRange { min, max },
                output: TokenRange::exactly(4),
            },
            share: 1.0,
        }
    }

    fn load(content: &[u8], classes: &[LengthClass]) -> Result<FilePrompts, PromptError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompts.jsonl");
        fs::write(&path, content).unwrap();
        FilePrompts::load(&path, classes, None, &digest_of_file(&path).unwrap())
    }

    #[test]
    fn both_spellings_and_ranges_are_read() {
        let content = b"{\"text\": \"one\", \"gpt2_token_count\": 10}\n\n{\"prompt\": \"two\", \"token_count\": 20, \"x\": 1}\r\n";
        let file = load(content, &[class(1, 10), class(5, 25)]).unwrap();
        assert_eq!(file.by_class, [vec![0], vec![0, 1]]);
        assert_eq!(file.prompts[1].text, "two");
    }

    #[test]
    fn malformed_lines_are_named() {
        for (line, expected) in [
            (&b"{"[..], "not valid JSON"),
            (b"[1]", "not a JSON object"),
            (b"{\"texts\": \"a\", \"token_count\": 1}", "no prompt text"),
            (b"{\"text\": 5, \"token_count\": 1}", "not a string"),
            (b"{\"text\": \" \", \"token_count\": 1}", "is empty"),
            (b"{\"text\": \"a\"}", "no token count"),
            (b"{\"text\": \"a\", \"token_count\": 0}", "not a positive integer"),
            (
                b"{\"text\": \"a\", \"token_count\": 1.5}",
                "not a positive integer",
            ),
            (
                b"{\"text\": \"a\", \"token_count\": \"7\"}",
                "not a positive integer",
            ),
            (b"{\"text\": \"\xff\"}", "not UTF-8"),
        ] {
            let mut content = b"{\"text\": \"fine\", \"token_count\": 1}\n".to_vec();
            content.extend_from_slice(line);
            let error = load(&content, &[class(1, 1)]).unwrap_err().to_string();
            assert!(
                error.contains("prompts.jsonl:2: ") && error.contains(expected),
                "{error}"
            );
        }
    }

    #[test]
    fn ranges_without_a_prompt_say_what_is_there() {
        let content = b"{\"text\": \"a\", \"token_count\": 8}\n{\"text\": \"b\", \"token_count\": 40}\n";
        let error = load(content, &[class(10, 20)]).unwrap_err().to_string();
        assert!(
            error.contains("10-20") && error.contains("8-40") && error.contains("8 and 40"),
            "{error}"
        );
        assert!(
            load(b"\n", &[class(10, 20)])
                .unwrap_err()
                .to_string()
                .contains("no prompt")
        );
    }
}
