//! One object of S3: written whole, and read whole within a bound.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;

use super::pointer::Pointer;
use super::readable::Readable;

/// # Errors
///
/// Where it is not known to be there.
pub(super) async fn put(client: &Client, place: &Pointer, body: String) -> Result<(), String> {
    let put = client.put_object().bucket(&place.s3_bucket_name).key(&place.s3_key);
    let put = put.body(ByteStream::from(body.into_bytes())).send().await;
    put.map(drop).map_err(|error| format!("s3:PutObject {place}: {}", DisplayErrorContext(error)))
}

/// # Errors
///
/// Where it is not there, is longer than that, or is no text.
pub(super) async fn get(client: &Client, place: &Readable, max_bytes: usize) -> Result<String, String> {
    let place = place.place();
    let get = client.get_object().bucket(&place.s3_bucket_name).key(&place.s3_key).send().await;
    let object = get.map_err(|error| format!("s3:GetObject {place}: {}", DisplayErrorContext(error)))?;
    let length = object.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let too_long = || format!("{place} is longer than the {max_bytes} bytes that LargeMessages::max_size allows");
    if length > max_bytes {
        return Err(too_long());
    }
    let (mut bytes, mut stream) = (Vec::with_capacity(length), object.body);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| format!("{place} breaks off: {}", DisplayErrorContext(error)))?;
        // What has no length, or a wrong one.
        if bytes.len() + chunk.len() > max_bytes {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|error| format!("{place} is not a text: {}", error.utf8_error()))
}
