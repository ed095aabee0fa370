//! Groups messages into batches, one for each call.

use redrive::internals::limits::MAX_ENTRIES;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::input::InputItem;
use super::message::{Message, Unsendable};

/// How long a message waits for others to fill its batch. This is longer than reading ten messages from a file takes,
/// and too short to notice when typing.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// The next event of the input.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Batch(Vec<Message>),
    Unsendable(Unsendable),
    EmptyLine,
    Broken(String),
    End,
}

/// Fills batches.
pub(super) struct Batches {
    items: mpsc::Receiver<InputItem>,
    /// At most as many messages as SQS accepts in a call, in input order.
    batch: Vec<Message>,
    /// The error that ended the input, reported after the last batch.
    broken: Option<String>,
    /// When the batch is sent, full or not.
    goes_at: Option<Instant>,
}

impl Batches {
    pub(super) fn new(items: mpsc::Receiver<InputItem>) -> Self {
        Self { items, batch: Vec::new(), broken: None, goes_at: None }
    }

    /// Returns the next event of the input. The future may be dropped without losing a message.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if self.batch.len() == MAX_ENTRIES {
                return self.take();
            }
            if let Some(problem) = self.broken.take() {
                return Next::Broken(problem);
            }
            let item = match self.goes_at {
                Some(at) => match tokio::time::timeout_at(at, self.items.recv()).await {
                    Ok(item) => item,
                    Err(_) => return self.take(),
                },
                None => self.items.recv().await,
            };
            match item {
                Some(InputItem::Message(message)) => {
                    self.goes_at.get_or_insert_with(|| Instant::now() + MAX_WAIT);
                    self.batch.push(message);
                }
                Some(InputItem::Unsendable(unsendable)) => return Next::Unsendable(unsendable),
                Some(InputItem::EmptyLine) => return Next::EmptyLine,
                Some(InputItem::Broken(problem)) => {
                    self.broken = Some(problem);
                    if !self.batch.is_empty() {
                        return self.take();
                    }
                }
                None if self.batch.is_empty() => return Next::End,
                None => return self.take(),
            }
        }
    }

    fn take(&mut self) -> Next {
        self.goes_at = None;
        Next::Batch(std::mem::take(&mut self.batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::message::InputPosition;

    fn message(line: u64) -> InputItem {
        InputItem::Message(Message::new(InputPosition::Line(line), "x"))
    }

    /// Returns the line numbers of each batch that these items make.
    async fn batches(items: Vec<InputItem>) -> Vec<Vec<u64>> {
        let (sender, receiver) = mpsc::channel(items.len());
        items.into_iter().for_each(|item| sender.try_send(item).unwrap());
        drop(sender);
        let (mut batches, mut all) = (Batches::new(receiver), Vec::new());
        while let Next::Batch(batch) = batches.next().await {
            all.push(batch.iter().map(|message| message.position.number()).collect());
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_contains_at_most_ten_messages() {
        let lines = |range: std::ops::RangeInclusive<u64>| range.collect::<Vec<_>>();
        let made = batches((1..=23).map(message).collect()).await;
        assert_eq!(made, [lines(1..=10), lines(11..=20), lines(21..=23)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_sent_after_a_short_wait_though_the_input_stalls() {
        let (sender, receiver) = mpsc::channel(10);
        sender.try_send(message(1)).unwrap();
        let began = Instant::now();
        assert!(matches!(Batches::new(receiver).next().await, Next::Batch(batch) if batch.len() == 1));
        assert_eq!(began.elapsed(), MAX_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_loses_no_message() {
        let (sender, receiver) = mpsc::channel(10);
        let mut batches = Batches::new(receiver);
        sender.try_send(message(1)).unwrap();
        assert!(tokio::time::timeout(MAX_WAIT / 2, batches.next()).await.is_err());
        sender.try_send(message(2)).unwrap();
        drop(sender);
        assert!(matches!(batches.next().await, Next::Batch(batch) if batch.len() == 2));
    }
}
