//! The pointer to a body in S3, in the format of AWS's extended client libraries.

use serde::{Deserialize, Serialize};

use crate::json::{JsonError, escaped};

/// The message attribute that marks a pointer: a `Number`, the body's length in bytes.
pub(crate) const SIZE_ATTRIBUTE: &str = "ExtendedPayloadSize";
/// The attribute's name before version 2 of the Java library.
const OLD_SIZE_ATTRIBUTE: &str = "SQSLargePayloadSize";

pub(crate) const SIZE_ATTRIBUTES: [&str; 2] = [SIZE_ATTRIBUTE, OLD_SIZE_ATTRIBUTE];

/// The Java library's class for a pointer.
const CLASS: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";

/// The location of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    pub(super) s3_bucket_name: String,
    pub(super) s3_key: String,
}

impl Pointer {
    /// Reads a pointer. The name of its class varies between library versions and is ignored.
    pub(super) fn parse(body: &str) -> Result<Self, JsonError> {
        let (_class, pointer): (String, Self) = serde_json::from_str(body)?;
        Ok(pointer)
    }

    /// Returns the pointer as a message body.
    pub(super) fn to_body(&self) -> String {
        let pointer = serde_json::json!([CLASS, { "s3BucketName": self.s3_bucket_name, "s3Key": self.s3_key }]);
        escaped(pointer.to_string())
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The sender chose both names, so they are escaped to keep a log entry on one line.
        write!(f, "s3://{}/{}", self.s3_bucket_name.escape_debug(), self.s3_key.escape_debug())
    }
}
