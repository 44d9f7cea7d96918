//! `results.json` in fmperf's event schema: one event a token, one JSON document, often hundreds of megabytes.
//!
//! [`read_results_json`] reads it in one pass and keeps one [`EventRequest`] a request, whatever the size of the file.
//! Files of every generation are understood: with and without `exp_req_min`, `exp_num_users` and
//! `workload_profile`, plain or gzip (told by content, not by name), keys in any order.
//! [`write_results_json`] writes the same schema from our own rows.

mod cursor;
mod error;
mod event;
mod gather;
mod log;
mod stream;
mod write;

pub use error::EventsError;
pub use log::{EventLog, EventRequest};
pub use write::{EventHeader, event_count, write_results_file, write_results_json};

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use event::Event;
use gather::Gather;
use stream::Stream;

/// How much of each request is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// First and last event, counts, errors: bounded memory for each request.
    #[default]
    Requests,
    /// The duration of every event too: 8 bytes an event. The per-request statistics of `output.csv` need them.
    Tokens,
}

/// Reads a `results.json` or `results.json.gz`.
///
/// # Errors
/// [`EventsError`] with path and position when the file cannot be read, is empty, not UTF-8, cut off, or is not of
/// the schema. A document without events is not an error.
pub fn read_results_json(path: &Path) -> Result<EventLog, EventsError> {
    read_results_json_with(path, Detail::Requests)
}

/// Reads a `results.json` or `results.json.gz` in the wanted detail.
///
/// # Errors
/// As [`read_results_json`].
pub fn read_results_json_with(path: &Path, detail: Detail) -> Result<EventLog, EventsError> {
    let io = |source| EventsError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut magic = [0; 2];
    let mut known = 0;
    while known < magic.len() {
        match file.read(&mut magic[known..]).map_err(io)? {
            0 => break,
            n => known += n,
        }
    }
    let whole = magic[..known].chain(file);
    if magic == [0x1f, 0x8b] {
        read_events(MultiGzDecoder::new(BufReader::new(whole)), path, detail)
    } else {
        read_events(whole, path, detail)
    }
}

/// Reads the document from any source; `path` names it in errors.
///
/// # Errors
/// As [`read_results_json`].
pub fn read_events(source: impl Read, path: &Path, detail: Detail) -> Result<EventLog, EventsError> {
    let mut stream = Stream::new(source, path);
    let mut gather = Gather::new(detail);
    match stream.peek()? {
        None => return Err(stream.empty()),
        Some(b'[') => read_list(&mut stream, &mut gather)?,
        Some(b'{') => read_document(&mut stream, &mut gather)?,
        Some(_) => return Err(stream.malformed("expected `{\"results\": […]}`")),
    }
    if stream.peek()?.is_some() {
        return Err(stream.malformed("there is something after the end of the document"));
    }
    Ok(gather.finish())
}

/// Reads `{"results": […], …}`; other keys (`energy`) are skipped.
fn read_document<R: Read>(stream: &mut Stream<'_, R>, gather: &mut Gather) -> Result<(), EventsError> {
    stream.advance(1);
    let mut seen = false;
    let mut first = true;
    loop {
        match stream.require("the document")? {
            b'}' if first || seen => break,
            b'}' => return Err(stream.malformed("there is no `results` in the document")),
            b',' if !first => {
                stream.advance(1);
                stream.require("the document")?;
            }
            _ if first => {}
            _ => return Err(stream.malformed("expected `,` or `}`")),
        }
        first = false;
        let length = stream.value_length("a key")?;
        let key: String = stream.decode(length)?;
        stream.advance(length);
        if stream.require("the document")? != b':' {
            return Err(stream.malformed("expected `:`"));
        }
        stream.advance(1);
        let opening = stream.require("the document")?;
        if key == "results" {
            if opening != b'[' {
                return Err(stream.malformed("`results` is not a list of events"));
            }
            seen = true;
            read_list(stream, gather)?;
        } else {
            let length = stream.value_length("a value")?;
            let _: serde::de::IgnoredAny = stream.decode(length)?;
            stream.advance(length);
        }
    }
    if !seen {
        return Err(stream.malformed("there is no `results` in the document"));
    }
    stream.advance(1);
    Ok(())
}

/// Reads `[event, …]`.
fn read_list<R: Read>(stream: &mut Stream<'_, R>, gather: &mut Gather) -> Result<(), EventsError> {
    stream.advance(1);
    if stream.require("the list of events")? == b']' {
        stream.advance(1);
        return Ok(());
    }
    loop {
        if stream.require("the list of events")? != b'{' {
            return Err(stream.malformed("an event is not an object"));
        }
        read_event(stream, gather)?;
        match stream.require("the list of events")? {
            b',' => stream.advance(1),
            b']' => break,
            _ => return Err(stream.malformed("expected `,` or `]` after an event")),
        }
    }
    stream.advance(1);
    Ok(())
}

/// Reads one event, which begins at the window's start.
fn read_event<R: Read>(stream: &mut Stream<'_, R>, gather: &mut Gather) -> Result<(), EventsError> {
    let mut add = |event: &Event<'_>| {
        event.implausible().map_or_else(
            || {
                gather.add(event);
                Ok(())
            },
            Err,
        )
    };
    // Nearly always the whole event is in the buffer and written as json.dump writes it.
    let (added, length) = if let Some((event, length)) = event::fast(stream.window()) {
        (add(&event), length)
    } else {
        let length = stream.value_length("an event")?;
        let added = match event::fast(&stream.window()[..length]) {
            Some((event, _)) => add(&event),
            None => add(&stream.decode::<event::Slow>(length)?.borrow()),
        };
        (added, length)
    };
    added.map_err(|why| stream.malformed(why))?;
    stream.advance(length);
    Ok(())
}

#[cfg(test)]
mod tests;
