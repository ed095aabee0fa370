//! The queue behind an event source mapping.

use std::fmt;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System};

/// The queue that records come from, by its ARN.
#[derive(Clone, Debug)]
pub struct Source {
    arn: String,
    region: String,
}

impl Source {
    /// # Errors
    ///
    /// Returns an error if this is not the ARN of a queue.
    pub fn from_arn(arn: &str) -> Result<Self, NotAQueue> {
        match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
            ["arn", _, "sqs", region, _, name] if !region.is_empty() && !name.is_empty() => {
                Ok(Self { arn: arn.to_owned(), region: region.to_owned() })
            }
            _ => Err(NotAQueue { found: arn.to_owned() }),
        }
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns whether the queue is FIFO, by its name alone. Messages of a standard queue may have groups too.
    pub fn is_fifo(&self) -> bool {
        self.arn.ends_with(".fifo")
    }

    /// Returns the group of a message where its order counts. On a standard queue it does not, whatever its messages say.
    pub fn ordered_group<'a>(&self, message: &'a Message) -> Option<&'a str> {
        let group = || message.attributes.as_ref()?.get(&System::MessageGroupId);
        if self.is_fifo() { group().map(String::as_str) } else { None }
    }
}

/// The error for an ARN that does not name an SQS queue.
#[derive(Debug)]
pub struct NotAQueue {
    found: String,
}

impl fmt::Display for NotAQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the ARN of an SQS queue: {:?}; write it as arn:aws:sqs:REGION:ACCOUNT:NAME", self.found)
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
