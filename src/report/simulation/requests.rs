//! `request_metrics.csv`: one row a request, in the columns of the config explorer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

use serde::Serialize;

use crate::sim::{Record, Time};

/// Rows that are held back so that they can be put in order.
const HELD: usize = 1 << 16;

/// One row. Times are seconds.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "Request Id")]
    id: u64,
    request_e2e_time: f64,
    request_e2e_time_normalized: f64,
    request_execution_time: f64,
    request_execution_time_normalized: f64,
    request_model_execution_time: f64,
    request_model_execution_time_normalized: f64,
    request_preemption_time: f64,
    request_scheduling_delay: f64,
    request_execution_plus_preemption_time: f64,
    request_execution_plus_preemption_time_normalized: f64,
    prefill_e2e_time: f64,
    prefill_e2e_time_normalized: f64,
    prefill_time_execution_plus_preemption: f64,
    prefill_time_execution_plus_preemption_normalized: f64,
    decode_time_execution_plus_preemption_normalized: f64,
    request_inter_arrival_delay: f64,
    request_num_tokens: u64,
    request_num_prefill_tokens: u32,
    request_num_prefill_tokens_cached: u32,
    request_num_decode_tokens: u32,
    request_pd_ratio: f64,
    request_num_restarts: u32,
    request_arrived_at: f64,
    replica: u32,
}

impl Row {
    fn of(record: &Record, previous: Time) -> Self {
        let (input, output) = (f64::from(record.input_tokens), f64::from(record.output_tokens));
        let execution = record.execution.as_seconds();
        let served = (record.completed - record.first_scheduled).as_seconds();
        let prefill = (record.first_token - record.first_scheduled).as_seconds();
        Self {
            id: record.id,
            request_e2e_time: record.e2e(),
            request_e2e_time_normalized: record.e2e() / output,
            request_execution_time: execution,
            request_execution_time_normalized: execution / output,
            request_model_execution_time: execution,
            request_model_execution_time_normalized: execution / output,
            request_preemption_time: record.preempted(),
            request_scheduling_delay: record.scheduling_delay(),
            request_execution_plus_preemption_time: served,
            request_execution_plus_preemption_time_normalized: served / output,
            prefill_e2e_time: record.ttft(),
            prefill_e2e_time_normalized: record.ttft() / input,
            prefill_time_execution_plus_preemption: prefill,
            prefill_time_execution_plus_preemption_normalized: prefill / input,
            decode_time_execution_plus_preemption_normalized: record.decode_normalized(),
            request_inter_arrival_delay: (record.arrival - previous).as_seconds(),
            request_num_tokens: u64::from(record.input_tokens) + u64::from(record.output_tokens),
            request_num_prefill_tokens: record.input_tokens,
            request_num_prefill_tokens_cached: record.cached_tokens,
            request_num_decode_tokens: record.output_tokens,
            request_pd_ratio: input / output,
            request_num_restarts: record.restarts,
            request_arrived_at: record.arrival.as_seconds(),
            replica: record.replica,
        }
    }
}

/// A record ordered by its number.
#[derive(Debug)]
struct Held(Record);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// Writes rows as requests end, ordered by their number as far as a look at 65,536 of them allows.
#[derive(Debug)]
pub struct RequestRows<W: Write> {
    writer: csv::Writer<W>,
    held: BinaryHeap<Reverse<Held>>,
    previous: Time,
}

impl<W: Write> RequestRows<W> {
    /// Rows to a file.
    pub fn new(to: W) -> Self {
        Self {
            writer: csv::Writer::from_writer(to),
            held: BinaryHeap::new(),
            previous: Time::ZERO,
        }
    }

    /// Adds a request.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, record: &Record) -> std::io::Result<()> {
        self.held.push(Reverse(Held(*record)));
        if self.held.len() > HELD {
            self.pop()?;
        }
        Ok(())
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        while !self.held.is_empty() {
            self.pop()?;
        }
        self.writer.flush()
    }

    fn pop(&mut self) -> std::io::Result<()> {
        if let Some(Reverse(Held(record))) = self.held.pop() {
            let row = Row::of(&record, self.previous);
            self.previous = record.arrival;
            self.writer.serialize(row).map_err(std::io::Error::other)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::tests::record;
    use super::*;

    #[test]
    fn columns_are_those_of_the_explorer_and_rows_are_in_order() {
        let mut out = Vec::new();
        let mut rows = RequestRows::new(&mut out);
        rows.add(&record(1, 2.0, 3.0, 5.0)).unwrap();
        rows.add(&record(0, 0.5, 1.0, 1.5)).unwrap();
        rows.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        let mut lines = text.lines();
        insta::assert_snapshot!(lines.next().unwrap().replace(',', "\n"), @r"
        Request Id
        request_e2e_time
        request_e2e_time_normalized
        request_execution_time
        request_execution_time_normalized
        request_model_execution_time
        request_model_execution_time_normalized
        request_preemption_time
        request_scheduling_delay
        request_execution_plus_preemption_time
        request_execution_plus_preemption_time_normalized
        prefill_e2e_time
        prefill_e2e_time_normalized
        prefill_time_execution_plus_preemption
        prefill_time_execution_plus_preemption_normalized
        decode_time_execution_plus_preemption_normalized
        request_inter_arrival_delay
        request_num_tokens
        request_num_prefill_tokens
        request_num_prefill_tokens_cached
        request_num_decode_tokens
        request_pd_ratio
        request_num_restarts
        request_arrived_at
        replica
        ");
        assert!(lines.next().unwrap().starts_with("0,1.0,"));
        let second: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(
            (second[0], second[1], second[11], second[16]),
            ("1", "3.0", "1.0", "1.5")
        );
    }
}
