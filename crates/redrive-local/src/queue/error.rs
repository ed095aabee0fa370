//! The errors of SQS, under AWS's own names.

use std::fmt;

/// The refusal of a call, or of one entry of a batch call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsError {
    pub code: Code,
    pub message: String,
}

/// The error codes of SQS, by the names in the
/// [API reference](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalFailure,
    InvalidAction,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    RequestThrottled,
    ResourceNotFoundException,
    SerializationException,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl Code {
    /// Returns the shape's name for `__type`.
    pub fn shape(self) -> &'static str {
        match self {
            Self::AccessDenied => "com.amazon.coral.service#AccessDeniedException",
            Self::BatchEntryIdsNotDistinct => "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "com.amazonaws.sqs#BatchRequestTooLong",
            Self::EmptyBatchRequest => "com.amazonaws.sqs#EmptyBatchRequest",
            Self::InternalFailure => "com.amazon.coral.service#InternalFailure",
            Self::InvalidAction => "com.amazon.coral.service#UnknownOperationException",
            Self::InvalidAddress => "com.amazonaws.sqs#InvalidAddress",
            Self::InvalidAttributeName => "com.amazonaws.sqs#InvalidAttributeName",
            Self::InvalidAttributeValue => "com.amazonaws.sqs#InvalidAttributeValue",
            Self::InvalidBatchEntryId => "com.amazonaws.sqs#InvalidBatchEntryId",
            Self::InvalidMessageContents => "com.amazonaws.sqs#InvalidMessageContents",
            Self::InvalidParameterValue => "com.amazon.coral.service#InvalidParameterValueException",
            Self::MissingParameter => "com.amazon.coral.service#MissingRequiredParameterException",
            Self::OverLimit => "com.amazonaws.sqs#OverLimit",
            Self::PurgeQueueInProgress => "com.amazonaws.sqs#PurgeQueueInProgress",
            Self::QueueDeletedRecently => "com.amazonaws.sqs#QueueDeletedRecently",
            Self::QueueDoesNotExist => "com.amazonaws.sqs#QueueDoesNotExist",
            Self::QueueNameExists => "com.amazonaws.sqs#QueueNameExists",
            Self::ReceiptHandleIsInvalid => "com.amazonaws.sqs#ReceiptHandleIsInvalid",
            Self::RequestThrottled => "com.amazonaws.sqs#RequestThrottled",
            Self::ResourceNotFoundException => "com.amazonaws.sqs#ResourceNotFoundException",
            Self::SerializationException => "com.amazon.coral.service#SerializationException",
            Self::TooManyEntriesInBatchRequest => "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
            Self::UnsupportedOperation => "com.amazonaws.sqs#UnsupportedOperation",
        }
    }

    /// Returns the error's name in the query protocol. Batch entries and the header `x-amzn-query-error` contain this
    /// name, and SDKs read that header.
    pub fn query_code(self) -> &'static str {
        match self {
            Self::BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            Self::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Self::InvalidAction => "InvalidAction",
            Self::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Self::MissingParameter => "MissingParameter",
            Self::PurgeQueueInProgress => "AWS.SimpleQueueService.PurgeQueueInProgress",
            Self::QueueDeletedRecently => "AWS.SimpleQueueService.QueueDeletedRecently",
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Self::QueueNameExists => "QueueAlreadyExists",
            Self::ResourceNotFoundException => "ResourceNotFoundException",
            Self::TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Self::UnsupportedOperation => "AWS.SimpleQueueService.UnsupportedOperation",
            other => other.shape().split_once('#').map_or("", |(_, name)| name.trim_end_matches("Exception")),
        }
    }

    /// Returns whether the sender caused the error. The sender may retry any other error.
    pub fn is_sender_fault(self) -> bool {
        !matches!(self, Self::InternalFailure | Self::RequestThrottled)
    }

    /// Returns the HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::AccessDenied | Self::OverLimit | Self::PurgeQueueInProgress => 403,
            Self::ResourceNotFoundException => 404,
            Self::InternalFailure => 500,
            _ => 400,
        }
    }
}

impl SqsError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn missing(parameter: &str) -> Self {
        Self::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// Returns the error for an invalid value of a parameter.
    pub fn parameter(name: &str, value: impl fmt::Display, reason: &str) -> Self {
        let message = format!("Value {value} for parameter {name} is invalid. Reason: {reason}");
        Self::new(Code::InvalidParameterValue, message)
    }

    /// Returns the error for an invalid value of a queue attribute.
    pub fn attribute(name: &str, reason: &str) -> Self {
        Self::new(Code::InvalidAttributeValue, format!("Invalid value for the parameter {name}. Reason: {reason}"))
    }

    /// Returns the error for a parameter that only the other queue type takes. The grammar is AWS's.
    pub fn wrong_queue_type(name: &str, value: impl fmt::Display) -> Self {
        Self::parameter(name, value, "The request include parameter that is not valid for this queue type.")
    }
}

impl fmt::Display for SqsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.query_code(), self.message)
    }
}

impl std::error::Error for SqsError {}
