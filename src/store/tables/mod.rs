//! The tables of a trial's folder, in every form that the users' programs have had.

mod pyfloat;

pub use pyfloat::{PyBool, PyFloat, Short};

/// Names of folders and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Ours: `IN_OUT/<timestamp>/`, the latest columns and more.
    Mst,
    /// The older program, newest form.
    Latest,
    /// The older program, March 2026.
    New,
    /// The older program as its README describes it.
    Doc,
}
