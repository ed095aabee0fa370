//! Maps the error codes and HTTP statuses of answers to meanings and causes, in one table.

/// The cause of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection. Nothing was sent.
    Unreachable,
    /// The credentials were not available. Nothing was sent.
    NoCredentials,
    /// The call failed before its request was sent.
    #[cfg_attr(not(feature = "producer"), allow(dead_code, reason = "only a producer knows when a request has left"))]
    Unsent,
    /// There was no answer, or a server error. The call may have been carried out.
    Lost,
    /// The call was throttled. Nothing was done, and a later call may succeed.
    Busy,
    /// The queue does not exist.
    NoQueue,
    /// The caller is not allowed, or the error code is unknown. No sign says that another call would succeed.
    Denied,
    /// The server does not speak the SQS protocol.
    NoSqs,
    /// The request itself is invalid and never succeeds. Another request may.
    Refused,
    /// The request is too large for a proxy. A smaller one may pass.
    TooLarge,
}

/// The meaning of an error code, where some caller handles it separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Too many calls reach SQS, or a service that SQS calls.
    Throttled,
    /// No such queue, or not in this region.
    QueueDoesNotExist,
    /// A policy does not allow the call.
    AccessDenied,
    /// The credentials are wrong, or no longer valid.
    InvalidCredentials,
    /// The URL does not belong to SQS.
    InvalidAddress,
    /// The caller is not allowed, for any message, for another reason: the queue's key, its clock, or how it calls.
    OtherDenial,
    /// The request did not arrive as a whole.
    Aborted,
    /// The request can never succeed at this queue.
    Unsupported,
    /// SQS hides as many messages of the queue as it ever does.
    OverLimit,
    /// The message is visible, or deleted.
    MessageNotInflight,
    /// The request is invalid in another way.
    OtherRefusal,
    /// The server does not speak the SQS protocol.
    UnknownOperation,
}

/// Codes and parts of codes in search order: the first entry that a code contains decides. They are the codes of the
/// [API](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html), in the JSON and the
/// older protocol, and those of
/// [SendMessage](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html#API_SendMessage_Errors).
const TABLE: [(Code, Trouble, &[&str]); 12] = [
    (Code::Throttled, Trouble::Busy, &["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"]),
    (Code::QueueDoesNotExist, Trouble::NoQueue, &["NonExistentQueue", "QueueDoesNotExist"]),
    (Code::AccessDenied, Trouble::Denied, &["AccessDenied"]),
    (
        Code::InvalidCredentials,
        Trouble::Denied,
        &[
            "ExpiredToken",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "MissingAuthenticationToken",
            "OptInRequired",
            "SignatureDoesNotMatch",
            "UnrecognizedClient",
        ],
    ),
    (Code::InvalidAddress, Trouble::Denied, &["InvalidAddress"]),
    (
        Code::OtherDenial,
        Trouble::Denied,
        &["AccessKey", "Auth", "Expired", "Forbidden", "KMS.", "Kms", "Signature", "TimeTooSkewed", "Token"],
    ),
    (Code::Aborted, Trouble::Lost, &["RequestAborted", "RequestTimeout"]),
    // These codes concern the request and not the caller.
    (Code::Unsupported, Trouble::Refused, &["InvalidParameterValue", "UnsupportedOperation"]),
    (Code::OverLimit, Trouble::Refused, &["OverLimit"]),
    (Code::MessageNotInflight, Trouble::Refused, &["MessageNotInflight"]),
    (
        Code::OtherRefusal,
        Trouble::Refused,
        // Codes for messages and for calls that send them come first.
        &[
            "BatchEntryIds",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidAttribute",
            "InvalidBatchEntryId",
            "InvalidMessageContents",
            "InvalidParameter",
            // The next three codes come from other servers that speak the SQS protocol. ElasticMQ uses the first.
            "MessageTooLong",
            "MessageTooBig",
            "MessageTooLarge",
            "MissingParameter",
            "MissingRequiredParameter",
            "SerializationException",
            "TooManyEntries",
            "Validation",
            "InvalidIdFormat",
            "PurgeQueueInProgress",
            "QueueAlreadyExists",
            "QueueDeletedRecently",
            "QueueNameExists",
            "ReceiptHandleIsInvalid",
        ],
    ),
    (Code::UnknownOperation, Trouble::NoSqs, &["InvalidAction", "UnknownOperation"]),
];

/// Returns the meaning and the cause that the table lists for a code.
fn entry_of(code: &str) -> Option<(Code, Trouble)> {
    let entry = TABLE.iter().find(|(_, _, signs)| signs.iter().any(|sign| code.contains(sign)))?;
    Some((entry.0, entry.1))
}

/// Returns the meaning that the table lists for a code.
pub(crate) fn meaning_of(code: &str) -> Option<Code> {
    entry_of(code).map(|(meaning, _)| meaning)
}

/// Returns the cause that the table lists for a code.
pub(super) fn of_code(code: &str) -> Option<Trouble> {
    entry_of(code).map(|(_, trouble)| trouble)
}

impl Code {
    /// Returns whether an error's text names a code with this meaning. The text of an SQS error begins with the code.
    pub(super) fn is_named_in(self, text: &str) -> bool {
        let mut signs = TABLE.iter().filter(|(code, ..)| *code == self).flat_map(|(_, _, signs)| *signs);
        signs.any(|sign| text.contains(sign))
    }
}

/// Returns the cause that an answer indicates.
pub(super) fn of_answer(status: u16, code: Option<&str>) -> Trouble {
    match (code.map(of_code), status) {
        (Some(Some(Trouble::Busy)), _) | (_, 429) => Trouble::Busy,
        (Some(Some(Trouble::NoQueue)), _) => Trouble::NoQueue,
        (Some(Some(Trouble::Denied)), _) | (_, 401 | 403) => Trouble::Denied,
        (Some(Some(Trouble::Lost)), _) | (_, 408 | 500..) => Trouble::Lost,
        (_, 413) => Trouble::TooLarge,
        (Some(Some(known)), _) => known,
        (None, _) => Trouble::NoSqs,
        // An unknown code must not count as the fault of a message: every message sent meanwhile would be reported as
        // refused.
        (Some(None), _) => Trouble::Denied,
    }
}

/// Returns whether an intermediary, such as a proxy, refused the call: the answer has no SQS code. It may have refused
/// the call because of a single entry.
pub(super) fn is_foreign(status: u16, code: Option<&str>) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 429) && code.and_then(of_code).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_maps_to_its_cause() {
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
    fn codes_that_callers_handle_separately_are_told_apart() {
        for (code, meaning) in [
            ("KMS.AccessDeniedException", Code::AccessDenied),
            ("ExpiredTokenException", Code::InvalidCredentials),
            ("RequestExpired", Code::OtherDenial),
            ("AWS.SimpleQueueService.UnsupportedOperation", Code::Unsupported),
            ("AWS.SimpleQueueService.MessageNotInflight", Code::MessageNotInflight),
            ("InvalidParameterCombination", Code::OtherRefusal),
        ] {
            assert_eq!(meaning_of(code), Some(meaning), "{code}");
        }
        let text = "sqs:DeleteMessage: AccessDenied: You may not do this.";
        assert!(Code::AccessDenied.is_named_in(text) && !Code::OverLimit.is_named_in(text));
    }

    #[test]
    fn a_code_that_is_not_about_the_request_does_not_refuse_a_message() {
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
}
