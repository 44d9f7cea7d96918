//! Who carries a trial out.
