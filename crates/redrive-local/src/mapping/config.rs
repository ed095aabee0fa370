//! Models the settings of an event source mapping. Each type holds only values that AWS accepts.

use std::fmt;
use std::time::Duration;

/// The rules for gathering messages into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    size: BatchSize,
    window: Window,
}

impl Batching {
    /// # Errors
    ///
    /// Returns an error when AWS accepts size and window separately, but not together or not on this type of queue.
    pub fn new(is_fifo: bool, size: BatchSize, window: Window) -> Result<Self, InvalidSetting> {
        let (messages, seconds) = (size.0, window.0);
        if is_fifo && seconds > 0 {
            return Err(InvalidSetting::WindowOnFifo { seconds });
        }
        if is_fifo && messages > BatchSize::MAX_FIFO {
            return Err(InvalidSetting::SizeOnFifo { messages });
        }
        if messages > BatchSize::MAX_WITHOUT_WINDOW && seconds == 0 {
            return Err(InvalidSetting::SizeWithoutWindow { messages });
        }
        Ok(Self { size, window })
    }

    pub fn size(self) -> usize {
        self.size.0.into()
    }

    pub fn window(self) -> Duration {
        Duration::from_secs(self.window.0.into())
    }
}

/// `BatchSize`: the largest number of messages in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize(u16);

impl BatchSize {
    const MAX: i64 = 10_000;
    const MAX_FIFO: u16 = 10;
    const MAX_WITHOUT_WINDOW: u16 = 10;

    /// # Errors
    ///
    /// Returns an error when AWS refuses this size on every queue.
    pub fn new(messages: i64) -> Result<Self, InvalidSetting> {
        bounded("BatchSize", "messages", messages, 1, Self::MAX).map(Self)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self(10)
    }
}

/// `MaximumBatchingWindowInSeconds`: the longest time that the first message of a batch waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window(u16);

impl Window {
    /// # Errors
    ///
    /// Returns an error when AWS refuses this window.
    pub fn new(seconds: i64) -> Result<Self, InvalidSetting> {
        bounded("MaximumBatchingWindowInSeconds", "seconds", seconds, 0, 300).map(Self)
    }
}

/// `ScalingConfig.MaximumConcurrency`: the largest number of concurrent batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaximumConcurrency(u16);

impl MaximumConcurrency {
    /// The limit without this setting. Lambda reaches it after minutes; this implementation starts with it.
    pub const WHERE_ABSENT: usize = 1_250;

    /// # Errors
    ///
    /// Returns an error when AWS refuses this limit.
    pub fn new(batches: i64) -> Result<Self, InvalidSetting> {
        bounded("ScalingConfig.MaximumConcurrency", "batches", batches, 2, 1_000).map(Self)
    }

    pub fn get(self) -> usize {
        self.0.into()
    }
}

/// The function's timeout, which is never longer than the queue's visibility timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionTimeout(Duration);

impl FunctionTimeout {
    /// # Errors
    ///
    /// Returns an error when the queue would deliver messages again while the function still processes them.
    pub fn new(function: Duration, visibility: Duration) -> Result<Self, InvalidSetting> {
        match function > visibility {
            true => Err(InvalidSetting::FunctionOutlivesVisibility { function, visibility }),
            false => Ok(Self(function)),
        }
    }

    pub fn get(self) -> Duration {
        self.0
    }
}

/// A setting with which AWS refuses to create a mapping.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidSetting {
    OutOfBounds { setting: &'static str, unit: &'static str, found: i64, least: i64, most: i64 },
    SizeOnFifo { messages: u16 },
    WindowOnFifo { seconds: u16 },
    SizeWithoutWindow { messages: u16 },
    FunctionOutlivesVisibility { function: Duration, visibility: Duration },
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { setting, unit, found, least, most } => {
                write!(f, "{setting} is {found}, but AWS accepts {least} to {most} {unit}")
            }
            Self::SizeOnFifo { messages } => write!(
                f,
                "BatchSize is {messages}, but AWS accepts at most 10 messages on a FIFO queue; set it to 10 or less"
            ),
            Self::WindowOnFifo { seconds } => write!(
                f,
                "MaximumBatchingWindowInSeconds is {seconds}, but AWS accepts no window on a FIFO queue; leave it out"
            ),
            Self::SizeWithoutWindow { messages } => write!(
                f,
                "BatchSize is {messages} without a window, but AWS accepts more than 10 messages only with a window of \
                 at least 1 second; set MaximumBatchingWindowInSeconds to 1 or more, or BatchSize to 10 or less"
            ),
            Self::FunctionOutlivesVisibility { function, visibility } => write!(
                f,
                "the function's Timeout {function:?} is above the queue's VisibilityTimeout {visibility:?}, which AWS \
                 refuses; AWS advises a VisibilityTimeout of six times the Timeout, {:?}",
                *function * 6
            ),
        }
    }
}

