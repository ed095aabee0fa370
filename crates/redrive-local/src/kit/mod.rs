//! The test kit: it runs a consumer with its queue and dead-letter queue in one test, on tokio's paused clock.

mod history;
mod mapping;
mod queue;
mod stack;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

pub use self::history::{DeadLetter, Delivery};
pub use self::mapping::Mapping;
pub use self::queue::{QueueBuilder, TestQueue};
pub use self::stack::{Stack, TemplateBuilder};

use super::faults::Faults;
use super::sqs::Sqs;

/// SQS and event source mappings for a test.
///
/// A test runs the real code. An SDK client sends messages, and a mapping polls them and builds the event as Lambda
/// does. The consumer handles the event as on Lambda, and its answer decides what happens to the messages. On tokio's
/// paused clock (`#[tokio::test(start_paused = true)]`) hours of retries take milliseconds. The same seed repeats the
/// same run.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use redrive::Body;
/// use redrive_local::Kit;
///
/// async fn place(Body(order): Body) -> Result<(), String> {
///     if order == "poison" { Err("not an order".into()) } else { Ok(()) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let kit = Kit::with_seed(1);
/// let orders = kit.queue("orders").max_receive_count(5).create().await?;
/// orders.mapping(redrive::handler(place)).start()?;
///
/// let good = orders.send("an order").await?;
/// let bad = orders.send("poison").await?;
/// kit.until_idle().await;
///
/// assert_eq!(orders.deliveries_of(&good).len(), 1);
/// assert_eq!(orders.deliveries_of(&bad).len(), 5);
/// let [dead] = &orders.dead_letters()[..] else { panic!("one message is dead") };
/// assert_eq!((dead.body.as_str(), dead.why.as_deref()), ("poison", Some("not an order")));
/// # Ok::<(), redrive_local::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A whole template
///
/// A template describes the deployment: queues with their attributes and RedrivePolicies, and mappings with batch size,
/// window, concurrency, filters, `ReportBatchItemFailures` and the function's timeout. A test that deploys the template
/// tests these settings too. It fails because of a filter that matches nothing, a `maxReceiveCount` of 1, or a
/// forgotten `FunctionResponseTypes`. The test gives a handler for each function that a queue is mapped to, by its
/// logical id:
///
/// ```
/// use redrive::Json;
/// use redrive_local::Kit;
///
/// async fn place(Json(order): Json<u32>) -> Result<(), String> {
///     if order == 13 { Err("unknown order".into()) } else { Ok(()) }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let kit = Kit::with_seed(1);
/// # std::env::set_current_dir("../..").unwrap();
/// let stack = kit.template("template.yaml").function("Orders", redrive::handler(place)).deploy().await?;
/// let orders = stack.queue("OrdersQueue")?;
///
/// let good = orders.send_json(&7).await?;
/// let bad = orders.send_json(&13).await?;
/// kit.until_idle().await;
///
/// assert!(orders.deliveries_of(&good)[0].done);
/// assert_eq!(orders.deliveries_of(&bad).len(), 5, "the template's maxReceiveCount");
/// assert_eq!(orders.dead_letters()[0].message_id, bad);
/// # Ok::<(), redrive_local::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The handlers run in the test's process. They do not see the environment variables of the template, and their memory
/// is not limited.
#[derive(Clone, Debug)]
pub struct Kit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sqs: Sqs,
    /// The names of queues with a mapping.
    mapped: Mutex<Vec<String>>,
    /// The running mappings, which end with the kit.
    running: Mutex<JoinSet<()>>,
}

impl Kit {
    /// Creates an account without queues, whose run can be repeated. Ids and faults come from the seed, and the clock
    /// starts at 2026-01-01.
    ///
    /// This also seeds the thread's generator of the crate `fastrand`, because the AWS SDK takes the jitter of its
    /// retries from it.
    pub fn with_seed(seed: u64) -> Self {
        fastrand::seed(seed);
        let inner = Inner { sqs: Sqs::with_seed(seed), mapped: Mutex::default(), running: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the SQS of this kit, for operations that the kit does not wrap.
    pub fn sqs(&self) -> &Sqs {
        &self.inner.sqs
    }

    /// Sets the faults of all further calls, see [`Faults`].
    pub fn set_faults(&self, faults: Faults) {
        self.inner.sqs.set_faults(faults);
    }

    /// Returns a builder for a queue. With a [`max_receive_count`](QueueBuilder::max_receive_count) the queue has a
    /// dead-letter queue. A name that ends in `.fifo` makes a FIFO queue.
    pub fn queue(&self, name: &str) -> QueueBuilder {
        QueueBuilder::new(self.clone(), name)
    }

    /// Returns a builder for the queues and mappings of a SAM or CloudFormation template: see
    /// [the example](Kit#a-whole-template). The path is relative to the working directory, which is the package's root
    /// in a cargo test.
    pub fn template(&self, file: impl AsRef<Path>) -> TemplateBuilder {
        TemplateBuilder::of_file(self.clone(), file.as_ref())
    }

    /// Returns a builder for the template with this text.
    pub fn template_text(&self, text: impl Into<String>) -> TemplateBuilder {
        TemplateBuilder::of_text(self.clone(), text.into())
    }

    /// Waits until the queues with a mapping are empty. They have no visible, in-flight or delayed messages then, and
    /// no message is on its way back from a dead-letter queue. All messages are processed, dead-lettered or expired.
    ///
    /// A message that always fails in a queue without a dead-letter queue expires after the retention period. The
    /// default is four days of the paused clock.
    pub async fn until_idle(&self) {
        loop {
            let changed = self.inner.sqs.next_change();
            let mapped = lock(&self.inner.mapped).clone();
            if mapped.iter().all(|name| self.inner.sqs.is_empty(name)) && !self.inner.sqs.is_moving() {
                return;
            }
            changed.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No user code runs under these locks, so a panic cannot leave invalid data.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
