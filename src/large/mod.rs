//! Messages whose bodies are in S3.
//!
//! ```text
//! upload:  body   -> pointer in its place -> put the body
//! fetch:   Record -> a pointer? -> room in memory -> get the body -> Record with its body -> extractors
//! ```
//!
//! `producer/offload.rs` decides which messages go through S3. Nothing here knows the producer.

mod budget;
mod envelope;
mod fetch;
mod object;
mod pointer;
mod readable;
#[cfg(feature = "producer")]
mod upload;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use self::budget::{Budget, longest_body_bytes};
use self::fetch::MAX_FETCHES;
#[cfg(feature = "producer")]
pub(crate) use self::pointer::{SIZE_ATTRIBUTE, SIZE_ATTRIBUTES};
#[cfg(feature = "producer")]
pub(crate) use self::upload::Offloaded;
use crate::handler::Consumer;
use crate::sqs::limits::MAX_MESSAGE_BYTES;

/// Sends and receives messages above the size limit of SQS through an S3 bucket.
///
/// SQS then carries a pointer in the format of AWS's extended client libraries for
/// [Java](https://github.com/awslabs/amazon-sqs-java-extended-client-lib) and
/// [Python](https://github.com/awslabs/amazon-sqs-python-extended-client-lib). Both sides are compatible with them.
///
/// A [`Producer`](crate::ProducerBuilder::large_messages) sends such messages with it. A
/// [consumer](crate::Consumer::large_messages) fetches their bodies before it extracts a handler's arguments:
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
/// Objects are never deleted, because a message may arrive twice, and from a dead-letter queue weeks later. Set a
/// [lifecycle rule](https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-expire-general-considerations.html)
/// on the bucket that lets them expire. Its days must exceed the retention of the queue and its dead-letter queue
/// together.
///
/// Permissions: a sender needs `s3:PutObject` on the objects, and a receiver needs `s3:GetObject`.
#[derive(Clone, Debug)]
#[must_use = "it is given to a producer or a consumer"]
pub struct LargeMessages {
    client: Arc<OnceCell<Client>>,
    bucket: String,
    other_buckets: Vec<String>,
    key_prefix: String,
    other_prefixes: Vec<String>,
    pub(crate) threshold: usize,
    max_size: usize,
    budget: Budget,
    fetches: Arc<Semaphore>,
}

impl<K> Consumer<K> {
    /// Fetches the bodies of records whose bodies are in S3: see [`LargeMessages`](crate::LargeMessages). Layers,
    /// extractors and the handler see the message as it was sent. If its body cannot be fetched, the record is retried.
    ///
    /// A record waits for memory before its body is fetched: see [`memory_budget`](crate::LargeMessages::memory_budget).
    pub fn large_messages(self, large_messages: crate::LargeMessages) -> Self {
        self.set(|options| options.body_source = Some(Arc::new(large_messages)))
    }
}

/// The default maximum of a body. Every handler that runs has its body in memory.
const MAX_SIZE: usize = 64 * 1024 * 1024;

/// Limits how long reading the environment's configuration may take. Only the region may need a network call.
const CONFIGURATION_LIMIT: Duration = Duration::from_secs(30);

impl LargeMessages {
    /// Creates it for that bucket, with credentials, region and endpoint from the
    /// [environment](https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html). The client is created at
    /// the first large message.
    pub fn from_env(bucket: impl Into<String>) -> Self {
        Self::with(OnceCell::new(), bucket.into())
    }

    /// Creates it for that bucket with this client.
    pub fn with_client(client: &Client, bucket: impl Into<String>) -> Self {
        Self::with(OnceCell::new_with(Some(client.clone())), bucket.into())
    }

    fn with(client: OnceCell<Client>, bucket: String) -> Self {
        Self {
            client: Arc::new(client),
            bucket,
            other_buckets: Vec::new(),
            key_prefix: String::new(),
            other_prefixes: Vec::new(),
            threshold: MAX_MESSAGE_BYTES,
            max_size: longest_body_bytes(MAX_SIZE),
            budget: Budget::of_environment(),
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
        }
    }

    /// Sets the prefix of new objects' keys, such as `orders/`. The default is none. The rest of a key is random.
    ///
    /// Once a prefix is set, only keys under it are read, in every bucket. Otherwise a sender could hand any object of
    /// the bucket to the handler. [`also_read_prefix`](Self::also_read_prefix) allows further prefixes. End a prefix
    /// with `/`: without one, `orders` covers `orders1` and `orders/1` too.
    pub fn key_prefix(self, prefix: impl Into<String>) -> Self {
        Self { key_prefix: prefix.into(), ..self }
    }

    /// Sets the largest message in bytes, with attributes, that goes without S3. The default and the maximum are the 1
    /// MiB of SQS. With 0 every message goes through S3. AWS's libraries use 256 KiB.
    pub fn threshold(self, bytes: usize) -> Self {
        Self { threshold: bytes.min(MAX_MESSAGE_BYTES), ..self }
    }

    /// Allows a further prefix of keys to read, for objects that another sender has written. The default is none. An
    /// empty prefix allows every key.
    ///
    /// A consumer that sends nothing can set its prefixes here alone. Once a prefix is set, here or with
    /// [`key_prefix`](Self::key_prefix), keys under no prefix are not read. A message that points there is retried, and
    /// the error names this option.
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

    /// Allows a further bucket to read bodies from. By default a pointer to any other bucket is refused, because a
    /// sender could otherwise choose what is read with the receiver's permissions. Prefixes of keys apply to this
    /// bucket too.
    pub fn also_read_from(mut self, bucket: impl Into<String>) -> Self {
        self.other_buckets.push(bucket.into());
        self
    }

    /// Sets the largest body in bytes that is read. The default is 64 MiB, and on AWS Lambda at most a quarter of the
    /// function's memory. A longer body would end the process with all records of its batch.
    pub fn max_size(self, bytes: usize) -> Self {
        Self { max_size: bytes, ..self }
    }

    /// Sets the memory in bytes for bodies that are handled at the same time. Each counts with its copies: three times
    /// its size, or four times inside an SNS envelope. The default is half of the function's memory on AWS Lambda, and
    /// 256 MiB elsewhere.
    ///
    /// A record waits for its body's memory and holds it until its handler ends. A body above the budget runs alone.
    /// While a record waits, a worker extends its lease. On AWS Lambda the deadline ends the wait, and the record is
    /// retried. A [batch handler](crate::batch()) gets fewer records in a call if the memory has no room for all
    /// bodies.
    ///
    /// All clones share one budget, so give each consumer of a process a clone.
    ///
    /// ```no_run
    /// use redrive::LargeMessages;
    ///
    /// let payloads = LargeMessages::from_env("payloads").memory_budget(1 << 30);
    /// ```
    pub fn memory_budget(self, bytes: usize) -> Self {
        Self { budget: Budget::of_bytes(bytes), ..self }
    }

    async fn client(&self) -> Result<&Client, String> {
        let from_env = || async { Client::new(&aws_config::load_from_env().await) };
        let client = timeout(CONFIGURATION_LIMIT, self.client.get_or_init(from_env)).await;
        client.map_err(|_| format!("the configuration of the environment was not read within {CONFIGURATION_LIMIT:?}"))
    }
}
