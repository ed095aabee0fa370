//! The test kit: a consumer, its queue and its dead-letter queue in one test, on tokio's paused clock.

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
/// What runs is the real thing: messages are sent with an SDK's client, polled, made into the event that Lambda makes,
/// handled by the consumer as on Lambda, and settled by what its answer means. On tokio's paused clock
/// (`#[tokio::test(start_paused = true)]`) waiting takes no time, so hours of retries are over in milliseconds; and the
/// same seed gives the same run.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use redrive::Body;
/// use redrive_local::Kit;
///
/// async fn place(Body(order): Body) -> Result<(), String> {
///     if order == "poison" { Err("this is no order".into()) } else { Ok(()) }
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
/// assert_eq!((dead.body.as_str(), dead.why.as_deref()), ("poison", Some("this is no order")));
/// # Ok::<(), redrive_local::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A whole template
///
/// A template says what production has: queues with their attributes and RedrivePolicies, and mappings with batch size,
/// window, concurrency, filters, `ReportBatchItemFailures` and the function's timeout. A test that deploys it tests those
/// too: a filter that matches nothing, a `maxReceiveCount` of 1, or a forgotten `FunctionResponseTypes` fails it. Each
/// function that a queue is mapped to is given its handler, by its logical id:
///
/// ```
/// use redrive::Json;
/// use redrive_local::Kit;
///
/// async fn place(Json(order): Json<u32>) -> Result<(), String> {
///     if order == 13 { Err("there is no such thing".into()) } else { Ok(()) }
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
/// The handlers run in the test's process, so a function's variables in the template are not in their environment, nor
/// is its memory bounded.
#[derive(Clone, Debug)]
pub struct Kit {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sqs: Sqs,
    /// Names of the queues that have a mapping.
    mapped: Mutex<Vec<String>>,
    /// Mappings end with the kit.
    running: Mutex<JoinSet<()>>,
}

impl Kit {
    /// An account without queues, whose run can be repeated: ids and faults come from the seed, and it begins on
    /// 2026-01-01.
    ///
    /// The AWS SDK takes the jitter of its retries from the generator that the crate `fastrand` has for each thread, so this seeds
    /// that too.
    pub fn with_seed(seed: u64) -> Self {
        fastrand::seed(seed);
        let inner = Inner { sqs: Sqs::with_seed(seed), mapped: Mutex::default(), running: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The SQS of this kit, for what the kit has no words for.
    pub fn sqs(&self) -> &Sqs {
        &self.inner.sqs
    }

    /// From now on these things go wrong: see [`Faults`].
    pub fn set_faults(&self, faults: Faults) {
        self.inner.sqs.set_faults(faults);
    }

    /// A queue that is to be made, with a dead-letter queue if it is given a
    /// [`max_receive_count`](QueueBuilder::max_receive_count). A name that ends in `.fifo` is that of a FIFO queue.
    pub fn queue(&self, name: &str) -> QueueBuilder {
        QueueBuilder::new(self.clone(), name)
    }

    /// A SAM or CloudFormation template, whose queues and mappings are to be made as it says: see [the example](Kit#a-whole-template).
    /// The path begins where the test runs, which under cargo is the package's root.
    pub fn template(&self, file: impl AsRef<Path>) -> TemplateBuilder {
        TemplateBuilder::of_file(self.clone(), file.as_ref())
    }

    /// The same, with the template's text.
    pub fn template_text(&self, text: impl Into<String>) -> TemplateBuilder {
        TemplateBuilder::of_text(self.clone(), text.into())
    }

    /// Waits until the queues that have a mapping have no message left: none visible, in flight or delayed, and none on its
    /// way there from a dead-letter queue. All of them are processed then, dead-lettered or expired.
    ///
    /// A message that fails for ever, in a queue without a dead-letter queue, ends by its retention period: after four
    /// days of the paused clock.
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
    // No user's code runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
