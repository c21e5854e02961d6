//! Transforms: the steps between a source and a sink, each named in the pipeline file and fed by its `inputs`.
//!
//! ```text
//! source --raw records--> normalize --events in the schema--> filter --events that its condition holds for--> sink
//! ```
//!
//! A transform is a pure function of one event and its settings: it holds nothing between events, so a range of the
//! journal can be delivered again with the same result. [`registry`] is the only place that knows every transform by name.

pub mod condition;
pub mod filter;
pub mod normalize;
pub mod registry;
