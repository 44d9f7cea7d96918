//! Events and how they are shown.
