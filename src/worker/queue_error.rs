//! Decides whether a failed call can succeed later.

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::sqs::call_error::Code;
use crate::sqs::credentials::{MissingCredentials, missing_credentials};
use crate::sqs::error_codes::meaning_of;
use crate::sqs::safe_text::{redacted, text_of};

/// The error of a call to the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum QueueError {
    /// A later call may succeed: the network failed, SQS throttled the call, or a service is down.
    Transient(String),
    /// No call succeeds until someone changes the configuration, a permission or the queue.
    Permanent(String),
}

impl QueueError {
    /// Returns the error of a call. `action` is the IAM action that the call needs.
    pub(super) fn of<E>(action: &str, queue_url: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let of_service = error.as_service_error().map(|error| {
            let code = error.code().unwrap_or_default().to_owned();
            (code, redacted(error.message().unwrap_or("no message")))
        });
        match (of_service, missing_credentials(&error), &error) {
            (Some((code, message)), ..) => Self::of_service(action, queue_url, &code, &message, text_of(&error)),
            (None, Some(MissingCredentials::NotReady), _) => {
                Self::Transient(format!("{action} on {queue_url}: the credentials are not ready: {}", text_of(&error)))
            }
            (None, Some(MissingCredentials::NotConfigured | MissingCredentials::Misconfigured), _)
            | (None, None, SdkError::ConstructionFailure(_)) => Self::cannot_call(action, queue_url, text_of(&error)),
            // The call failed before there was a connection, for example because no region is set. After that point the
            // SDK's error says whether the call may be repeated.
            (None, None, SdkError::DispatchFailure(failure))
                if !failure.is_io() && !failure.is_timeout() && failure.as_other().is_none() =>
            {
                Self::cannot_call(action, queue_url, text_of(&error))
            }
            _ => Self::Transient(format!("{action} on {queue_url}: {}", text_of(&error))),
        }
    }

    fn of_service(action: &str, queue_url: &str, code: &str, message: &str, all: impl std::fmt::Display) -> Self {
        match meaning_of(code) {
            Some(Code::AccessDenied) => Self::Permanent(format!(
                "{action} on {queue_url} is not allowed: {message}. Allow it in the policy of the worker's role; \
                 `redrive iam` prints the minimal policy for a template's queues"
            )),
            Some(Code::QueueDoesNotExist) => Self::Permanent(format!(
                "there is no queue at {queue_url} ({code}): check the URL, its region and its account. \
                 A worker creates no queue"
            )),
            Some(Code::InvalidCredentials) => Self::Permanent(format!(
                "the credentials are not accepted ({code}): {message}. {action} on {queue_url} needs valid credentials"
            )),
            Some(Code::InvalidAddress | Code::Unsupported) => {
                Self::Permanent(format!("{action} on {queue_url}: {code}: {message}"))
            }
            Some(
                Code::Throttled
                | Code::OtherDenial
                | Code::Aborted
                | Code::OverLimit
                | Code::MessageNotInflight
                | Code::OtherRefusal
                | Code::UnknownOperation,
            )
            | None => Self::Transient(format!("{action} on {queue_url}: {all}")),
        }
    }

    fn cannot_call(action: &str, queue_url: &str, all: impl std::fmt::Display) -> Self {
        Self::Permanent(format!(
            "{action} on {queue_url} cannot be called: {all}. Check that AWS_REGION is set, and that there are \
             credentials: in the environment, in a profile, or from the role of this process"
        ))
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Transient(text) | Self::Permanent(text) => text,
        }
    }
}
