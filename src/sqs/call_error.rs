//! What a failed call means for the next one.

use std::error::Error;
use std::io::ErrorKind;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::entries::is_denied;

#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) trouble: Trouble,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection came about: nothing was done.
    Unreachable,
    /// There was no answer, or one of the server's own trouble: it may be done or not.
    Lost,
    /// Throttled: nothing was done, and later it may be.
    Busy,
    /// There is no such queue.
    NoQueue,
    /// Whoever calls may not; so it is with every other call.
    Denied,
    /// Something answers there, and it does not speak SQS.
    NoSqs,
    /// This call never will succeed.
    Refused,
}

impl<E> From<SdkError<E, HttpResponse>> for CallError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let SdkError::ServiceError(answer) = &error else {
            return Self { trouble: of_connection(&error), text: DisplayErrorContext(&error).to_string() };
        };
        let (status, code) = (answer.raw().status().as_u16(), answer.err().code());
        let text = match (code, answer.err().message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => format!("HTTP status {status}"),
        };
        Self { trouble: of_answer(status, code), text }
    }
}

impl CallError {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn of_answer(status: u16, code: Option<&str>) -> Trouble {
    let Some(code) = code else { return if status >= 500 { Trouble::Lost } else { Trouble::NoSqs } };
    let is = |part: &str| code.contains(part);
    if is("Throttl") || status == 429 {
        Trouble::Busy
    } else if is("NonExistentQueue") || is("QueueDoesNotExist") {
        Trouble::NoQueue
    } else if is_denied(code) {
        Trouble::Denied
    } else if status >= 500 {
        Trouble::Lost
    } else {
        Trouble::Refused
    }
}

fn of_connection(error: &(dyn Error + 'static)) -> Trouble {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let is_unreachable = |cause: &(dyn Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let kinds = [
            ErrorKind::ConnectionRefused,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
            ErrorKind::AddrNotAvailable,
        ];
        // hyper's resolver has no type of its own for it.
        kind.is_some_and(|kind| kinds.contains(&kind)) || cause.to_string() == "dns error"
    };
    if causes.any(is_unreachable) { Trouble::Unreachable } else { Trouble::Lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again() {
        for (status, code, trouble) in [
            (400, Some("RequestThrottled"), Trouble::Busy),
            (503, Some("ThrottlingException"), Trouble::Busy),
            (400, Some("AWS.SimpleQueueService.NonExistentQueue"), Trouble::NoQueue),
            (400, Some("InvalidClientTokenId"), Trouble::Denied),
            (403, Some("AccessDeniedException"), Trouble::Denied),
            (403, Some("SignatureDoesNotMatch"), Trouble::Denied),
            (400, Some("KmsDisabled"), Trouble::Denied),
            (400, Some("KMS.AccessDeniedException"), Trouble::Denied),
            (400, Some("KMS.ThrottlingException"), Trouble::Busy),
            (400, Some("InvalidAddress"), Trouble::Denied),
            (400, Some("InvalidSecurity"), Trouble::Denied),
            (500, Some("InternalFailure"), Trouble::Lost),
            (502, None, Trouble::Lost),
            (404, None, Trouble::NoSqs),
            (400, Some("InvalidParameterValue"), Trouble::Refused),
        ] {
            assert_eq!(of_answer(status, code), trouble, "{status} {code:?}");
        }
    }

    #[test]
    fn only_a_connection_that_never_was_means_that_nothing_was_done() {
        let io = |kind| std::io::Error::from(kind);
        assert_eq!(of_connection(&io(ErrorKind::ConnectionRefused)), Trouble::Unreachable);
        assert_eq!(of_connection(&io(ErrorKind::ConnectionReset)), Trouble::Lost);
        assert_eq!(of_connection(&io(ErrorKind::TimedOut)), Trouble::Lost);
    }
}
