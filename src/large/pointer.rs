//! What stands in the place of a body that is in S3, in the form of AWS's extended client libraries.

use serde::{Deserialize, Serialize};

use crate::json::{JsonError, escaped};

/// The message attribute by which a receiver knows a pointer: a `Number`, the bytes of the body.
pub(super) const SIZE_ATTRIBUTE: &str = "ExtendedPayloadSize";
/// Its name before version 2 of the library for Java.
const OLD_SIZE_ATTRIBUTE: &str = "SQSLargePayloadSize";

pub(super) const SIZE_ATTRIBUTES: [&str; 2] = [SIZE_ATTRIBUTE, OLD_SIZE_ATTRIBUTE];

/// The class that the library for Java makes of it.
const CLASS: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";

/// Where a body is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    pub(super) s3_bucket_name: String,
    pub(super) s3_key: String,
}

impl Pointer {
    /// Reads what stands in the place of the body. The class has had several names, and says nothing more.
    pub(super) fn parse(body: &str) -> Result<Self, JsonError> {
        let (_class, pointer): (String, Self) = serde_json::from_str(body)?;
        Ok(pointer)
    }

    /// What stands in the place of the body.
    pub(super) fn to_body(&self) -> String {
        let pointer = serde_json::json!([CLASS, { "s3BucketName": self.s3_bucket_name, "s3Key": self.s3_key }]);
        escaped(pointer.to_string())
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its sender has written both, and a log has one line for it.
        write!(f, "s3://{}/{}", self.s3_bucket_name.escape_debug(), self.s3_key.escape_debug())
    }
}
