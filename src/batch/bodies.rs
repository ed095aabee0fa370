//! Bodies that are elsewhere, for records that only say where.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::outcome::BoxError;
use crate::record::Record;

/// A record with its body. An error is a failure of the record, and a retry.
pub(crate) type WithBody = Result<Record, BoxError>;

pub(crate) type Fetch<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who brings them: asked before layers, extractors and handler see a record. What happens at the queue still goes by the record as it
/// came, so that a dead letter is as large as the message was.
pub(crate) trait Bodies: fmt::Debug + Send + Sync {
    fn fetch<'a>(&'a self, record: &'a Record) -> Fetch<'a, WithBody>;

    /// The same for several at a time.
    fn fetch_all<'a>(&'a self, records: &'a [Record]) -> Fetch<'a, Vec<WithBody>>;
}
