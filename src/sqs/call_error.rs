//! Classifies a failed call by its consequence for the next one.

use std::error::Error;
use std::io::ErrorKind;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::credentials::missing_credentials;
use super::entries::{is_denied, is_throttle};
use super::safe_text::{hiding, text_of};
use super::size_limit::TooLarge;

#[derive(Debug)]
pub struct CallError {
    pub trouble: Trouble,
    text: String,
    /// SQS did not write this refusal. A proxy probably did.
    is_foreign: bool,
    /// The refusal concerns the size of the call.
    too_large: Option<TooLarge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection, so nothing was sent.
    Unreachable,
    /// The credentials were missing when the call needed them, so nothing was sent.
    NoCredentials,
    /// The call failed before its request was sent.
    #[cfg_attr(
        not(feature = "producer"),
        allow(dead_code, reason = "only a producer knows whether a request was sent")
    )]
    Unsent,
    /// There was no answer, or a server error. The call may have succeeded.
    Lost,
    /// SQS throttled the call. Nothing was done, and a later call may succeed.
    Busy,
    /// The queue does not exist.
    NoQueue,
    /// The caller has no permission, or the answer has an unknown code. Another call would probably fail too.
    Denied,
    /// The server at this address does not speak SQS.
    NoSqs,
    /// This call can never succeed as it is. Another call may.
    Refused,
    /// The request is larger than a proxy accepts. A smaller one may pass.
    TooLarge,
}

impl<E> From<SdkError<E, HttpResponse>> for CallError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let (status, code) = match &error {
            SdkError::ServiceError(answer) => (answer.raw().status().as_u16(), answer.err().code()),
            error => {
                return Self {
                    trouble: of_connection(error),
                    text: text_of(error),
                    is_foreign: false,
                    too_large: None,
                };
            }
        };
        Self::of_answer(status, code, text_of(&error))
    }
}

impl CallError {
    /// Creates the error of an answer with that status and code.
    #[cfg(test)]
    pub(super) fn of(status: u16, code: Option<&str>) -> Self {
        let text = code.map_or_else(|| format!("HTTP status {status}"), str::to_owned);
        Self::of_answer(status, code, text)
    }

    fn of_answer(status: u16, code: Option<&str>, text: String) -> Self {
        let trouble = of_answer(status, code);
        // The limit is read before parts of the text are hidden.
        let too_large = match trouble {
            Trouble::TooLarge => Some(TooLarge::WITHOUT_A_NUMBER),
            Trouble::Refused => TooLarge::in_text(&text),
            _ => None,
        };
        Self { trouble, text, is_foreign: is_foreign(status, code), too_large }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Removes what the call carried, in case the text quotes it.
    pub fn hiding<'a>(self, carried: impl IntoIterator<Item = &'a str>) -> Self {
        Self { text: hiding(&self.text, carried), ..self }
    }

    /// Returns whether an answer arrived.
    pub fn is_answer(&self) -> bool {
        use Trouble::{Lost, NoCredentials, Unreachable, Unsent};
        !matches!(self.trouble, Unreachable | NoCredentials | Unsent | Lost)
    }

    /// Returns the refusal if a call with one message was refused for its size.
    pub fn too_large(&self) -> Option<TooLarge> {
        self.too_large
    }

    /// Returns whether SQS did not write this refusal.
    pub fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Returns whether one entry of a batch may be the cause, so that the others may succeed without it.
    pub fn may_be_for_one_entry(&self) -> bool {
        self.is_foreign || matches!(self.trouble, Trouble::Refused | Trouble::TooLarge)
    }

    /// Marks the call's request as not sent.
    #[cfg(feature = "producer")]
    pub fn before_it_was_sent(self) -> Self {
        match self.trouble {
            Trouble::Lost => Self { trouble: Trouble::Unsent, ..self },
            _ => self,
        }
    }
}

fn of_answer(status: u16, code: Option<&str>) -> Trouble {
    if code.is_some_and(is_throttle) || status == 429 {
        Trouble::Busy
    } else if code.is_some_and(|code| has(code, &NO_QUEUE)) {
        Trouble::NoQueue
    } else if code.is_some_and(is_denied) || matches!(status, 401 | 403) {
        Trouble::Denied
    } else if code.is_some_and(|code| has(code, &LOST)) || status == 408 || status >= 500 {
        Trouble::Lost
    } else if status == 413 {
        Trouble::TooLarge
    } else if code.is_some_and(|code| has(code, &REFUSALS)) {
        Trouble::Refused
    } else if code.is_none_or(|code| has(code, &NO_SQS)) {
        Trouble::NoSqs
    } else {
        // Blaming the message would report all messages that are sent meanwhile as refused.
        Trouble::Denied
    }
}

