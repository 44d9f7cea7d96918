//! Models and GPUs as data: what is known of each, found by any of its names. Users add files of the same form.

mod gpu;
mod hf;
mod model;

use serde::Deserialize;

pub use gpu::{Efficiency, Gpu, Link, VidurDevice};
pub use model::ModelShape;

const MODELS: &str = include_str!("catalog/models.yml");
const GPUS: &str = include_str!("catalog/gpus.yml");

/// A name that is not in the catalog, or a file that cannot be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CatalogError {
    /// No entry of that name.
    #[error("no {kind} `{name}` is known{near}; add it to a file and name that file in the catalog")]
    Unknown {
        /// `model` or `GPU`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// `; did you mean ...`, or nothing.
        near: String,
    },
    /// A file of models or GPUs.
    #[error("{file}: {what}")]
    File {
        /// The file's name.
        file: String,
        /// What is wrong, with its line.
        what: String,
    },
    /// An entry that contradicts itself or is not modelled.
    #[error("model `{name}`: {what}")]
    Model {
        /// The model.
        name: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// Models and GPUs by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Vec<ModelShape>,
    gpus: Vec<Gpu>,
}

/// A file of models, of GPUs, or of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CatalogFile {
    models: Vec<ModelShape>,
    gpus: Vec<Gpu>,
}

impl Catalog {
    /// What the program brings along.
    ///
    /// # Errors
    /// None in a released program: the files are part of it, and a test reads them.
    pub fn built_in() -> Result<Self, CatalogError> {
        let mut catalog = Self {
            models: Vec::new(),
            gpus: Vec::new(),
        };
        catalog.add("models.yml", MODELS)?;
        catalog.add("gpus.yml", GPUS)?;
        Ok(catalog)
    }

    /// Adds the entries of a file of the same form as the built-in ones: `models:` and `gpus:`. An entry whose name is
    /// already there takes its place.
    ///
    /// # Errors
    /// The file is no such file, or a shape contradicts itself.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), CatalogError> {
        let read: CatalogFile = serde_saphyr::from_str(text).map_err(|error| CatalogError::File {
            file: file.to_owned(),
            what: error.to_string(),
        })?;
        for model in read.models {
            self.add_model(model)?;
        }
        for gpu in read.gpus {
            gpu.check().map_err(|what| CatalogError::File {
                file: file.to_owned(),
                what,
            })?;
            self.gpus
                .retain(|known| !known.name.eq_ignore_ascii_case(&gpu.name));
            self.gpus.push(gpu);
        }
        Ok(())
    }

    /// Adds one model, in place of one of the same name.
    ///
    /// # Errors
    /// Its shape contradicts itself.
    pub fn add_model(&mut self, model: ModelShape) -> Result<(), CatalogError> {
        model.check()?;
        self.models
            .retain(|known| !known.name.eq_ignore_ascii_case(&model.name));
        self.models.push(model);
        Ok(())
    }

    /// A model by its name, its Hugging Face identifier, the last part of that, or an alias; letter case is ignored.
    ///
    /// # Errors
    /// No such model: the message names the nearest ones.
    pub fn model(&self, name: &str) -> Result<&ModelShape, CatalogError> {
        // The latest comes first: a user's entry is meant when it shares an alias with a built-in one.
        let found = self.models.iter().rev().find(|m| m.is_called(name));
        found.ok_or_else(|| unknown("model", name, self.models.iter().map(|m| m.name.as_str())))
    }

    /// A GPU by its name or an alias; letter case, spaces, `-` and `_` are ignored.
    ///
    /// # Errors
    /// No such GPU: the message names the nearest ones.
    pub fn gpu(&self, name: &str) -> Result<&Gpu, CatalogError> {
        let found = self.gpus.iter().rev().find(|g| g.is_called(name));
        found.ok_or_else(|| unknown("GPU", name, self.gpus.iter().map(|g| g.name.as_str())))
    }

    /// All models.
    pub fn models(&self) -> &[ModelShape] {
        &self.models
    }

    /// All GPUs.
    pub fn gpus(&self) -> &[Gpu] {
        &self.gpus
    }

    /// The names under which a profile of this model may lie: its own, and those of models with equal layers, whose
    /// operators take equally long.
    pub fn profile_names<'a>(&'a self, model: &'a ModelShape) -> impl Iterator<Item = &'a str> {
        let others = self
            .models
            .iter()
            .filter(|m| m.name != model.name && m.same_layers(model));
        std::iter::once(model.name.as_str()).chain(others.map(|m| m.name.as_str()))
    }
}

fn unknown<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> CatalogError {
    let wanted = model::last_part(&name.to_lowercase()).to_owned();
    let mut scored: Vec<(f64, &str)> = known
        .map(|k| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, model::last_part(&k.to_lowercase())),
                k,
            )
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = scored
        .iter()
        .take_while(|s| s.0 > 0.5)
        .take(3)
        .map(|s| s.1)
        .collect();
    let near = if near.is_empty() {
        String::new()
    } else {
        format!("; near it: {}", near.join(", "))
    };
    CatalogError::Unknown {
        kind,
        name: name.to_owned(),
        near,
    }
}

#[cfg(test)]
mod tests;