impl std::error::Error for InvalidSetting {}

fn bounded(
    setting: &'static str,
    unit: &'static str,
    found: i64,
    least: i64,
    most: i64,
) -> Result<u16, InvalidSetting> {
    let refused = InvalidSetting::OutOfBounds { setting, unit, found, least, most };
    u16::try_from(found).ok().filter(|_| (least..=most).contains(&found)).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(messages: i64) -> BatchSize {
        BatchSize::new(messages).unwrap()
    }

    fn window(seconds: i64) -> Window {
        Window::new(seconds).unwrap()
    }

    #[test]
    fn settings_outside_their_bounds_are_refused() {
        assert!(BatchSize::new(1).is_ok() && BatchSize::new(10_000).is_ok());
        assert!(BatchSize::new(0).is_err() && BatchSize::new(10_001).is_err() && BatchSize::new(70_000).is_err());
        assert!(Window::new(0).is_ok() && Window::new(300).is_ok());
        assert!(Window::new(-1).is_err() && Window::new(301).is_err());
        assert_eq!(MaximumConcurrency::new(2).map(MaximumConcurrency::get), Ok(2));
        assert!(MaximumConcurrency::new(1_000).is_ok());
        assert!(MaximumConcurrency::new(1).is_err() && MaximumConcurrency::new(1_001).is_err());
        let error = Window::new(301).unwrap_err().to_string();
        assert_eq!(error, "MaximumBatchingWindowInSeconds is 301, but AWS accepts 0 to 300 seconds");
    }

    #[test]
    fn defaults_are_ten_messages_and_no_window() {
        let batching = Batching::new(true, BatchSize::default(), Window::default()).unwrap();
        assert_eq!((batching.size(), batching.window()), (10, Duration::ZERO));
    }

    #[test]
    fn more_than_ten_messages_without_a_window_are_refused() {
        assert_eq!(Batching::new(false, size(11), window(0)), Err(InvalidSetting::SizeWithoutWindow { messages: 11 }));
        assert!(Batching::new(false, size(10), window(0)).is_ok());
        let batching = Batching::new(false, size(10_000), window(1)).unwrap();
        assert_eq!((batching.size(), batching.window()), (10_000, Duration::from_secs(1)));
    }

    #[test]
    fn window_and_large_batches_are_refused_on_a_fifo_queue() {
        assert_eq!(Batching::new(true, size(10), window(1)), Err(InvalidSetting::WindowOnFifo { seconds: 1 }));
        assert_eq!(Batching::new(true, size(11), window(0)), Err(InvalidSetting::SizeOnFifo { messages: 11 }));
        assert!(Batching::new(true, size(10), window(0)).is_ok());
    }

    #[test]
    fn function_timeout_above_the_visibility_timeout_is_refused() {
        let seconds = Duration::from_secs;
        assert_eq!(FunctionTimeout::new(seconds(30), seconds(30)).map(FunctionTimeout::get), Ok(seconds(30)));
        let error = FunctionTimeout::new(seconds(31), seconds(30)).unwrap_err().to_string();
        assert!(error.contains("Timeout 31s") && error.contains("30s") && error.contains("186s"), "{error}");
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let refusals = [
            (InvalidSetting::SizeOnFifo { messages: 20 }, "BatchSize is 20, but AWS accepts at most 10"),
            (InvalidSetting::WindowOnFifo { seconds: 5 }, "leave it out"),
            (InvalidSetting::SizeWithoutWindow { messages: 20 }, "to 1 or more, or BatchSize to 10 or less"),
        ];
        for (refused, text) in refusals {
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }
}
