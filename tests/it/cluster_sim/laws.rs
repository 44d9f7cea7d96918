//! Laws that hold in every run.
