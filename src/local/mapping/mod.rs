//! The pure core of the event source mapping: what Lambda does between a queue and a function, without its I/O.
//!
//! ```text
//! received messages -> event (a record each) -> filter -> gather (batches) -> [the function] -> answer (who comes back)
//! ```
//!
//! Time and bytes come in as arguments. Whoever polls, invokes and deletes drives this from outside.

pub(crate) mod answer;
pub(crate) mod config;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod gather;
