//! Classes of a mix in objectives.

use serde::{Deserialize, Serialize};

use super::Entry;

/// A class of a mix: by its place, counted from 0, or by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "class: write its place in the mix, counted from 0, or its name"
)]
pub enum Class {
    /// Its place.
    Place(u16),
    /// Its name.
    Name(String),
}

impl Entry {
    /// The same for a workload with these classes, in order: a class by its name becomes one by its place.
    ///
    /// # Errors
    /// When the workload has no such class; with those that it has.
    pub fn with_classes(&self, names: &[Option<String>]) -> Result<Self, String> {
        let mut entry = self.clone();
        entry.place_classes(names)?;
        Ok(entry)
    }

    fn place_classes(&mut self, names: &[Option<String>]) -> Result<(), String> {
        let place = match &self.class {
            None => None,
            Some(Class::Place(place)) => Some(usize::from(*place)).filter(|place| *place < names.len()),
            Some(Class::Name(name)) => names.iter().position(|known| known.as_ref() == Some(name)),
        };
        if let Some(class) = &self.class {
            let place = place.and_then(|place| u16::try_from(place).ok());
            let place = place.ok_or_else(|| format!("class: there is no {class}; {}", told(names)))?;
            self.class = Some(Class::Place(place));
        }
        for part in [&mut self.all, &mut self.any, &mut self.slos]
            .into_iter()
            .flatten()
            .flatten()
        {
            part.place_classes(names)?;
        }
        Ok(())
    }

    /// The place of its class. One that is given by name has none before a workload says which it is: as of any.
    pub(super) fn place(&self) -> Option<u16> {
        match self.class {
            Some(Class::Place(place)) => Some(place),
            _ => None,
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place(place) => write!(f, "{place}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// Which classes there are.
fn told(names: &[Option<String>]) -> String {
    if names.len() < 2 {
        return "its requests are of one class, 0; write a `mix` for several".to_owned();
    }
    let known: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            name.as_ref()
                .map_or(place.to_string(), |name| format!("{place} (`{name}`)"))
        })
        .collect();
    format!("its classes are {}", known.join(", "))
}
