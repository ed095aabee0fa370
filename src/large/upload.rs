//! Replaces a body with a pointer, and writes the body to S3.

use std::fmt::Display;

use super::pointer::Pointer;
use super::{LargeMessages, object};

/// A body to store in S3 before its message is sent.
pub(crate) struct Offloaded {
    place: Pointer,
    body: String,
}

impl LargeMessages {
    /// Replaces the body with a pointer to a new object. The id makes the object's key unique.
    pub(crate) fn replace_body(&self, body: &mut String, id: impl Display) -> Offloaded {
        let key = format!("{}{id}", self.key_prefix);
        let place = Pointer { s3_bucket_name: self.bucket.clone(), s3_key: key };
        let body = std::mem::replace(body, place.to_body());
        Offloaded { place, body }
    }

    /// Writes the body to its object.
    ///
    /// # Errors
    ///
    /// Returns an error if the object may not be in the bucket.
    pub(crate) async fn put(&self, offloaded: Offloaded) -> Result<(), String> {
        let Offloaded { place, body } = offloaded;
        object::put(self.client().await?, &place, body).await
    }
}
