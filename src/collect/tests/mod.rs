//! The collector against a vendor that is played in memory, and the real journal.

mod changes;
mod faults;
mod outlook;
mod play;
mod rewinds;
mod scenarios;

pub(super) use play::example_facts;
