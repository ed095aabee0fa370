//! Tests the outcome of a record by the behaviour of its handler, on every host. Each host's test binary includes these
//! tests. Its `kit` runs a batch on that host and returns the records that are not done.

mod bulk;
pub(crate) mod extractors;
mod fifo;
mod layers;
mod outcomes;
mod panics;
mod settled;
mod small_batches;
