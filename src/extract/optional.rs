//! `Option<E>` and `Result<E, E::Rejection>` of any extractor.

use std::convert::Infallible;

use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts `None` if the part is absent. A malformed part still rejects the record.
impl<S: Sync, E: FromRecord<S, Rejection = Rejection>> FromRecord<S> for Option<E> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, state: &S) -> Result<Self, Rejection> {
        match E::from_record(record, state).await {
            Ok(value) => Ok(Some(value)),
            Err(rejection) if rejection.is_absent() => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

/// Passes the rejection to the handler.
impl<S: Sync, E: FromRecord<S>> FromRecord<S> for Result<E, E::Rejection> {
    type Rejection = Infallible;

    async fn from_record(record: &Record, state: &S) -> Result<Self, Infallible> {
        Ok(E::from_record(record, state).await)
    }
}
