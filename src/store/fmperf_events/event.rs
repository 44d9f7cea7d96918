//! One event: read fast where it is written as usual, by serde where it is not.

use std::borrow::Cow;

use serde::Deserialize;

use super::cursor::Cursor;

/// What fmperf writes as `error` when there is none.
const NO_ERROR: &str = "None";

/// One event, as far as we need it.
#[derive(Debug, PartialEq)]
pub(super) struct Event<'a> {
    pub(super) ok: bool,
    /// `None` when there is no error.
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) timestamp: i64,
    pub(super) req_min: Number<'a>,
    pub(super) duration_s: Number<'a>,
    pub(super) duration_ms: f64,
    pub(super) exclude: bool,
    pub(super) worker: i64,
    pub(super) request: i64,
    pub(super) response_idx: Option<i64>,
    pub(super) tokens: Option<i64>,
    pub(super) users: Option<i64>,
    pub(super) sample: Option<i64>,
    pub(super) consistent: bool,
    pub(super) profile: Option<Cow<'a, str>>,
    /// Characters of the response's text.
    pub(super) characters: u32,
}

/// The latest time that is plausible: the year 2100, in nanoseconds since 1970.
const LATEST_NS: i64 = 4_102_444_800_000_000_000;
/// The longest duration that is plausible, in milliseconds: 31 years.
const LONGEST_MS: f64 = 1e12;

impl Event<'_> {
    /// Why the event's times cannot be, where they cannot: arithmetic on the others is safe.
    pub(super) fn implausible(&self) -> Option<&'static str> {
        if !(0..=LATEST_NS).contains(&self.timestamp) {
            Some("`timestamp` is not a time in nanoseconds since 1970")
        } else if self.duration_ms.abs() > LONGEST_MS {
            Some("`duration_ms` is longer than 31 years")
        } else {
            None
        }
    }
}

/// A number that is the same in every event, so that its text is looked at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number<'a> {
    Absent,
    Text(&'a str),
    Value(f64),
}

impl Number<'_> {
    /// The value.
    pub(super) fn value(self) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::Text(text) => text.parse().ok(),
            Self::Value(value) => Some(value),
        }
    }
}

impl PartialEq for Number<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

/// Reads the event at the start of `bytes`, and says how long it is. `None` when it is not complete or not written as
/// usual: then serde decides.
pub(super) fn fast(bytes: &[u8]) -> Option<(Event<'_>, usize)> {
    let mut cursor = Cursor::new(bytes);
    cursor.eat(b'{')?;
    let mut event = Event {
        ok: false,
        error: None,
        timestamp: 0,
        req_min: Number::Absent,
        duration_s: Number::Absent,
        duration_ms: 0.0,
        exclude: false,
        worker: -1,
        request: 0,
        response_idx: None,
        tokens: None,
        users: None,
        sample: None,
        consistent: true,
        profile: None,
        characters: 0,
    };
    // The four that every generation has: `ok`, `timestamp`, `duration_ms`, `request_idx`.
    let mut required = 0u8;
    let mut first = true;
    while cursor.entry(&mut first, b'}')? {
        match cursor.key()? {
            b"response" => event.characters = response(&mut cursor)?,
            b"ok" => {
                event.ok = cursor.boolean()?;
                required |= 1;
            }
            b"error" => {
                text(&mut cursor, &mut event.error)?;
                event.error.take_if(|e| *e == NO_ERROR);
            }
            b"timestamp" => {
                event.timestamp = cursor.integer()?;
                required |= 2;
            }
            b"exp_req_min" => event.req_min = number(&mut cursor)?,
            b"exp_duration" => event.duration_s = number(&mut cursor)?,
            b"duration_ms" => {
                event.duration_ms = cursor.number()?.parse().ok().filter(|d: &f64| d.is_finite())?;
                required |= 4;
            }
            b"exclude" => flag(&mut cursor, &mut event.exclude)?,
            b"worker_idx" if cursor.null() => event.worker = -1,
            b"worker_idx" => event.worker = cursor.integer()?,
            b"request_idx" => {
                event.request = cursor.integer()?;
                required |= 8;
            }
            b"response_idx" => optional(&mut cursor, &mut event.response_idx, Cursor::integer)?,
            b"n_tokens" => optional(&mut cursor, &mut event.tokens, Cursor::integer)?,
            b"exp_num_users" => optional(&mut cursor, &mut event.users, Cursor::integer)?,
            b"sample_idx" => optional(&mut cursor, &mut event.sample, Cursor::integer)?,
            b"consistent" => flag(&mut cursor, &mut event.consistent)?,
            b"workload_profile" => text(&mut cursor, &mut event.profile)?,
            _ => cursor.skip()?,
        }
    }
    (required == 15).then_some((event, cursor.at))
}

