//! The outcome of a record, and the types a handler may return for it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::time::Duration;

/// A boxed error, as layers and logs receive it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The outcome of a record.
///
/// A handler that returns nothing, or `Ok(())`, is [`Done`](Outcome::Done). One that returns an error is
/// [`Retry`](Outcome::Retry), unless [`Consumer::classify`](crate::Consumer::classify) says otherwise. Use this type
/// for every other outcome:
///
/// ```
/// use redrive::{Json, Outcome};
///
/// # #[derive(serde::Deserialize)]
/// # struct Payment { already_settled: bool }
/// async fn settle(Json(payment): Json<Payment>) -> Outcome {
///     if payment.already_settled {
///         return Outcome::Discard("settled before".into());
///     }
///     Outcome::Done
/// }
/// # let _ = redrive::handler(settle);
/// ```
///
/// `RetryAfter` and `DeadLetter` make calls to the queue, which `Consumer::effects` (feature `sqs`) turns on. Without
/// effects, or if the call fails, they become `Retry` and log a warning. The record is then retried after the queue's
/// visibility timeout, until the queue's
/// [RedrivePolicy](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html)
/// moves it to the dead-letter queue. No record is acknowledged before SQS has accepted it where it should go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an outcome has an effect only if the handler returns it"]
#[non_exhaustive]
pub enum Outcome {
    /// The record was processed. It is deleted from the queue.
    Done,
    /// The record failed. It is retried after the queue's visibility timeout.
    Retry,
    /// The record failed. It is retried after this delay, from 0 to 12 hours.
    RetryAfter(Duration),
    /// The record can never succeed. It moves to the dead-letter queue now, with this reason.
    DeadLetter(Cow<'static, str>),
    /// The record is worthless. It is deleted from the queue, and this reason is logged.
    Discard(Cow<'static, str>),
}

impl Outcome {
    /// Moves the record to the dead-letter queue, with this reason.
    ///
    /// ```
    /// use redrive::Outcome;
    ///
    /// let customer = "c-1";
    /// let outcome = Outcome::dead_letter(format!("the customer {customer} is closed"));
    /// # assert_eq!(outcome, Outcome::DeadLetter("the customer c-1 is closed".into()));
    /// ```
    pub fn dead_letter(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::DeadLetter(reason.into())
    }

    /// Deletes the record, and writes this reason to the log.
    ///
    /// ```
    /// use redrive::Outcome;
    ///
    /// let outcome = Outcome::discard("settled before");
    /// # assert_eq!(outcome, Outcome::Discard("settled before".into()));
    /// ```
    pub fn discard(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Discard(reason.into())
    }

    /// Retries the record after this delay, from 0 seconds to 12 hours.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redrive::Outcome;
    ///
    /// let outcome = Outcome::retry_after(Duration::from_secs(60));
    /// # assert_eq!(outcome, Outcome::RetryAfter(Duration::from_secs(60)));
    /// ```
    pub fn retry_after(delay: Duration) -> Self {
        Self::RetryAfter(delay)
    }
}

/// A type that a handler may return: `()`, [`Outcome`], `Result<(), E>` or `Result<Outcome, E>`.
///
/// `E` is any error that converts into `Box<dyn Error + Send + Sync>`: your own, `anyhow::Error`, a `String`.
///
/// Rejections of your own extractors implement it too, so that a rejection can have an outcome other than a retry:
///
/// ```
/// use redrive::{IntoOutcome, Outcome};
///
/// struct NotForUs;
///
/// impl IntoOutcome for NotForUs {
///     type Error = std::convert::Infallible;
///
///     fn into_outcome(self) -> Result<Outcome, Self::Error> {
///         Ok(Outcome::Discard("addressed to another service".into()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a redrive handler cannot return `{Self}`",
    label = "this return type says nothing about what becomes of the record",
    note = "return `()`, `redrive::Outcome`, `Result<(), E>` or `Result<redrive::Outcome, E>`"
)]
pub trait IntoOutcome {
    /// The error that [`Consumer::classify`](crate::Consumer::classify) receives before it is boxed.
    type Error: HandlerError;

    /// Returns the outcome, or the error that means [`Outcome::Retry`].
    fn into_outcome(self) -> Result<Outcome, Self::Error>;
}

/// An error that a handler may return: any type that converts into `Box<dyn Error + Send + Sync>`.
///
/// It is implemented for all of these types. The trait exists only for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a redrive handler",
    label = "not an error that can be logged and sent across threads",
    note = "implement `std::error::Error` for it (and keep it `Send + Sync + 'static`), or use `anyhow::Error`"
)]
pub trait HandlerError: Send + 'static {
    /// Returns the boxed error.
    fn into_box_error(self) -> BoxError;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError> + Send + 'static> HandlerError for E {
    fn into_box_error(self) -> BoxError {
        self.into()
    }
}

impl IntoOutcome for () {
    type Error = Infallible;

    fn into_outcome(self) -> Result<Outcome, Infallible> {
        Ok(Outcome::Done)
    }
}

impl IntoOutcome for Outcome {
    type Error = Infallible;

    fn into_outcome(self) -> Result<Outcome, Infallible> {
        Ok(self)
    }
}

impl<E: HandlerError> IntoOutcome for Result<(), E> {
    type Error = E;

    fn into_outcome(self) -> Result<Outcome, E> {
        self.map(|()| Outcome::Done)
    }
}

impl<E: HandlerError> IntoOutcome for Result<Outcome, E> {
    type Error = E;

    fn into_outcome(self) -> Result<Outcome, E> {
        self
    }
}

/// Returns the outcome of a rejected record. It is never [`Outcome::Done`]: the handler has not run, and a rejection of
/// type `()` would silently delete the record.
pub(crate) fn rejected(rejection: impl IntoOutcome) -> Result<Outcome, BoxError> {
    match rejection.into_outcome() {
        Ok(Outcome::Done) => {
            Err("an extractor rejected the record, and its rejection is no outcome; return a retry, a dead letter or a discard".into())
        }
        Ok(outcome @ (Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) | Outcome::Discard(_))) => {
            Ok(outcome)
        }
        Err(error) => Err(error.into_box_error()),
    }
}

/// An extractor that cannot fail never rejects a record.
impl IntoOutcome for Infallible {
    type Error = Infallible;

    fn into_outcome(self) -> Result<Outcome, Infallible> {
        match self {}
    }
}
