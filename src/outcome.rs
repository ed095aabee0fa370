//! What becomes of a record, and the types a handler may return to say so.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::time::Duration;

/// An error of any type, as layers and logs see it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What becomes of a record.
///
/// A handler that returns nothing, or `Ok(())`, is [`Done`](Outcome::Done); one that returns an error is
/// [`Retry`](Outcome::Retry), unless [`Consumer::classify`](crate::Consumer::classify) says otherwise. Everything else
/// is said with this type:
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
/// `RetryAfter` and `DeadLetter` are calls to the queue, turned on by `Consumer::effects` (feature `sqs`). Without that, and
/// wherever the call fails, they become `Retry`: the record comes back after the queue's visibility timeout, the queue's
/// [RedrivePolicy](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html)
/// moves it to the dead-letter queue in the end, and a warning says so. Nothing is acknowledged that did not arrive
/// where it was meant to go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an outcome says what becomes of a record only where the handler returns it"]
#[non_exhaustive]
pub enum Outcome {
    /// Processed: the record leaves the queue.
    Done,
    /// Failed: the record comes back after the queue's visibility timeout.
    Retry,
    /// Failed: the record should come back after this long, from 0 to 12 hours.
    RetryAfter(Duration),
    /// Never going to work: the record should move to the dead-letter queue now, with this reason.
    DeadLetter(Cow<'static, str>),
    /// Not worth anything: the record leaves the queue, and this reason goes to the log.
    Discard(Cow<'static, str>),
}

/// A type that a handler may return: `()`, [`Outcome`], `Result<(), E>` or `Result<Outcome, E>`.
///
/// `E` is any error that converts into `Box<dyn Error + Send + Sync>`: your own, `anyhow::Error`, a `String`.
///
/// Rejections of your own extractors implement it too, so that a rejection can be an outcome other than a retry:
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
    /// The error that [`Consumer::classify`](crate::Consumer::classify) sees, before it is boxed.
    type Error: HandlerError;

    /// The outcome, or the error that stands for [`Outcome::Retry`].
    fn into_outcome(self) -> Result<Outcome, Self::Error>;
}

/// An error that a handler may return: whatever converts into `Box<dyn Error + Send + Sync>`.
///
/// It is implemented for all of those, and there is nothing to implement; the trait is here for its error message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a redrive handler",
    label = "not an error that can be logged and sent across threads",
    note = "implement `std::error::Error` for it (and keep it `Send + Sync + 'static`), or use `anyhow::Error`"
)]
pub trait HandlerError: Send + 'static {
    /// The error, boxed.
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

/// What a rejection makes of its record. That is never [`Outcome::Done`]: the handler has not run, and a rejection of `()`
/// would have the record deleted without a word.
pub(crate) fn rejected(rejection: impl IntoOutcome) -> Result<Outcome, BoxError> {
    match rejection.into_outcome() {
        Ok(Outcome::Done) => {
            Err("an extractor rejected the record, and its rejection does not say what becomes of it".into())
        }
        Ok(outcome @ (Outcome::Retry | Outcome::RetryAfter(_) | Outcome::DeadLetter(_) | Outcome::Discard(_))) => {
            Ok(outcome)
        }
        Err(error) => Err(error.into_box_error()),
    }
}

/// An extractor that cannot fail has nothing to reject with.
impl IntoOutcome for Infallible {
    type Error = Infallible;

    fn into_outcome(self) -> Result<Outcome, Infallible> {
        match self {}
    }
}
