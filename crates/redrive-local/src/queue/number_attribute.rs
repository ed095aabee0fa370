//! The attributes of a queue that are whole numbers.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An attribute by its name in
/// [SetQueueAttributes](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html), which templates
/// use too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberAttribute {
    DelaySeconds,
    KmsDataKeyReusePeriodSeconds,
    MaximumMessageSize,
    MessageRetentionPeriod,
    ReceiveMessageWaitTimeSeconds,
    VisibilityTimeout,
}

use self::NumberAttribute::{
    DelaySeconds, KmsDataKeyReusePeriodSeconds, MaximumMessageSize, MessageRetentionPeriod,
    ReceiveMessageWaitTimeSeconds, VisibilityTimeout,
};

impl NumberAttribute {
    pub const ALL: [Self; 6] = [
        DelaySeconds,
        KmsDataKeyReusePeriodSeconds,
        MaximumMessageSize,
        MessageRetentionPeriod,
        ReceiveMessageWaitTimeSeconds,
        VisibilityTimeout,
    ];

    /// Its name, the least and the most that SQS takes, the default, and the unit.
    const fn row(self) -> (&'static str, i64, i64, i64, &'static str) {
        match self {
            DelaySeconds => ("DelaySeconds", 0, 900, 0, "seconds"),
            KmsDataKeyReusePeriodSeconds => ("KmsDataKeyReusePeriodSeconds", 60, 86_400, 300, "seconds"),
            MaximumMessageSize => ("MaximumMessageSize", 1_024, 1_048_576, 1_048_576, "bytes"),
            MessageRetentionPeriod => ("MessageRetentionPeriod", 60, 1_209_600, 345_600, "seconds"),
            ReceiveMessageWaitTimeSeconds => ("ReceiveMessageWaitTimeSeconds", 0, 20, 0, "seconds"),
            VisibilityTimeout => ("VisibilityTimeout", 0, 43_200, 30, "seconds"),
        }
    }

    pub const fn name(self) -> &'static str {
        self.row().0
    }

    pub const fn range(self) -> RangeInclusive<i64> {
        self.row().1..=self.row().2
    }

    pub const fn max(self) -> i64 {
        self.row().2
    }

    /// Returns the value of a queue without this attribute.
    pub const fn default(self) -> i64 {
        self.row().3
    }

    pub const fn unit(self) -> &'static str {
        self.row().4
    }

    /// The default as a time.
    pub(super) const fn default_time(self) -> Duration {
        Duration::from_secs(self.default().unsigned_abs())
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.name() == name)
    }
}