/// Puts what `read` reads into `slot`, or nothing where there is `null`.
fn optional<'a, T>(
    cursor: &mut Cursor<'a>,
    slot: &mut Option<T>,
    read: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Option<()> {
    *slot = if cursor.null() { None } else { Some(read(cursor)?) };
    Some(())
}

fn text<'a>(cursor: &mut Cursor<'a>, slot: &mut Option<Cow<'a, str>>) -> Option<()> {
    optional(cursor, slot, |c| c.plain_text().map(Cow::Borrowed))
}

/// Puts a truth value into `slot`, which stays as it is where there is `null`.
fn flag(cursor: &mut Cursor<'_>, slot: &mut bool) -> Option<()> {
    if !cursor.null() {
        *slot = cursor.boolean()?;
    }
    Some(())
}

fn number<'a>(cursor: &mut Cursor<'a>) -> Option<Number<'a>> {
    if cursor.null() {
        Some(Number::Absent)
    } else {
        cursor.number().map(Number::Text)
    }
}

/// The response; says how many characters its text has.
fn response(cursor: &mut Cursor<'_>) -> Option<u32> {
    if cursor.next()? != b'{' {
        return cursor.skip().map(|()| 0);
    }
    cursor.eat(b'{')?;
    let mut characters = 0;
    let mut first = true;
    while cursor.entry(&mut first, b'}')? {
        match cursor.key()? {
            b"text" if cursor.next()? == b'"' => characters = cursor.skip_string()?,
            _ => cursor.skip()?,
        }
    }
    Some(characters)
}

/// The same event by serde, which decides what is wrong with it.
#[derive(Deserialize)]
pub(super) struct Slow {
    #[serde(default)]
    response: serde_json::Value,
    ok: bool,
    error: Option<String>,
    timestamp: i64,
    exp_req_min: Option<f64>,
    exp_duration: Option<f64>,
    duration_ms: f64,
    exclude: Option<bool>,
    worker_idx: Option<i64>,
    request_idx: i64,
    response_idx: Option<i64>,
    n_tokens: Option<i64>,
    exp_num_users: Option<i64>,
    sample_idx: Option<i64>,
    consistent: Option<bool>,
    workload_profile: Option<String>,
}

impl Slow {
    /// As the fast path would have given it.
    pub(super) fn borrow(&self) -> Event<'_> {
        let number = |n: Option<f64>| n.map_or(Number::Absent, Number::Value);
        let text = self.response.get("text").and_then(serde_json::Value::as_str);
        Event {
            ok: self.ok,
            error: self
                .error
                .as_deref()
                .filter(|e| *e != NO_ERROR)
                .map(Cow::Borrowed),
            timestamp: self.timestamp,
            req_min: number(self.exp_req_min),
            duration_s: number(self.exp_duration),
            duration_ms: self.duration_ms,
            exclude: self.exclude.unwrap_or(false),
            worker: self.worker_idx.unwrap_or(-1),
            request: self.request_idx,
            response_idx: self.response_idx,
            tokens: self.n_tokens,
            users: self.exp_num_users,
            sample: self.sample_idx,
            consistent: self.consistent.unwrap_or(true),
            profile: self.workload_profile.as_deref().map(Cow::Borrowed),
            characters: text.map_or(0, |t| t.chars().count() as u32),
        }
    }
}
