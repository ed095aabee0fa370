//! The queue behind a mapping.

use std::fmt;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};

/// The queue that records come from, as they name it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    arn: String,
    #[cfg_attr(not(feature = "local"), allow(dead_code, reason = "only an event that is written has it"))]
    region: String,
}

impl Source {
    /// # Errors
    ///
    /// Where this is not an ARN of a queue.
    pub(crate) fn from_arn(arn: &str) -> Result<Self, NotAQueue> {
        match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
            ["arn", _, "sqs", region, _, name] if !region.is_empty() && !name.is_empty() => {
                Ok(Self { arn: arn.to_owned(), region: region.to_owned() })
            }
            _ => Err(NotAQueue { found: arn.to_owned() }),
        }
    }

    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }

    #[cfg(feature = "local")]
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Only the name decides. Messages of a standard queue may have a group as well.
    pub(crate) fn is_fifo(&self) -> bool {
        self.arn.ends_with(".fifo")
    }

    /// Returns the group of a message where its order counts. On a standard queue it does not, whatever its messages say.
    pub(crate) fn ordered_group<'a>(&self, message: &'a Message) -> Option<&'a str> {
        let group = || message.attributes.as_ref()?.get(&System::MessageGroupId);
        if self.is_fifo() { group().map(String::as_str) } else { None }
    }
}

/// An ARN that names no SQS queue.
#[derive(Debug)]
pub(crate) struct NotAQueue {
    found: String,
}

impl fmt::Display for NotAQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the ARN of an SQS queue: {:?}; one reads arn:aws:sqs:REGION:ACCOUNT:NAME", self.found)
    }
}

impl std::error::Error for NotAQueue {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_arn_of_a_queue_is_a_source() {
        assert!(Source::from_arn("arn:aws:sqs:eu-central-1:123456789012:orders.fifo").unwrap().is_fifo());
        assert!(!Source::from_arn("arn:aws-cn:sqs:cn-north-1:1:fifo").unwrap().is_fifo());
        for wrong in ["", "orders", "arn:aws:sns:eu-central-1:1:orders", "arn:aws:sqs::1:orders", "arn:aws:sqs:r:1:"] {
            let error = Source::from_arn(wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }
}
