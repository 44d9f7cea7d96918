//! Files that are read, opened by somebody else.

use std::io::Read;

/// A file: its name for messages, and its content, unpacked.
pub struct Input<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// Its content.
    pub reader: &'a mut dyn Read,
}

impl<'a> Input<'a> {
    /// A file of that name.
    pub fn new(name: &'a str, reader: &'a mut dyn Read) -> Self {
        Self { name, reader }
    }
}
