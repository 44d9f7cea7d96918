//! The folder of a run that is kept: what was run, every request, the plots.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::grid::Cell;
use super::probe::Point;
use crate::deployment::BuiltCluster;
use crate::report::simulation::{Arrivals, Gather, RequestRows, Writers, plots};
use crate::sim::{PrefixTable, Source, Time, cluster};

/// Simulates and writes `config.json`, `request_metrics.csv` and `plots/`.
pub(super) fn write(
    cell: &Cell,
    point: Point,
    built: &BuiltCluster,
    source: impl Source,
    prefixes: &Arc<PrefixTable>,
    folder: &Path,
) -> std::io::Result<()> {
    let rows: Box<dyn Write> = Box::new(BufWriter::new(fs_err::File::create(
        folder.join("request_metrics.csv"),
    )?));
    let writers = Writers {
        requests: Some(RequestRows::new(rows)),
        trace: None,
    };
    let mut arrivals = Arrivals::new(source);
    let mut gather = Gather::<true>::new(&built.config, writers);
    let totals = cluster::simulate(&built.config, &mut arrivals, prefixes, Time::MAX, &mut gather);
    gather.finish()?;
    let place = folder.join("plots");
    fs_err::create_dir_all(&place)?;
    for chart in plots(&built.config, &totals, &mut gather, &mut arrivals) {
        fs_err::write(place.join(format!("{}.csv", chart.name)), chart.csv())?;
        let svg = chart.svg().map_err(std::io::Error::other)?;
        fs_err::write(place.join(format!("{}.svg", chart.name)), svg)?;
    }
    let config = serde_json::json!({
        "cell": cell, "point": point, "cost": built.origin, "engine": built.config.engine, "totals": totals,
    });
    fs_err::write(folder.join("config.json"), format!("{config:#}\n"))
}
