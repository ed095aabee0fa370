//! Extracts the raw body.

use std::borrow::Cow;

use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts the message's body as text.
///
/// ```
/// use redrive::Body;
///
/// async fn count(Body(text): Body) {
///     println!("{} characters", text.chars().count());
/// }
/// # let _ = redrive::handler(count);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(pub String);

wraps!(Body(String));

impl<S: Sync> FromRecord<S> for Body {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        Ok(Self(body(record)?.into_owned()))
    }
}

/// Returns the body's text for the extractors that parse it.
pub(super) fn body(record: &Record) -> Result<Cow<'_, str>, Rejection> {
    let body = record.body().map_err(|error| Rejection::malformed("body", error))?;
    body.ok_or_else(|| Rejection::absent("body"))
}
