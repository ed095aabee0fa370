//! Messages whose bodies are in S3.
//!
//! ```text
//! offload:  Outgoing -> too large? -> put the body -> Outgoing with a pointer
//! fetch:    Record   -> a pointer? -> room in memory -> get the body -> Record with its body -> extractors
//! ```

mod budget;
mod envelope;
mod fetch;
mod object;
#[cfg(feature = "producer")]
mod offload;
mod pointer;
mod readable;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use self::budget::{Budget, longest_body_bytes};
use self::fetch::MAX_FETCHES;
#[cfg(feature = "producer")]
pub(crate) use self::offload::Offloaded;
use crate::handler::Consumer;
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
    budget: Budget,
    fetches: Arc<Semaphore>,
}

impl<K> Consumer<K> {
    /// Fetches the bodies of records whose bodies are in S3: see [`LargeMessages`](crate::LargeMessages). Layers, extractors and handler see
    /// the message as it was sent. A body that cannot be fetched is a failure of its record, and a retry.
    ///
    /// A record waits for memory before its body is fetched: see [`memory_budget`](crate::LargeMessages::memory_budget).
    pub fn large_messages(self, large_messages: crate::LargeMessages) -> Self {
        self.set(|options| options.body_source = Some(Arc::new(large_messages)))
    }
}

/// A handler has the body in memory, and so have those that run beside it.
const MAX_SIZE: usize = 64 * 1024 * 1024;

/// How long it may take to read the configuration of the environment. Only the region may have to be asked for.
const CONFIGURATION_LIMIT: Duration = Duration::from_secs(30);

impl LargeMessages {
    /// Through that bucket, with credentials, region and endpoint from the
    /// [environment](https://docs.aws.amazon.com/sdkref/latest/guide/creds-config-files.html). The client is made at the first large
    /// message.
    pub fn from_env(bucket: impl Into<String>) -> Self {
        Self::with(OnceCell::new(), bucket.into())
    }

    /// Through that bucket, by this client.
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

    /// Sets how many bytes a body may have that is read. The default is 64 MiB, and on AWS Lambda no more than a quarter of the function's
    /// memory: a longer one would end the process, with all records of its batch.
    pub fn max_size(self, bytes: usize) -> Self {
        Self { max_size: bytes, ..self }
    }

    /// Sets how many bytes of memory the bodies take that are read at a time, with the copies that are made of each: three times its size,
    /// or four times inside an SNS envelope. The default is half of the function's memory on AWS Lambda, and 256 MiB elsewhere.
    ///
    /// A record waits until there is memory for its body, and has the memory until its handler has ended. A body that takes more than the
    /// budget runs alone. While a record waits, a worker extends its lease; on AWS Lambda the deadline ends the wait, and the record comes
    /// back. A [batch handler](crate::batch()) gets fewer records a call where memory has no room for all of their bodies.
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
        client.map_err(|_| format!("the configuration of the environment is not read after {CONFIGURATION_LIMIT:?}"))
    }
}
