//! From the files of a folder to a measurement.

use std::path::Path;

use crate::store::fmperf_events::EventLog;
use crate::store::rows::RowReader;
use crate::store::tables::read_responses;
use crate::trial::{ClientHealth, Measurement, Outcome, RequestRecord, Response};
use crate::units::Rate;

use super::{FolderError, Overrides, StoredTrial};

impl StoredTrial {
    /// Our own rows.
    pub(super) fn read_rows(&mut self, file: &Path) -> Result<(), FolderError> {
        let mut reader = RowReader::open(file)?;
        let epoch_ns = reader.header().epoch_ns;
        let mut records: Vec<RequestRecord> = Vec::new();
        for row in &mut reader {
            let record = row?.record();
            if record.outcome != Outcome::NotSent {
                records.push(record);
            }
        }
        records.sort_by_key(|r| r.intended_ns);
        let last = |time: fn(&RequestRecord) -> Option<i64>| {
            let ns = records.iter().filter_map(time).max().unwrap_or(0);
            ns as f64 / 1e9
        };
        let sent_s = last(|r| Some(r.intended_ns));
        let done_s = last(|r| r.done_ns);
        let mut measurement = Measurement {
            asked: self.asked.unwrap_or(Rate::per_minute(0.0)),
            duration_s: self.duration_s.unwrap_or(sent_s),
            offered_s: self.duration_s.unwrap_or(sent_s),
            observed_s: done_s.max(sent_s),
            epoch_ns,
            records,
            client: ClientHealth::default(),
            // As the load generator that writes such rows says it: progress is counted in the same unit.
            planned_output: self
                .manifest
                .as_ref()
                .and_then(|m| m.spec.workload.mean_output_tokens()),
            stopped_early: false,
            tokens: None,
        };
        self.take_manifest(&mut measurement);
        self.take(measurement);
        Ok(())
    }

    /// fmperf's events.
    pub(super) fn read_results(&mut self, log: &EventLog, overrides: &Overrides) {
        self.responses = log.responses();
        self.success_rate_percent = log.success_rate_percent();
        self.asked = self.asked.or(log.req_min.map(Rate::per_minute));
        self.duration_s = self.duration_s.or(log.duration_s);
        let rate = self.asked.or(overrides.rate);
        let duration_s = self.duration_s.or(overrides.duration_s);
        self.measurement = log.measurement(rate, duration_s);
        if let Some(mut measurement) = self.measurement.take() {
            self.take_manifest(&mut measurement);
            self.measurement = Some(measurement);
        }
    }

    /// A table of responses; requests count as intended when they were sent.
    pub(super) fn read_output(&mut self, file: &Path, overrides: &Overrides) -> Result<(), FolderError> {
        let table = read_responses(file)?;
        let good = table.responses.iter().filter(|r| r.success).count();
        let percent = 100.0 * good as f64 / table.responses.len() as f64;
        self.success_rate_percent = (!table.responses.is_empty()).then_some(percent);
        let rate = self.asked.or(overrides.rate);
        let duration_s = self.duration_s.or(overrides.duration_s);
        self.measurement = EventLog::from_responses(&table.responses).measurement(rate, duration_s);
        self.responses = table.responses;
        Ok(())
    }

    /// What `trial.json` knows better.
    fn take_manifest(&self, measurement: &mut Measurement) {
        let Some(manifest) = &self.manifest else { return };
        measurement.offered_s = manifest.offered_s;
        measurement.observed_s = manifest.observed_s;
        measurement.stopped_early = manifest.stopped_early;
        measurement.client = manifest.client.clone();
    }

    fn take(&mut self, measurement: Measurement) {
        self.responses = measurement.responses();
        self.responses.sort_by_key(Response::received_s);
        let good = self.responses.iter().filter(|r| r.success).count();
        let percent = 100.0 * good as f64 / self.responses.len() as f64;
        self.success_rate_percent = (!self.responses.is_empty()).then_some(percent);
        self.measurement = (!measurement.records.is_empty()).then_some(measurement);
    }
}
