//! Writes and reads one S3 object as a whole, within limits of size and time.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::pointer::Pointer;
use super::readable::Readable;

/// Limits the wait for the start of S3's answer, which takes milliseconds. Fetching the call's credentials counts too.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Limits how long a transfer may make no progress.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// A slower transfer fails. S3 is faster by two orders of magnitude.
const SLOWEST_BYTES_PER_SECOND: usize = 512 * 1_024;

/// Returns the time limit for transferring that many bytes.
fn transfer_limit(bytes: usize) -> Duration {
    ANSWER_LIMIT + Duration::from_secs((bytes / SLOWEST_BYTES_PER_SECOND) as u64)
}

/// Returns the client's configuration with this attempt limit, unless the client has its own.
fn limited(client: &Client, limit: Duration) -> Builder {
    let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(own.unwrap_or(limit)).build();
    Builder::new().timeout_config(timeouts)
}

/// # Errors
///
/// Returns an error if the object may not be in the bucket.
pub(super) async fn put(client: &Client, place: &Pointer, body: String) -> Result<(), String> {
    // An attempt sends the whole body, so its limit grows with the body.
    let limited = limited(client, transfer_limit(body.len()));
    let put = client.put_object().bucket(&place.s3_bucket_name).key(&place.s3_key);
    let put = put.body(ByteStream::from(body.into_bytes())).customize().config_override(limited).send().await;
    put.map(drop).map_err(|error| format!("s3:PutObject {place}: {}", cause_of(&error)))
}

/// The result of reading an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Whole(String),
    /// The object is longer than the room, with its length if S3 sent it.
    Longer(Option<usize>),
}

/// Reads an object of at most `room` bytes. An object above `max_bytes` is an error.
///
/// # Errors
///
/// Returns an error if the object does not exist, is too long, is not UTF-8 text, or arrives too slowly.
pub(super) async fn get(client: &Client, place: &Readable, room: usize, max_bytes: usize) -> Result<Got, String> {
    let place = place.place();
    let get = client.get_object().bucket(&place.s3_bucket_name).key(&place.s3_key);
    let get = get.customize().config_override(limited(client, ANSWER_LIMIT)).send().await;
    let object = get.map_err(|error| format!("s3:GetObject {place}: {}", cause_of(&error)))?;
    let length = object.content_length().and_then(|length| usize::try_from(length).ok());
    if length.is_some_and(|length| length > max_bytes) {
        return Err(too_long(place, max_bytes));
    }
    if length.is_some_and(|length| length > room) {
        return Ok(Got::Longer(length));
    }
    let limit = transfer_limit(length.unwrap_or(max_bytes));
    let bytes = match timeout(limit, read(object, place, length, room.min(max_bytes))).await {
        Ok(bytes) => bytes?,
        Err(_) => {
            return Err(format!("{place} did not arrive within {limit:?}; it is fetched again at the next receive"));
        }
    };
    match bytes {
        Some(bytes) => String::from_utf8(bytes)
            .map(Got::Whole)
            .map_err(|error| format!("{place} is not UTF-8 text: {}", error.utf8_error())),
        None if room < max_bytes => Ok(Got::Longer(None)),
        None => Err(too_long(place, max_bytes)),
    }
}

fn too_long(place: &Pointer, max_bytes: usize) -> String {
    format!("{place} is longer than the {max_bytes} bytes that LargeMessages::max_size allows")
}

/// Returns the body's bytes, or `None` if they exceed `room`, because S3 sent no length or a wrong one.
async fn read(
    object: GetObjectOutput,
    place: &Pointer,
    length: Option<usize>,
    room: usize,
) -> Result<Option<Vec<u8>>, String> {
    let (mut bytes, mut stream) = (Vec::with_capacity(length.unwrap_or_default()), object.body);
    loop {
        let chunk = timeout_at(Instant::now() + STALL_LIMIT, stream.next()).await;
        let chunk = chunk.map_err(|_| format!("{place} stalled: no byte arrived for {STALL_LIMIT:?}"))?;
        let Some(chunk) = chunk else { return Ok(Some(bytes)) };
        let chunk = chunk.map_err(|error| format!("{place} ended early: {}", with_causes(&error)))?;
        if bytes.len() + chunk.len() > room {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Returns S3's code and message, or the reason for a missing answer. The SDK's debug output is not used, because it
/// shows the contents of the call and its answer.
fn cause_of<E: ProvideErrorMetadata + Error + 'static, R: std::fmt::Debug + 'static>(error: &SdkError<E, R>) -> String {
    match (error.code(), error.message()) {
        (Some(code), message) => format!("{code}: {}", message.unwrap_or("S3 sent no message")),
        _ => with_causes(error),
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
