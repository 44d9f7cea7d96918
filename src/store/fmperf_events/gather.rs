//! From events to requests.

use std::collections::HashMap;

use super::event::Event;
use super::{Detail, EventLog, EventRequest};

/// Gathers events by (worker, request), in order of first appearance.
pub(super) struct Gather {
    log: EventLog,
    detail: Detail,
    places: HashMap<(i64, i64), usize>,
}

impl Gather {
    /// Nothing gathered yet.
    pub(super) fn new(detail: Detail) -> Self {
        Self {
            log: EventLog::default(),
            detail,
            places: HashMap::new(),
        }
    }

    /// Adds one event.
    pub(super) fn add(&mut self, event: &Event<'_>) {
        let log = &mut self.log;
        log.events += 1;
        if log.req_min.is_none() {
            log.req_min = event.req_min.value();
        }
        if log.duration_s.is_none() {
            log.duration_s = event.duration_s.value();
        }
        log.users = log.users.max(event.users.and_then(|u| u32::try_from(u).ok()));
        let place = *self
            .places
            .entry((event.worker, event.request))
            .or_insert_with(|| {
                log.requests.push(EventRequest::new(event));
                log.requests.len() - 1
            });
        let request = &mut log.requests[place];
        request.events += 1;
        // The first in time is the first of the file among those of one time: coalesced tokens share theirs.
        if event.timestamp < request.first_timestamp_ns {
            request.first_timestamp_ns = event.timestamp;
            request.first_duration_ms = event.duration_ms;
        }
        request.last_timestamp_ns = request.last_timestamp_ns.max(event.timestamp);
        let tokens = event.tokens.map_or(1, |n| u32::try_from(n).unwrap_or(0));
        let good = event.ok && event.error.is_none();
        request.success &= good;
        if good {
            request.tokens = request.tokens.saturating_add(tokens);
            let first = request.first_token_ns.get_or_insert(event.timestamp);
            *first = (*first).min(event.timestamp);
        } else if request.error.is_none() {
            let text = event.error.as_deref().unwrap_or("not ok, without a reason");
            request.error = Some(text.into());
        }
        let index = event.response_idx.unwrap_or(i64::from(request.events) - 1);
        request.indexed = request
            .indexed
            .max(u32::try_from(index.saturating_add(1)).unwrap_or(0));
        request.reported = request.reported.saturating_add(tokens);
        request.exclude |= event.exclude;
        request.consistent &= event.consistent;
        request.characters = request.characters.saturating_add(event.characters);
        if self.detail == Detail::Tokens {
            request.durations_ms.push(event.duration_ms);
        }
        if let Some(name) = event.profile.as_deref().filter(|_| request.profile.is_none()) {
            request.profile = Some(profile_index(&mut log.profiles, name));
        }
    }

    /// Everything that was gathered.
    pub(super) fn finish(self) -> EventLog {
        self.log
    }
}

/// The index of a profile's name, which is added when it is new.
fn profile_index(profiles: &mut Vec<String>, name: &str) -> u16 {
    let place = profiles.iter().position(|p| p == name).unwrap_or_else(|| {
        profiles.push(name.to_owned());
        profiles.len() - 1
    });
    place as u16
}
