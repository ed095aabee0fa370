//! The raw body.

use std::borrow::Cow;

use super::{FromRecord, Rejection};
use crate::record::Record;

/// The message's body as it is, a text.
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

/// The body's text, which every extractor of what is inside the body begins with.
pub(super) fn body(record: &Record) -> Result<Cow<'_, str>, Rejection> {
    let body = record.body().map_err(|error| Rejection::malformed("body", error))?;
    body.ok_or_else(|| Rejection::absent("body"))
}
