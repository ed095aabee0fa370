//! Notifications of S3.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::envelope::parse_envelope;
use super::form::Form;
use super::{FromRecord, Rejection};
use crate::record::Record;

/// The records of a notification that S3 sent to the queue.
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
/// The `s3:TestEvent` that S3 sends once, when the notification is set up, is discarded and not handed to the handler.
/// A notification that came through SNS is a [`Sns<S3Notification>`](crate::Sns). Through EventBridge S3 sends another form, an
/// [`EventBridge<T>`](crate::EventBridge) with a type of yours. The error of a record of these, or of CloudTrail's, says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3(pub Vec<S3Record>);

wraps!(S3(Vec<S3Record>));

/// What S3 sends: records, or none where it is the test event.
///
/// The form: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Notification {
    /// What happened to which objects; empty in the test event.
    pub records: Vec<S3Record>,
}

/// One thing that happened to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Record {
    /// What happened, as in `ObjectCreated:Put`.
    pub event_name: String,
    /// When, in ISO 8601.
    pub event_time: String,
    /// The bucket's name.
    pub bucket: String,
    /// The object's key as it is in the bucket. (In the notification it is URL-encoded; this is decoded.)
    pub key: String,
    /// The key as it is in the notification. Ceph, MinIO and others do not encode keys, or not as S3 does: there this is the
    /// key, and `key` is another one where it has a `+` or a `%`.
    pub raw_key: String,
    /// The object's size in bytes; absent where it was deleted.
    pub size: Option<u64>,
    /// The object's ETag.
    pub e_tag: Option<String>,
    /// The object's version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// Orders the events of one key: compare as hexadecimal numbers, the shorter one padded with zeros on the left.
    pub sequencer: Option<String>,
}

impl<S: Sync> FromRecord<S> for S3 {
    type Rejection = Rejection;

    async fn from_record(record: &Record, _: &S) -> Result<Self, Rejection> {
        match parse_envelope(record, "S3 notification", Form::S3)? {
            Wire::Records { records } => Ok(Self(records.into_iter().map(S3Record::from).collect())),
            Wire::Test { .. } => Err(Rejection::discard("the test event that S3 sends when a notification is set up")),
        }
    }
}

impl<'de> Deserialize<'de> for S3Notification {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let records = match Wire::deserialize(deserializer)? {
            Wire::Records { records } => records.into_iter().map(S3Record::from).collect(),
            Wire::Test { .. } => Vec::new(),
        };
        Ok(Self { records })
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "this is neither a list of S3's `Records` nor its test event")]
enum Wire {
    Records {
        #[serde(rename = "Records")]
        records: Vec<WireRecord>,
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
struct WireRecord {
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

impl From<WireRecord> for S3Record {
    fn from(wire: WireRecord) -> Self {
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

/// Keys come as a form's fields do: a space is a plus, and the rest is percent-encoded UTF-8.
fn decode_key(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}
