//! The objects that a record names.

use crate::vendors::field::Identifier;
use crate::vendors::lenient::{Text, json_object};

json_object! {
    /// A primary or parent entity, or a tag.
    pub(super) struct Entity<'a> {
        pub(super) id: Identifier<'a> = "id",
        pub(super) kind: Text<'a> = "type",
        pub(super) name: Text<'a> = "value",
    }
}
