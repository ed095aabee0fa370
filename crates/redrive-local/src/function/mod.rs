//! Defines the target of an event source mapping.
//!
//! ```text
//! Slot::take: a permit of Slots -> Function::ready -> Invoker          then: receive messages -> Slot::invoke
//! ```
//!
//! A [`Function`] says how many invocations it runs at a time, and prepares an [`Invoker`] for each of them. A mapping
//! gets the invoker only inside a [`Slot`], which it takes before it receives messages. This crate runs functions in
//! this process. The command `redrive` implements the trait for child processes and for a URL.

mod error;
mod error_report;
mod in_process;
mod slots;
#[cfg(test)]
pub(crate) mod test_function;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;

pub use self::error::InvokeError;
pub use self::error_report::ErrorReport;
pub use self::in_process::InProcess;
pub use self::slots::{SlotPermit, Slots};

/// Lambda's limit for a function's answer, in bytes. Events have the same limit.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024 + 100;

/// A boxed future, so that [`Function`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A function, wherever it runs.
///
/// A mapping never calls [`ready`](Self::ready) and [`try_ready`](Self::try_ready) itself. It takes a [`Slot`], which
/// has a permit of [`slots`](Self::slots) first.
pub trait Function: Send + Sync {
    /// Returns the slots that all mappings of this function share.
    fn slots(&self) -> &Slots;

    /// Waits until an invocation can start at once: a process polls, or a server accepts connections.
    fn ready(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Invoker>, InvokeError>>;

    /// Returns another invoker if that needs no wait and starts no process.
    fn try_ready(self: Arc<Self>) -> Option<Box<dyn Invoker>>;

    /// Returns whether an invocation may take longer than its timeout, for example because a server builds the function
    /// first.
    fn may_outlast_timeout(&self) -> bool {
        false
    }
}

/// A part of a function that can run an invocation at once, for example a process that polls. It runs one at a time.
pub trait Invoker: Send + Sync {
    /// Returns the answer unchanged; it may not be JSON. An error fails the whole batch, unless the function
    /// [has not run](InvokeError::NotRun). In that case the caller may invoke again.
    ///
    /// Dropping the future ends the invocation where that is possible.
    fn invoke<'a>(&'a mut self, invocation: &'a Invocation) -> BoxFuture<'a, Result<Bytes, InvokeError>>;
}

/// The right to one invocation of a function at a time, together with the invoker that will run it.
///
/// A mapping takes a slot before it receives messages. Nothing else invokes a function.
#[must_use = "a dropped slot becomes free again"]
pub struct Slot {
    /// Declared first, so that it is dropped before the permit. The next owner of the permit then finds the process.
    invoker: Box<dyn Invoker>,
    _permit: SlotPermit,
}

/// One invocation of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id in the function's log. A function on another server uses its own.
    pub request_id: String,
    /// The event as JSON.
    pub event: Bytes,
    pub function_arn: String,
    /// The function's own timeout, which differs from the queue's visibility timeout.
    pub timeout: Duration,
    /// The `AWSTraceHeader` in X-Ray's format.
    pub trace_header: Option<String>,
}

impl Slot {
    /// Waits for a slot at which an invocation can start at once.
    pub async fn take(function: &Arc<dyn Function>) -> Result<Self, InvokeError> {
        let permit = function.slots().take().await;
        let invoker = function.clone().ready().await?;
        Ok(Self { invoker, _permit: permit })
    }

    /// Returns another slot if one is free and no process has to be started.
    pub fn try_take(function: &Arc<dyn Function>) -> Option<Self> {
        let permit = function.slots().try_take()?;
        let invoker = function.clone().try_ready()?;
        Some(Self { invoker, _permit: permit })
    }

    /// Invokes the function, as [`Invoker::invoke`] does.
    pub async fn invoke(&mut self, invocation: &Invocation) -> Result<Bytes, InvokeError> {
        self.invoker.invoke(invocation).await
    }
}
