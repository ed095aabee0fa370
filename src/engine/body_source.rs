//! Bodies that are elsewhere, for records that only say where.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::outcome::BoxError;
use crate::record::Record;

/// A record with its body. An error is a failure of the record, and a retry.
pub(crate) type WithBody = Result<Record, BoxError>;

pub(crate) type Fetch<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A record whose body is asked for together with others.
pub(crate) struct Wanted {
    pub(crate) record: Record,
    /// How long the body is, where a fetch has found that out and could not go on.
    pub(crate) bytes: Option<usize>,
}

/// Fetches them: asked before layers, extractors and handler see a record. What happens at the queue still goes by the record as it
/// came, so that a dead letter is as large as the message was.
///
/// A body takes memory from before it is fetched until its record is dropped. A fetch waits for that memory, and whoever drops the fetch
/// gives it back.
pub(crate) trait BodySource: fmt::Debug + Send + Sync {
    fn fetch<'a>(&'a self, record: &'a Record) -> Fetch<'a, WithBody>;

    /// The same for several at a time. It waits for the memory of the first body alone, so that nobody waits who holds some. The others are
    /// `None` where there is no memory for them now: they are asked for again once these are dropped. All may be.
    fn fetch_some<'a>(&'a self, wanted: &'a mut [Wanted]) -> Fetch<'a, Vec<Option<WithBody>>>;
}