/// Returns whether a proxy or firewall refused the call, perhaps because of a single entry: the answer has no code of
/// SQS.
fn is_foreign(status: u16, code: Option<&str>) -> bool {
    let is_known = |code: &str| {
        let lists: [&[&str]; 4] = [&NO_QUEUE, &LOST, &REFUSALS, &NO_SQS];
        is_throttle(code) || is_denied(code) || lists.iter().any(|list| has(code, list))
    };
    (400..500).contains(&status) && !matches!(status, 408 | 429) && !code.is_some_and(is_known)
}

fn has(code: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| code.contains(part))
}

const NO_QUEUE: [&str; 2] = ["NonExistentQueue", "QueueDoesNotExist"];
const LOST: [&str; 2] = ["RequestAborted", "RequestTimeout"];
const NO_SQS: [&str; 2] = ["InvalidAction", "UnknownOperation"];

/// The codes of SQS that concern the request and not the caller, from the
/// [API](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html), in the JSON and the
/// older protocol. Codes of messages, and of calls that send them, come first.
const REFUSALS: [&str; 24] = [
    "BatchEntryIds",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "InvalidAttribute",
    "InvalidBatchEntryId",
    "InvalidMessageContents",
    "InvalidParameter",
    // These three come from other servers that speak the protocol, the first from ElasticMQ.
    "MessageTooLong",
    "MessageTooBig",
    "MessageTooLarge",
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
    if missing_credentials(error).is_some() {
        Trouble::NoCredentials
    } else if causes.any(is_unreachable) {
        Trouble::Unreachable
    } else {
        Trouble::Lost
    }
}

/// Returns whether connecting failed: looking up the host, reaching it, or agreeing on TLS.
fn is_unreachable(cause: &(dyn Error + 'static)) -> bool {
    const KINDS: [ErrorKind; 4] = [
        ErrorKind::ConnectionRefused,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::AddrNotAvailable,
    ];
    let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    // The type of hyper's resolver error is private, and its client's version is the SDK's choice, so their texts are
    // compared.
    kind.is_some_and(|kind| KINDS.contains(&kind))
        || matches!(&*cause.to_string(), "dns error" | "client error (Connect)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_decides_whether_to_retry() {
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
    fn external_failure_is_not_the_messages_fault() {
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
    fn refusal_by_a_proxy_may_concern_one_entry() {
        for (status, code, trouble) in [
            (413, None, Trouble::TooLarge),
            (400, None, Trouble::NoSqs),
            (422, None, Trouble::NoSqs),
            (403, None, Trouble::Denied),
            (400, Some("BlockedByFirewall"), Trouble::Denied),
        ] {
            let error = CallError::of(status, code);
            assert!(error.may_be_for_one_entry() && error.trouble == trouble, "{status} {code:?}: {error:?}");
        }
        assert!(CallError::of(400, Some("InvalidParameterValue")).may_be_for_one_entry(), "SQS names no entry");
        for (status, code) in [
            (403, Some("AccessDeniedException")),
            (400, Some("AWS.SimpleQueueService.NonExistentQueue")),
            (400, Some("UnknownOperationException")),
            (400, Some("RequestThrottled")),
            (408, None),
            (429, None),
            (502, None),
        ] {
            assert!(!CallError::of(status, code).may_be_for_one_entry(), "{status} {code:?}");
        }
    }

    #[test]
    fn refusal_for_size_is_recognized() {
        assert!(CallError::of(413, None).too_large().is_some());
        assert!(CallError::of(400, Some("MessageTooLong")).too_large().is_some());
        assert!(CallError::of(400, Some("InvalidParameterValue")).too_large().is_none());
        assert!(CallError::of(403, Some("AccessDenied: too large")).too_large().is_none());
    }

    #[test]
    fn only_a_failed_connection_proves_that_nothing_was_done() {
        let io = |kind| std::io::Error::from(kind);
        assert_eq!(of_connection(&io(ErrorKind::ConnectionRefused)), Trouble::Unreachable);
        assert_eq!(of_connection(&io(ErrorKind::ConnectionReset)), Trouble::Lost);
        assert_eq!(of_connection(&io(ErrorKind::TimedOut)), Trouble::Lost);
    }
}
