//! What the codes and the HTTP statuses of answers mean, in one table.

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection: nothing was sent.
    Unreachable,
    /// The credentials were not there when the call needed them: nothing was sent.
    NoCredentials,
    /// The call failed before its request was sent.
    #[cfg_attr(not(feature = "producer"), allow(dead_code, reason = "only a producer knows when a request has left"))]
    Unsent,
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
    /// The request is larger than a proxy takes. A smaller one may arrive.
    TooLarge,
}

/// Codes and parts of codes, in the order in which they are looked for: the first that a code contains counts. Codes are those of the
/// [API](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html), as JSON and as the older protocol have
/// them, and those of [SendMessage](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html#API_SendMessage_Errors).
const TABLE: [(Trouble, &[&str]); 6] = [
    // There are too many calls, to SQS or to a service that SQS calls.
    (Trouble::Busy, &["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"]),
    (Trouble::NoQueue, &["NonExistentQueue", "QueueDoesNotExist"]),
    // The caller may not, with this message or another: by its credentials, by the queue's key, by how it calls.
    (
        Trouble::Denied,
        &[
            "AccessDenied",
            "AccessKey",
            "Auth",
            "Expired",
            "Forbidden",
            "InvalidAddress",
            "InvalidSecurity",
            "KMS.",
            "Kms",
            "OptInRequired",
            "Signature",
            "TimeTooSkewed",
            "Token",
            "UnrecognizedClient",
        ],
    ),
    (Trouble::Lost, &["RequestAborted", "RequestTimeout"]),
    // These are about what is asked for, and not about the caller. First those of messages and calls that bring them.
    (
        Trouble::Refused,
        &[
            "BatchEntryIds",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidAttribute",
            "InvalidBatchEntryId",
            "InvalidMessageContents",
            "InvalidParameter",
            // These three are of servers that speak the protocol of SQS: ElasticMQ has the first.
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
        ],
    ),
    (Trouble::NoSqs, &["InvalidAction", "UnknownOperation"]),
];

/// What a code means, where the table has it.
pub(super) fn of_code(code: &str) -> Option<Trouble> {
    let has = |(trouble, signs): &(Trouble, &[&str])| signs.iter().any(|sign| code.contains(sign)).then_some(*trouble);
    TABLE.iter().find_map(has)
}

/// What an answer to a call means.
pub(super) fn of_answer(status: u16, code: Option<&str>) -> Trouble {
    match (code.map(of_code), status) {
        (Some(Some(Trouble::Busy)), _) | (_, 429) => Trouble::Busy,
        (Some(Some(Trouble::NoQueue)), _) => Trouble::NoQueue,
        (Some(Some(Trouble::Denied)), _) | (_, 401 | 403) => Trouble::Denied,
        (Some(Some(Trouble::Lost)), _) | (_, 408 | 500..) => Trouble::Lost,
        (_, 413) => Trouble::TooLarge,
        (Some(Some(known)), _) => known,
        (None, _) => Trouble::NoSqs,
        // To take an unknown code for the fault of a message would have all messages reported that are sent meanwhile.
        (Some(None), _) => Trouble::Denied,
    }
}

/// Whether it is the refusal of something on the way, which may have taken offence at a single entry: it has no code of SQS.
pub(super) fn is_foreign(status: u16, code: Option<&str>) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 429) && code.and_then(of_code).is_none()
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
}
