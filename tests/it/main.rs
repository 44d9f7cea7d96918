//! One integration binary: it links once.

mod architecture;
mod archive;
mod config;
mod criteria;
mod external;
mod native;
mod report;
mod run;
mod search;
mod serve;
mod support;
