//! Messages whose bodies are in S3.
//!
//! ```text
//! offload:  Outgoing -> too large? -> put the body -> Outgoing with a pointer
//! fetch:    Record   -> a pointer? -> get the body -> Record with its body -> extractors
//! ```

mod object;
#[cfg(feature = "producer")]
mod offload;
mod pointer;
mod readable;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use futures_util::future::join_all;
use tokio::sync::OnceCell;

#[cfg(feature = "producer")]
pub(crate) use self::offload::Offloaded;
use self::pointer::{Pointer, SIZE_ATTRIBUTES};
use crate::batch::{Bodies, Fetch, WithBody};
use crate::record::Record;
use crate::sqs::limits::MAX_MESSAGE_BYTES;

/// Messages that are larger than SQS takes: their bodies go through a bucket of S3.
///
/// What SQS carries then is a pointer, in the form of AWS's extended client libraries for
/// [Java](https://github.com/awslabs/amazon-sqs-java-extended-client-lib) and
/// [Python](https://github.com/awslabs/amazon-sqs-python-extended-client-lib): they read what this sends, and this reads what they send.
///
/// A [`Producer`](crate::ProducerBuilder::large_messages) given one sends such messages, and a
/// [consumer](crate::Consumer::large_messages) given one has their bodies before a handler's arguments are made of them:
///
/// ```no_run
/// use redrive::{Json, LargeMessages};
///
/// # #[derive(serde::Deserialize)] struct Report { lines: Vec<String> }
/// async fn file(Json(report): Json<Report>) -> anyhow::Result<()> { /* ... */ Ok(()) }
///
/// #[tokio::main]
/// async fn main() -> Result<(), redrive::Error> {
///     redrive::handler(file).large_messages(LargeMessages::from_env("reports-payloads")).run().await
/// }
/// ```
///
/// Objects are never deleted: a message may come twice, and from a dead-letter queue weeks later. A
/// [lifecycle rule](https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-expire-general-considerations.html) of the bucket has
/// them expire; its days are to be more than the retention of the queue and its dead-letter queue together.
///
/// Permissions: `s3:PutObject` on the objects for who sends, and `s3:GetObject` for who receives.
#[derive(Clone, Debug)]
#[must_use = "it is given to a producer or a consumer"]
pub struct LargeMessages {
    client: Arc<OnceCell<Client>>,
    bucket: String,
    other_buckets: Vec<String>,
    key_prefix: String,
    other_prefixes: Vec<String>,
    threshold: usize,
    max_size: usize,
}

/// A handler has the body in memory, and so have those that run beside it.
const MAX_SIZE: usize = 64 * 1024 * 1024;

impl LargeMessages {
    /// Through that bucket, with credentials, region and endpoint from the
    /// [environment](https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html). The client is made at the first large
    /// message.
    pub fn from_env(bucket: impl Into<String>) -> Self {
        Self::with(OnceCell::new(), bucket.into())
    }

    /// Through that bucket, by this client.
    pub fn with_client(client: &Client, bucket: impl Into<String>) -> Self {
        Self::with(OnceCell::new_with(Some(impatient(client))), bucket.into())
    }

    fn with(client: OnceCell<Client>, bucket: String) -> Self {
        Self {
            client: Arc::new(client),
            bucket,
            other_buckets: Vec::new(),
            key_prefix: String::new(),
            other_prefixes: Vec::new(),
            threshold: MAX_MESSAGE_BYTES,
            max_size: MAX_SIZE,
        }
    }

    /// Sets what the keys of new objects begin with, as `orders/`. The default is nothing; the rest of a key is random.
    ///
    /// Once a prefix is set, only keys under it are read, in every bucket. A sender could otherwise have any object of the bucket handed to
    /// the handler. [`also_read_prefix`](Self::also_read_prefix) allows further prefixes. End a prefix with `/`: without one, `orders`
    /// covers `orders1` and `orders/1` too.
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { key_prefix: prefix.into(), ..self }
    }

    /// Up to how many bytes, attributes included, a message goes without S3: 1 MiB by default, which is what SQS takes, and never more.
    /// With 0 every message goes through S3. AWS's libraries begin at 256 KiB.
    pub fn threshold(self, bytes: usize) -> Self {
        Self { threshold: bytes.min(MAX_MESSAGE_BYTES), ..self }
    }

    /// Allows a further prefix of keys that are read, for objects that another sender has written. The default is none, and an empty prefix
    /// allows every key.
    ///
    /// A consumer that sends nothing may name its prefixes here alone: once a prefix is named, by this or by
    /// [`key_prefix`](Self::key_prefix), keys under no prefix are not read. A message that points there is retried, and the error names this
    /// option.
    ///
    /// ```no_run
    /// use redrive::LargeMessages;
    ///
    /// let payloads = LargeMessages::from_env("payloads").key_prefix("orders/").also_read_prefix("legacy-orders/");
    /// ```
    pub fn also_read_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.other_prefixes.push(prefix.into());
        self
    }

    /// Allows a further bucket that bodies are read from. A pointer to any other bucket is refused: a sender could otherwise choose what is
    /// read with the receiver's permissions. Prefixes of keys hold for this bucket too.
    pub fn also_read_from(mut self, bucket: impl Into<String>) -> Self {
        self.other_buckets.push(bucket.into());
        self
    }

    /// How many bytes a body may have that is read, 64 MiB by default. Bodies are in memory whole, and as many at a time as handlers run.
    pub fn max_size(self, bytes: usize) -> Self {
        Self { max_size: bytes, ..self }
    }

    async fn client(&self) -> &Client {
        let from_env = || async { impatient(&Client::new(&aws_config::load_from_env().await)) };
        self.client.get_or_init(from_env).await
    }

    /// The record with the body that it points at, or as it is where it points at none.
    async fn with_body(&self, record: &Record) -> WithBody {
        let Some(attribute) = size_attribute(record) else { return Ok(record.clone()) };
        let body = record.body()?.unwrap_or_default();
        let place = Pointer::parse(&body).map_err(|error| {
            format!("its attribute {attribute} says that its body is in S3, and its body does not say where: {error}")
        })?;
        let place = self.readable(place)?;
        let body = object::get(self.client().await, &place, self.max_size).await;
        let body = body.map_err(|error| format!("its body cannot be fetched: {error}"))?;
        record.with_body(&body, attribute)
    }
}

impl Bodies for LargeMessages {
    fn fetch<'a>(&'a self, record: &'a Record) -> Fetch<'a, WithBody> {
        Box::pin(self.with_body(record))
    }

    fn fetch_all<'a>(&'a self, records: &'a [Record]) -> Fetch<'a, Vec<WithBody>> {
        Box::pin(join_all(records.iter().map(|record| self.with_body(record))))
    }
}

/// Which attribute says that the body is a pointer. What is wrong with attributes is the matter of whoever asks for one.
fn size_attribute(record: &Record) -> Option<&'static str> {
    SIZE_ATTRIBUTES.into_iter().find(|name| matches!(record.raw_message_attribute(name), Ok(Some(_))))
}

/// Until S3 begins to answer, which it does when it has the whole object. It takes milliseconds, and longer over a slow line.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The same client, which does not wait for ever. That a transfer has stalled the SDK sees itself.
fn impatient(client: &Client) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    if own.read_timeout().is_some() || own.operation_attempt_timeout().is_some() {
        return client.clone();
    }
    let timeouts = own.to_builder().read_timeout(READ_TIMEOUT).build();
    Client::from_conf(client.config().to_builder().timeout_config(timeouts).build())
}
