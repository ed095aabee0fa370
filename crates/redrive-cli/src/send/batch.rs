//! Which messages go into a call together.

use redrive::internals::limits::MAX_ENTRIES;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::input::Item;
use super::message::{Message, Unsendable};

/// How long a message waits for others to go with it: longer than it takes to read them from a file, and too short to be
/// noticed by whoever types.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// What comes next out of the input.
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
    items: mpsc::Receiver<Item>,
    /// As many messages as SQS takes in a call, in the order they came.
    batch: Vec<Message>,
    /// Why nothing comes any more, for after the last batch.
    broken: Option<String>,
    /// When the batch goes, full or not.
    goes_at: Option<Instant>,
}

impl Batches {
    pub(super) fn new(items: mpsc::Receiver<Item>) -> Self {
        Self { items, batch: Vec::new(), broken: None, goes_at: None }
    }

    /// May be dropped before it is over, and nothing is lost.
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
                Some(Item::Message(message)) => {
                    self.goes_at.get_or_insert_with(|| Instant::now() + MAX_WAIT);
                    self.batch.push(message);
                }
                Some(Item::Unsendable(unsendable)) => return Next::Unsendable(unsendable),
                Some(Item::EmptyLine) => return Next::EmptyLine,
                Some(Item::Broken(problem)) => {
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
    use crate::send::message::Place;

    fn message(line: u64) -> Item {
        Item::Message(Message::new(Place::Line(line), "x"))
    }

    /// The lines of each batch that is made of these.
    async fn batches(items: Vec<Item>) -> Vec<Vec<u64>> {
        let (sender, receiver) = mpsc::channel(items.len());
        items.into_iter().for_each(|item| sender.try_send(item).unwrap());
        drop(sender);
        let (mut batches, mut all) = (Batches::new(receiver), Vec::new());
        while let Next::Batch(batch) = batches.next().await {
            all.push(batch.iter().map(|message| message.place.number()).collect());
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_has_ten_messages() {
        let lines = |range: std::ops::RangeInclusive<u64>| range.collect::<Vec<_>>();
        let made = batches((1..=23).map(message).collect()).await;
        assert_eq!(made, [lines(1..=10), lines(11..=20), lines(21..=23)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_does_not_wait_for_an_input_that_has_stopped() {
        let (sender, receiver) = mpsc::channel(10);
        sender.try_send(message(1)).unwrap();
        let began = Instant::now();
        assert!(matches!(Batches::new(receiver).next().await, Next::Batch(batch) if batch.len() == 1));
        assert_eq!(began.elapsed(), MAX_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_where_nobody_waits_any_more() {
        let (sender, receiver) = mpsc::channel(10);
        let mut batches = Batches::new(receiver);
        sender.try_send(message(1)).unwrap();
        assert!(tokio::time::timeout(MAX_WAIT / 2, batches.next()).await.is_err());
        sender.try_send(message(2)).unwrap();
        drop(sender);
        assert!(matches!(batches.next().await, Next::Batch(batch) if batch.len() == 2));
    }
}
