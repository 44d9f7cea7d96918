//! Profiles on disk, in Vidur's layout: `compute/<device>/<org>/<model>/` with `mlp.csv` and `attention.csv` (or
//! `attention_derived.csv`), `network/<network device>/` with `all_reduce.csv` and `send_recv.csv`; each may be packed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CostOrigin, DeploymentError, files};
use crate::sim::catalog::{Catalog, Gpu, ModelShape};
use crate::sim::cost::tables::{ProfileFiles, ProfileSpec, ProfileTables};
use crate::sim::cost::{CostModel, Input};

/// What is looked for.
pub(super) struct Wanted<'a> {
    pub catalog: &'a Catalog,
    pub model: &'a ModelShape,
    pub gpu: &'a Gpu,
    /// The GPU as the user wrote it.
    pub device: &'a str,
    pub network: Option<&'a str>,
    /// Whether all-reduce and send/receive are needed.
    pub communicates: [bool; 2],
}

/// The files of a profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    mlp: PathBuf,
    attention: PathBuf,
    all_reduce: Option<PathBuf>,
    send_recv: Option<PathBuf>,
    notes: Vec<String>,
}

/// What was found.
pub(super) enum Found {
    Files(Profile),
    /// What is missing.
    Missing(String),
}

/// Looks for the profile of a model on a GPU.
pub(super) fn find(folders: &[PathBuf], wanted: &Wanted<'_>) -> Found {
    let (model, device) = (&wanted.model.name, wanted.device);
    if folders.is_empty() {
        return Found::Missing(format!(
            "no folder of profiles is known that could hold {model} on {device}; name one with --profiles"
        ));
    }
    let Some(mut profile) = folders.iter().find_map(|folder| compute(folder, wanted)) else {
        return Found::Missing(format!(
            "no folder of profiles has mlp.csv and attention.csv in compute/{}/{model}",
            device.to_lowercase()
        ));
    };
    let [reduces, sends] = wanted.communicates;
    if reduces || sends {
        let network = |name: &str| folders.iter().find_map(|folder| network(folder, wanted, name));
        let mut need = |name: &str, needed: bool| {
            let found = needed.then(|| network(name)).flatten();
            if needed && found.is_none() {
                profile.notes.push(format!(
                    "there is no profile network/*/{name} for {}: communication is taken from the GPU's link",
                    wanted.network.unwrap_or(device)
                ));
            }
            found
        };
        let all_reduce = need("all_reduce.csv", reduces);
        let send_recv = need("send_recv.csv", sends);
        profile.all_reduce = all_reduce;
        profile.send_recv = send_recv;
    }
    Found::Files(profile)
}

fn compute(folder: &Path, wanted: &Wanted<'_>) -> Option<Profile> {
    let compute = folder.join("compute");
    for device in devices(&compute, wanted) {
        for name in wanted.catalog.profile_names(wanted.model) {
            let place = device.join(name);
            let Some(mlp) = files::packed_or_not(&place.join("mlp.csv")) else {
                continue;
            };
            let mut notes = Vec::new();
            let on = device
                .file_name()
                .and_then(|name| wanted.catalog.gpu(&name.to_string_lossy()).ok());
            if let Some(on) = on.filter(|on| on.name != wanted.gpu.name) {
                notes.push(format!("profiled on {}, for {}", on.name, wanted.gpu.name));
            }
            if name != wanted.model.name {
                notes.push(format!("profiled as {name}, whose layers are the same"));
            }
            if let Some(attention) = files::packed_or_not(&place.join("attention.csv")) {
                return Some(Profile {
                    mlp,
                    attention,
                    notes,
                    ..Profile::default()
                });
            }
            if let Some(attention) = files::packed_or_not(&place.join("attention_derived.csv")) {
                notes.push("attention is derived, not profiled: see the README of the profiles".to_owned());
                return Some(Profile {
                    mlp,
                    attention,
                    notes,
                    ..Profile::default()
                });
            }
        }
    }
    None
}

/// The folders below `compute` that belong to the GPU, or to the one as which it is profiled: the one that is called as the
/// user calls it first.
fn devices(compute: &Path, wanted: &Wanted<'_>) -> Vec<PathBuf> {
    let stand_in = wanted.gpu.profiled_as.as_deref();
    let stand_in = stand_in.and_then(|name| wanted.catalog.gpu(name).ok());
    let mut folders: Vec<PathBuf> = names(compute)
        .into_iter()
        .filter(|name| {
            wanted
                .catalog
                .gpu(name)
                .is_ok_and(|gpu| gpu.name == wanted.gpu.name || stand_in.is_some_and(|s| s.name == gpu.name))
        })
        .map(|name| compute.join(name))
        .collect();
    let own = compute.join(wanted.device.to_lowercase());
    folders.sort_by_key(|folder| *folder != own);
    folders
}

/// A file of the node's network: of the kind that was named, else of one with these GPUs, DGX first.
fn network(folder: &Path, wanted: &Wanted<'_>, file: &str) -> Option<PathBuf> {
    let all = folder.join("network");
    if let Some(name) = wanted.network {
        return files::packed_or_not(&all.join(name.to_lowercase()).join(file));
    }
    let mut kinds: Vec<String> = names(&all)
        .into_iter()
        .filter(|kind| {
            let device = kind.split('_').next().unwrap_or(kind);
            wanted
                .catalog
                .gpu(device)
                .is_ok_and(|gpu| gpu.name == wanted.gpu.name)
        })
        .collect();
    kinds.sort_by_key(|kind| (!kind.ends_with("_dgx"), kind.clone()));
    kinds
        .iter()
        .find_map(|kind| files::packed_or_not(&all.join(kind).join(file)))
}

/// The names in a folder, in order; none where there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Reads a profile into tables.
pub(super) fn read(
    spec: &ProfileSpec<'_>,
    profile: &Profile,
) -> Result<(Arc<dyn CostModel>, CostOrigin), DeploymentError> {
    let optional = [&profile.all_reduce, &profile.send_recv];
    let mut paths = vec![profile.mlp.clone(), profile.attention.clone()];
    paths.extend(optional.iter().copied().flatten().cloned());
    let shown = |path: &Path| path.display().to_string();
    let [mlp_name, attention_name] = [shown(&profile.mlp), shown(&profile.attention)];
    let names = optional.map(|path| path.as_deref().map(shown));
    let (mut mlp, mut attention) = (files::open(&profile.mlp)?, files::open(&profile.attention)?);
    let mut readers = Vec::new();
    for path in optional {
        readers.push(path.as_deref().map(files::open).transpose()?);
    }
    let mut inputs = readers
        .iter_mut()
        .zip(&names)
        .map(|(reader, name)| match (reader, name) {
            (Some(reader), Some(name)) => Some(Input::new(name, reader)),
            _ => None,
        });
    let tables = ProfileTables::read(
        spec,
        ProfileFiles {
            mlp: Input::new(&mlp_name, &mut mlp),
            attention: Input::new(&attention_name, &mut attention),
            all_reduce: inputs.next().flatten(),
            send_recv: inputs.next().flatten(),
        },
    )?;
    let mut notes = profile.notes.clone();
    notes.extend(tables.notes().iter().cloned());
    let origin = CostOrigin {
        label: "profile",
        files: paths,
        notes,
    };
    Ok((Arc::new(tables), origin))
}
