//! Fetches bodies that are stored outside their message.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::outcome::BoxError;
use crate::record::Record;

/// A record with its body. An error fails the record, and the record is retried.
pub(crate) type WithBody = Result<Record, BoxError>;

pub(crate) type Fetch<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A record whose body is fetched together with others.
pub(crate) struct Wanted {
    pub(crate) record: Record,
    /// The length of the body, if an earlier fetch found it and stopped for lack of memory.
    pub(crate) bytes: Option<usize>,
}

/// Fetches bodies before layers, extractors and handler see a record. Dead letters are made from the original record,
/// so that they are as large as the original message.
///
/// A fetch reserves memory for the body first and waits until that memory is free. The reservation ends when the record
/// is dropped. Dropping a pending fetch releases the memory too.
pub(crate) trait BodySource: fmt::Debug + Send + Sync {
    fn fetch<'a>(&'a self, record: &'a Record) -> Fetch<'a, WithBody>;

    /// Fetches several bodies. It waits only for the memory of the first body, so that no call waits for memory while
    /// it holds some. A body that does not fit now is `None`; the caller asks again after it has dropped the others.
    /// All of them may be `None`.
    fn fetch_some<'a>(&'a self, wanted: &'a mut [Wanted]) -> Fetch<'a, Vec<Option<WithBody>>>;
}
