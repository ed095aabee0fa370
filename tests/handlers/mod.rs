//! What becomes of a record by what its handler does, wherever it came from. Each host's tests have these, with a `kit` of
//! their own that takes a batch to the consumer and says which of its records are not done.

mod bulk;
pub(crate) mod extractors;
mod fifo;
mod layers;
mod outcomes;
mod panics;
mod settled;
mod small_batches;
