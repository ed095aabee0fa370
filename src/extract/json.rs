//! Extracts a JSON body.

use serde::de::DeserializeOwned;

use super::body::body;
use super::{FromRecord, Rejection};
use crate::json::JsonError;
use crate::record::Record;

/// Extracts the message's body, parsed as JSON into your type.
///
/// ```
/// use redrive::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Order { order_id: String }
///
/// async fn place(Json(order): Json<Order>) { /* ... */ }
/// # let _ = redrive::handler(place);
/// ```
///
/// A body that is not JSON, or does not fit the type, rejects its record alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

wraps!(Json<T>);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRecord<S> for Json<T> {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        parse_body(record, "body").map(Self)
    }
}

/// Parses the body. `what` names it in an error.
pub(super) fn parse_body<T: DeserializeOwned>(record: &Record, what: &'static str) -> Result<T, Rejection> {
    parse(&body(record)?, what)
}

/// Parses JSON and keeps the payload out of the error.
pub(super) fn parse<T: DeserializeOwned>(json: &str, what: &'static str) -> Result<T, Rejection> {
    serde_json::from_str(json).map_err(|error| Rejection::malformed(what, JsonError::from(error)))
}
