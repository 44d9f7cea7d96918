//! `mst simulate`: runs from files, recorded runs of Vidur, and what is told when something is wrong.

mod run;
mod vidur_case;
mod wrong;
