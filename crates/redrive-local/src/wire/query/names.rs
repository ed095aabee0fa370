//! The names of lists and maps in the Query protocol, and those of the JSON protocol.

/// How the Query protocol spells a parameter of the JSON protocol that is a list or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `TagKey.1=team` is an item of a list.
    List(&'static str),
    /// `Tag.1.Key=team&Tag.1.Value=shop` is an entry of a map. The texts are the names of map, key and value.
    Map(&'static str, &'static str, &'static str),
}

/// Returns how a parameter of a form is spelled in JSON, or `None` if it is one value. SDKs write an empty list or map
/// as an empty text under its name in JSON.
pub(super) fn in_json(operation: &str, parameter: &str) -> Option<Spelling> {
    Some(match parameter {
        "AttributeName" | "AttributeNames" => Spelling::List("AttributeNames"),
        "MessageAttributeName" | "MessageAttributeNames" => Spelling::List("MessageAttributeNames"),
        "MessageSystemAttributeName" | "MessageSystemAttributeNames" => Spelling::List("MessageSystemAttributeNames"),
        "TagKey" | "TagKeys" => Spelling::List("TagKeys"),
        "AWSAccountId" | "AWSAccountIds" => Spelling::List("AWSAccountIds"),
        "ActionName" | "Actions" => Spelling::List("Actions"),
        "Entries" => Spelling::List("Entries"),
        "Attribute" | "Attributes" => Spelling::Map("Attributes", "Name", "Value"),
        "MessageAttribute" | "MessageAttributes" => Spelling::Map("MessageAttributes", "Name", "Value"),
        "MessageSystemAttribute" | "MessageSystemAttributes" => {
            Spelling::Map("MessageSystemAttributes", "Name", "Value")
        }
        "Tag" | "Tags" | "tags" if operation == "CreateQueue" => Spelling::Map("tags", "Key", "Value"),
        "Tag" | "Tags" => Spelling::Map("Tags", "Key", "Value"),
        "SendMessageBatchRequestEntry"
        | "DeleteMessageBatchRequestEntry"
        | "ChangeMessageVisibilityBatchRequestEntry" => Spelling::List("Entries"),
        _ => return None,
    })
}

/// Returns how a member of a JSON answer is spelled in XML, or `None` if it is one value.
pub(super) fn in_xml(operation: &str, member: &str) -> Option<Spelling> {
    Some(match member {
        "Attributes" => Spelling::Map("Attribute", "Name", "Value"),
        "MessageAttributes" => Spelling::Map("MessageAttribute", "Name", "Value"),
        "Tags" => Spelling::Map("Tag", "Key", "Value"),
        "Messages" => Spelling::List("Message"),
        "QueueUrls" | "queueUrls" => Spelling::List("QueueUrl"),
        "Failed" => Spelling::List("BatchResultErrorEntry"),
        "Results" => Spelling::List("ListMessageMoveTasksResultEntry"),
        "Successful" => Spelling::List(match operation {
            "SendMessageBatch" => "SendMessageBatchResultEntry",
            "DeleteMessageBatch" => "DeleteMessageBatchResultEntry",
            _ => "ChangeMessageVisibilityBatchResultEntry",
        }),
        _ => return None,
    })
}

/// Returns whether a parameter is an integer in JSON. A form has only texts.
pub(super) fn is_integer(parameter: &str) -> bool {
    matches!(
        parameter,
        "DelaySeconds"
            | "MaxNumberOfMessages"
            | "MaxNumberOfMessagesPerSecond"
            | "MaxResults"
            | "VisibilityTimeout"
            | "WaitTimeSeconds"
    )
}

/// Returns whether the answer of an operation has no result.
pub(super) fn has_no_result(operation: &str) -> bool {
    matches!(
        operation,
        "AddPermission"
            | "ChangeMessageVisibility"
            | "DeleteMessage"
            | "DeleteQueue"
            | "PurgeQueue"
            | "RemovePermission"
            | "SetQueueAttributes"
            | "TagQueue"
            | "UntagQueue"
    )
}
