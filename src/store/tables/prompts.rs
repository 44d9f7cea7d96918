//! `prompts.csv`: which prompts were sent, and how often.

use std::io::Write;

/// A prompt and its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptUse {
    /// The text; may have line ends.
    pub text: String,
    /// Its length in tokens.
    pub tokens: u32,
    /// How often it was sent; in the older forms, how often the prompts file has it.
    pub occurrences: u64,
}

impl PromptUse {
    /// The text with line ends turned into blanks.
    pub(super) fn one_line(&self) -> String {
        self.text.replace("\r\n", " ").replace(['\n', '\r'], " ")
    }
}

/// Writes the table, CRLF, in the order given.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_prompts<'a>(
    out: impl Write,
    prompts: impl IntoIterator<Item = &'a PromptUse>,
) -> csv::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(["PROMPT_TEXT", "PROMPT_TOKEN_COUNT", "OCCURRENCES"])?;
    for prompt in prompts {
        let (tokens, times) = (prompt.tokens.to_string(), prompt.occurrences.to_string());
        writer.write_record([prompt.one_line().as_str(), &tokens, &times])?;
    }
    writer.flush()?;
    Ok(())
}
