//! Transforms: the steps between a source and a sink, each with a name and `inputs` in the pipeline file.
//!
//! ```text
//! source --raw records--> normalize --events of the schema--> filter --events that match its condition--> sink
//!                                                       +---> route --one output per condition--> sinks
//!                                                       \---> redact --the same, without what must not be delivered--> sinks
//! ```
//!
//! A transform is a pure function of one event and its settings, without state between events: a range of the journal can be
//! delivered again with the same result. [`registry`] is the only place that knows all transforms.

pub mod condition;
pub mod filter;
pub mod normalize;
pub mod redact;
pub mod registry;
pub mod route;
