//! `events.jsonl`: for people and tools, never read back for decisions.

use std::io::Write;
use std::path::Path;

use super::{Event, Observer};

/// Appends a line an event, with the time of day.
pub struct JsonLines {
    file: fs_err::File,
}

impl JsonLines {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn append(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: fs_err::OpenOptions::new().create(true).append(true).open(path)?,
        })
    }
}

impl Observer for JsonLines {
    fn see(&mut self, event: &Event) {
        if matches!(event, Event::TrialProgress { .. }) {
            return;
        }
        let Ok(mut value) = serde_json::to_value(event) else {
            return;
        };
        value["at"] = chrono::Utc::now()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            .into();
        let mut line = value.to_string();
        line.push('\n');
        // One write a line; a full disk costs the log, not the run.
        let _ = self.file.write_all(line.as_bytes());
    }
}
