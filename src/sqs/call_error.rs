//! What a failed call means for the next one.

use std::error::Error;
use std::io::ErrorKind;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::entries::{is_denied, is_throttle};
use super::safe_text::{hiding, text_of};

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
    /// Whoever calls may not, or a code that nobody knows was answered: nothing says that another call would do better.
    Denied,
    /// Something answers there, and it does not speak SQS.
    NoSqs,
    /// What is asked for is why this call never will succeed. Another may.
    Refused,
}

impl<E> From<SdkError<E, HttpResponse>> for CallError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let trouble = match &error {
            SdkError::ServiceError(answer) => of_answer(answer.raw().status().as_u16(), answer.err().code()),
            error => of_connection(error),
        };
        Self { trouble, text: text_of(&error) }
    }
}

impl CallError {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same without what the call carried, should the text quote it.
    pub(crate) fn hiding<'a>(self, carried: impl IntoIterator<Item = &'a str>) -> Self {
        Self { text: hiding(&self.text, carried), ..self }
    }
}

fn of_answer(status: u16, code: Option<&str>) -> Trouble {
    let is = |parts: &[&str]| code.is_some_and(|code| parts.iter().any(|part| code.contains(part)));
    if code.is_some_and(is_throttle) || status == 429 {
        Trouble::Busy
    } else if is(&["NonExistentQueue", "QueueDoesNotExist"]) {
        Trouble::NoQueue
    } else if code.is_some_and(is_denied) || matches!(status, 401 | 403) {
        Trouble::Denied
    } else if is(&["RequestAborted", "RequestTimeout"]) || status == 408 || status >= 500 {
        Trouble::Lost
    } else if is(&REFUSALS) {
        Trouble::Refused
    } else if code.is_none() || is(&["InvalidAction", "UnknownOperation"]) {
        Trouble::NoSqs
    } else {
        // To take it for the fault of a message would have all messages reported that are sent meanwhile.
        Trouble::Denied
    }
}

/// What SQS says of what is asked for, and not of who asks: codes of the
/// [API](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html), as JSON and as the older protocol have
/// them. First those of messages and calls that bring them.
const REFUSALS: [&str; 21] = [
    "BatchEntryIds",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "InvalidAttribute",
    "InvalidBatchEntryId",
    "InvalidMessageContents",
    "InvalidParameter",
    "MissingParameter",
    "MissingRequiredParameter",
    "SerializationException",
    "TooManyEntries",
    "UnsupportedOperation",
    "Validation",
    "InvalidIdFormat",
    "MessageNotInflight",
    "OverLimit",
    "PurgeQueueInProgress",
    "QueueAlreadyExists",
    "QueueDeletedRecently",
    "QueueNameExists",
    "ReceiptHandleIsInvalid",
];

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
            (400, Some("UnknownOperationException"), Trouble::NoSqs),
            (400, Some("InvalidParameterValue"), Trouble::Refused),
            (400, Some("MissingRequiredParameterException"), Trouble::Refused),
            (400, Some("AWS.SimpleQueueService.BatchRequestTooLong"), Trouble::Refused),
            (400, Some("QueueNameExists"), Trouble::Refused),
        ] {
            assert_eq!(of_answer(status, code), trouble, "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_nobodys_fault_is_not_the_messages() {
        for (status, code, trouble) in [
            (400, Some("NotAuthorized"), Trouble::Denied),
            (400, Some("RequestExpired"), Trouble::Denied),
            (403, Some("InvalidParameterValue"), Trouble::Denied),
            (400, Some("SomethingNew"), Trouble::Denied),
            (401, None, Trouble::Denied),
            (403, None, Trouble::Denied),
            (408, None, Trouble::Lost),
            (408, Some("RequestTimeout"), Trouble::Lost),
            (400, Some("RequestAborted"), Trouble::Lost),
            (429, None, Trouble::Busy),
            (400, Some("TooManyRequestsException"), Trouble::Busy),
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
