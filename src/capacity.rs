//! The one loop that joins search, runner and criterion.
