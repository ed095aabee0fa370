//! Extracts S3 notifications.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::envelope::parse_envelope;
use super::form::Form;
use super::{FromRecord, Rejection};
use crate::record::Record;

/// Extracts the records of a notification that S3 sent to the queue.
///
/// ```
/// use redrive::S3;
///
/// async fn index(S3(records): S3) {
///     for record in records {
///         println!("{} {}/{}", record.event_name, record.bucket, record.key);
///     }
/// }
/// # let _ = redrive::handler(index);
/// ```
///
/// S3 sends an `s3:TestEvent` once when the notification is configured, which is discarded without a call of the
/// handler. Use [`Sns<S3Notification>`](crate::Sns) for a notification through SNS. Through EventBridge S3 sends
/// another format, so use [`EventBridge<T>`](crate::EventBridge) with a type of yours. The error for one of these
/// formats, or for CloudTrail's, names the right extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3(pub Vec<S3Record>);

wraps!(S3(Vec<S3Record>));

/// An S3 notification: records, or none in the test event.
///
/// S3 documents its format:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Notification {
    /// The events of objects. The test event has none.
    pub records: Vec<S3Record>,
}

/// One event of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Record {
    /// The event's name, as in `ObjectCreated:Put`.
    pub event_name: String,
    /// The time of the event, in ISO 8601.
    pub event_time: String,
    /// The bucket's name.
    pub bucket: String,
    /// The object's key, decoded from the URL-encoded notification.
    pub key: String,
    /// The key as the notification has it. Ceph, MinIO and others do not encode keys as S3 does. There this is the real
    /// key, and `key` differs if it contains a `+` or a `%`.
    pub raw_key: String,
    /// The object's size in bytes. It is absent after a deletion.
    pub size: Option<u64>,
    /// The object's ETag.
    pub e_tag: Option<String>,
    /// The object's version, in a bucket with versioning.
    pub version_id: Option<String>,
    /// Orders the events of one key. Compare them as hexadecimal numbers, with zeros added to the left of the shorter
    /// one.
    pub sequencer: Option<String>,
}

impl<S: Sync> FromRecord<S> for S3 {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        match parse_envelope(record, "S3 notification", Form::S3)? {
            NotificationJson::Records { records } => Ok(Self(records.into_iter().map(S3Record::from).collect())),
            NotificationJson::Test { .. } => {
                Err(Rejection::discard("the test event that S3 sends when a notification is configured"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for S3Notification {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let records = match NotificationJson::deserialize(deserializer)? {
            NotificationJson::Records { records } => records.into_iter().map(S3Record::from).collect(),
            NotificationJson::Test { .. } => Vec::new(),
        };
        Ok(Self { records })
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "this is neither a list of S3's `Records` nor its test event")]
enum NotificationJson {
    Records {
        #[serde(rename = "Records")]
        records: Vec<RecordJson>,
    },
    Test {
        #[serde(rename = "Event")]
        _event: TestEvent,
    },
}

#[derive(Deserialize)]
enum TestEvent {
    #[serde(rename = "s3:TestEvent")]
    TestEvent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordJson {
    event_name: String,
    event_time: String,
    s3: WireS3,
}

#[derive(Deserialize)]
struct WireS3 {
    bucket: WireBucket,
    object: WireObject,
}

#[derive(Deserialize)]
struct WireBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireObject {
    key: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    e_tag: Option<String>,
    #[serde(default)]
    version_id: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

impl From<RecordJson> for S3Record {
    fn from(wire: RecordJson) -> Self {
        let object = wire.s3.object;
        Self {
            event_name: wire.event_name,
            event_time: wire.event_time,
            bucket: wire.s3.bucket.name,
            key: decode_key(&object.key),
            raw_key: object.key,
            size: object.size,
            e_tag: object.e_tag,
            version_id: object.version_id,
            sequencer: object.sequencer,
        }
    }
}

/// Decodes a key, which is encoded like a form field: a space is a plus, and the rest is percent-encoded UTF-8.
fn decode_key(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}
