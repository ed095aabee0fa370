//! The settings of an event source mapping. A value of these types is one that AWS takes.

use std::fmt;
use std::time::Duration;

/// How messages are gathered into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    size: BatchSize,
    window: Window,
}

impl Batching {
    /// # Errors
    ///
    /// Where AWS takes the size and the window each, but not together, or not on this queue.
    pub fn new(is_fifo: bool, size: BatchSize, window: Window) -> Result<Self, Refused> {
        let (messages, seconds) = (size.0, window.0);
        if is_fifo && seconds > 0 {
            return Err(Refused::WindowOnFifo { seconds });
        }
        if is_fifo && messages > BatchSize::MAX_FIFO {
            return Err(Refused::SizeOnFifo { messages });
        }
        if messages > BatchSize::MAX_WITHOUT_WINDOW && seconds == 0 {
            return Err(Refused::SizeWithoutWindow { messages });
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

/// `BatchSize`: how many messages a batch has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize(u16);

impl BatchSize {
    const MAX: i64 = 10_000;
    const MAX_FIFO: u16 = 10;
    const MAX_WITHOUT_WINDOW: u16 = 10;

    /// # Errors
    ///
    /// Where AWS takes no such size on any queue.
    pub fn new(messages: i64) -> Result<Self, Refused> {
        bounded("BatchSize", "messages", messages, 1, Self::MAX).map(Self)
    }
}

impl Default for BatchSize {
    fn default() -> Self {
        Self(10)
    }
}

/// `MaximumBatchingWindowInSeconds`: how long the first message of a batch waits for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window(u16);

impl Window {
    /// # Errors
    ///
    /// Where AWS takes no such window.
    pub fn new(seconds: i64) -> Result<Self, Refused> {
        bounded("MaximumBatchingWindowInSeconds", "seconds", seconds, 0, 300).map(Self)
    }
}

/// `ScalingConfig.MaximumConcurrency`: how many batches are with the function at a time, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaximumConcurrency(u16);

impl MaximumConcurrency {
    /// Where the setting is absent, Lambda goes up to this many. It takes minutes to get there; here it is at once.
    pub const WHERE_ABSENT: usize = 1_250;

    /// # Errors
    ///
    /// Where AWS takes no such bound.
    pub fn new(batches: i64) -> Result<Self, Refused> {
        bounded("ScalingConfig.MaximumConcurrency", "batches", batches, 2, 1_000).map(Self)
    }

    pub fn get(self) -> usize {
        self.0.into()
    }
}

/// How long the function may take: no longer than the queue hides its messages meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionTimeout(Duration);

impl FunctionTimeout {
    /// # Errors
    ///
    /// Where messages would be handed out again while the function still has them.
    pub fn new(function: Duration, visibility: Duration) -> Result<Self, Refused> {
        match function > visibility {
            true => Err(Refused::FunctionOutlivesVisibility { function, visibility }),
            false => Ok(Self(function)),
        }
    }

    pub fn get(self) -> Duration {
        self.0
    }
}

/// A setting that AWS refuses to make a mapping with.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    OutOfBounds { setting: &'static str, unit: &'static str, found: i64, least: i64, most: i64 },
    SizeOnFifo { messages: u16 },
    WindowOnFifo { seconds: u16 },
    SizeWithoutWindow { messages: u16 },
    FunctionOutlivesVisibility { function: Duration, visibility: Duration },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { setting, unit, found, least, most } => {
                write!(f, "{setting} is {found}, and AWS takes {least} to {most} {unit}")
            }
            Self::SizeOnFifo { messages } => write!(
                f,
                "BatchSize is {messages}, and AWS takes at most 10 messages on a FIFO queue; set it to 10 or less"
            ),
            Self::WindowOnFifo { seconds } => write!(
                f,
                "MaximumBatchingWindowInSeconds is {seconds}, and AWS takes no window on a FIFO queue; leave it out"
            ),
            Self::SizeWithoutWindow { messages } => write!(
                f,
                "BatchSize is {messages} without a window, and AWS takes more than 10 messages only with a window of \
                 at least 1 second; set MaximumBatchingWindowInSeconds to 1 or more, or BatchSize to 10 or less"
            ),
            Self::FunctionOutlivesVisibility { function, visibility } => write!(
                f,
                "the function's Timeout is {function:?} and the queue's VisibilityTimeout {visibility:?}, and AWS \
                 takes no queue that hides messages for less time than the function has; AWS advises a \
                 VisibilityTimeout of six times the Timeout, {:?}",
                *function * 6
            ),
        }
    }
}

impl std::error::Error for Refused {}

fn bounded(setting: &'static str, unit: &'static str, found: i64, least: i64, most: i64) -> Result<u16, Refused> {
    let refused = Refused::OutOfBounds { setting, unit, found, least, most };
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
    fn each_setting_has_its_bounds() {
        assert!(BatchSize::new(1).is_ok() && BatchSize::new(10_000).is_ok());
        assert!(BatchSize::new(0).is_err() && BatchSize::new(10_001).is_err() && BatchSize::new(70_000).is_err());
        assert!(Window::new(0).is_ok() && Window::new(300).is_ok());
        assert!(Window::new(-1).is_err() && Window::new(301).is_err());
        assert_eq!(MaximumConcurrency::new(2).map(MaximumConcurrency::get), Ok(2));
        assert!(MaximumConcurrency::new(1_000).is_ok());
        assert!(MaximumConcurrency::new(1).is_err() && MaximumConcurrency::new(1_001).is_err());
        let error = Window::new(301).unwrap_err().to_string();
        assert_eq!(error, "MaximumBatchingWindowInSeconds is 301, and AWS takes 0 to 300 seconds");
    }

    #[test]
    fn what_is_absent_is_ten_messages_and_no_window() {
        let batching = Batching::new(true, BatchSize::default(), Window::default()).unwrap();
        assert_eq!((batching.size(), batching.window()), (10, Duration::ZERO));
    }

    #[test]
    fn more_than_ten_messages_need_a_window() {
        assert_eq!(Batching::new(false, size(11), window(0)), Err(Refused::SizeWithoutWindow { messages: 11 }));
        assert!(Batching::new(false, size(10), window(0)).is_ok());
        let batching = Batching::new(false, size(10_000), window(1)).unwrap();
        assert_eq!((batching.size(), batching.window()), (10_000, Duration::from_secs(1)));
    }

    #[test]
    fn a_fifo_queue_has_no_window_and_small_batches() {
        assert_eq!(Batching::new(true, size(10), window(1)), Err(Refused::WindowOnFifo { seconds: 1 }));
        assert_eq!(Batching::new(true, size(11), window(0)), Err(Refused::SizeOnFifo { messages: 11 }));
        assert!(Batching::new(true, size(10), window(0)).is_ok());
    }

    #[test]
    fn a_function_may_not_outlive_the_visibility_timeout() {
        let seconds = Duration::from_secs;
        assert_eq!(FunctionTimeout::new(seconds(30), seconds(30)).map(FunctionTimeout::get), Ok(seconds(30)));
        let error = FunctionTimeout::new(seconds(31), seconds(30)).unwrap_err().to_string();
        assert!(error.contains("Timeout is 31s") && error.contains("30s") && error.contains("186s"), "{error}");
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let refusals = [
            (Refused::SizeOnFifo { messages: 20 }, "BatchSize is 20, and AWS takes at most 10"),
            (Refused::WindowOnFifo { seconds: 5 }, "leave it out"),
            (Refused::SizeWithoutWindow { messages: 20 }, "to 1 or more, or BatchSize to 10 or less"),
        ];
        for (refused, text) in refusals {
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }
}
