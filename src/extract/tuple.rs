//! Tuples of extractors, for a handler's arguments and for the items of a batch handler.

use super::FromRecord;
use crate::outcome::{BoxError, IntoOutcome, Outcome, rejected};
use crate::record::Record;

/// The rejection of the first extractor in a tuple that rejected the record.
#[derive(Debug)]
pub struct TupleRejection(Result<Outcome, BoxError>);

impl TupleRejection {
    fn of(rejection: impl IntoOutcome) -> Self {
        Self(rejected(rejection))
    }
}

impl IntoOutcome for TupleRejection {
    type Error = BoxError;

    fn into_outcome(self) -> Result<Outcome, BoxError> {
        self.0
    }
}

macro_rules! impl_from_record {
    ($($member:ident),*) => {
        impl<S: Sync, $($member: FromRecord<S> + Send),*> FromRecord<S> for ($($member,)*) {
            type Rejection = TupleRejection;

            // The empty tuple uses neither variable.
            #[allow(unused_variables)]
            async fn from_record(record: &Record, state: &S) -> Result<Self, TupleRejection> {
                Ok(($($member::from_record(record, state).await.map_err(TupleRejection::of)?,)*))
            }
        }
    };
}

impl_from_record!();
impl_from_record!(A);
impl_from_record!(A, B);
impl_from_record!(A, B, C);
impl_from_record!(A, B, C, D);
impl_from_record!(A, B, C, D, E);
impl_from_record!(A, B, C, D, E, F);
impl_from_record!(A, B, C, D, E, F, G);
impl_from_record!(A, B, C, D, E, F, G, H);
