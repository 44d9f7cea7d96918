//! A part of a file.

use super::File;

impl File {
    /// What is left of the file when only `SYSTEM/WORKLOAD`, or `SYSTEM/WORKLOAD/SLO`, is searched.
    ///
    /// # Errors
    /// When there is no such combination, or it is left out; with those that there are.
    pub fn only(mut self, name: &str) -> Result<Self, String> {
        let mut fits = Vec::new();
        let mut known = Vec::new();
        for system in &self.systems {
            for workload in &self.workloads {
                let (system, workload) = (&system.value.name, &workload.value.name);
                let of_pair = format!("{system}/{workload}");
                let slos: Vec<String> = self
                    .objectives()
                    .into_iter()
                    .map(|(slo, _)| slo)
                    .filter(|slo| !self.skips(system, workload, slo))
                    .collect();
                if slos.is_empty() {
                    continue;
                }
                let chosen = |slo: Option<&String>| (system.clone(), workload.clone(), slo.cloned());
                if of_pair == name {
                    fits.push(chosen(None));
                }
                let by_slo = slos.iter().filter(|slo| format!("{of_pair}/{slo}") == name);
                fits.extend(by_slo.map(|slo| chosen(Some(slo))));
                known.push(of_pair);
            }
        }
        if fits.len() > 1 {
            return Err(format!("`{name}` fits {} combinations; rename one", fits.len()));
        }
        let Some((system, workload, slo)) = fits.pop() else {
            return Err(format!(
                "there is no `{name}`; write SYSTEM/WORKLOAD, or SYSTEM/WORKLOAD/SLO, of {}",
                known.join(", ")
            ));
        };
        self.systems.retain(|entry| entry.value.name == system);
        self.workloads.retain(|entry| entry.value.name == workload);
        if slo.is_some() {
            self.slos.retain(|entry| entry.value.name == slo);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = "\
systems: [{name: a, endpoint: {}}, {name: b, endpoint: {}}]
workloads: [{name: w, tokens: \"8:4\"}, {name: x/y, tokens: \"8:8\"}]
slos: [{name: s, type: tbt_ttft, tbt_slo: 1, ttft_slo: 1}, {name: t, type: tbt_ttft, tbt_slo: 2, ttft_slo: 1}]
skip: [{system: b, workload: w}]
";

    fn only(name: &str) -> Result<String, String> {
        let file = File::parse(FILE, Path::new("f.yml")).unwrap().only(name)?;
        let names = |all: Vec<&String>| all.into_iter().cloned().collect::<Vec<_>>().join(",");
        Ok(format!(
            "{} {} {}",
            names(file.systems.iter().map(|s| &s.value.name).collect()),
            names(file.workloads.iter().map(|w| &w.value.name).collect()),
            names(file.slos.iter().filter_map(|s| s.value.name.as_ref()).collect()),
        ))
    }

    #[test]
    fn a_pair_or_one_of_its_objectives_is_left() {
        assert_eq!(only("a/w").unwrap(), "a w s,t");
        assert_eq!(only("a/w/t").unwrap(), "a w t");
        assert_eq!(only("b/x/y").unwrap(), "b x/y s,t");
        assert_eq!(only("b/x/y/s").unwrap(), "b x/y s");
    }

    #[test]
    fn what_is_not_there_or_left_out_is_refused_with_what_there_is() {
        for name in ["a", "b/w", "b/w/s", "c/w", "a/w/u"] {
            let error = only(name).unwrap_err();
            assert!(
                error.contains(name) && error.contains("a/w, a/x/y, b/x/y"),
                "{error}"
            );
        }
    }
}
