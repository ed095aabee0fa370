//! Classifies a failed call by its consequence for the next one.

use std::error::Error;
use std::io::ErrorKind;

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::credentials::missing_credentials;
use super::error_codes::{is_foreign, meaning_of, of_answer};
use super::safe_text::{hiding, text_of};
use super::size_limit::TooLarge;

pub use super::error_codes::{Code, Trouble};

#[derive(Debug)]
pub struct CallError {
    pub trouble: Trouble,
    /// The meaning of the answer's code, if the table has it.
    code: Option<Code>,
    text: String,
    /// SQS did not write this refusal. A proxy probably did.
    is_foreign: bool,
    /// The refusal concerns the size of the call.
    too_large: Option<TooLarge>,
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
                    code: None,
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
        Self { trouble, code: code.and_then(meaning_of), text, is_foreign: is_foreign(status, code), too_large }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the meaning of the answer's code, if it is known.
    pub fn code(&self) -> Option<Code> {
        self.code
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
