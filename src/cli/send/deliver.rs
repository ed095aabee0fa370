//! One batch on its way into the queue, and what becomes of each of its messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;

use super::message::{Message, Place};
use crate::cli::sqs::{CallError, Found, Trouble};
use crate::sqs::entries::{EntryError, by_position};

/// A message that fails so often is given up.
const ATTEMPTS: u32 = 8;

/// A queue to send to.
pub(in crate::cli) struct Queue {
    pub(in crate::cli) client: Client,
    pub(in crate::cli) url: String,
    /// For errors.
    pub(in crate::cli) name: String,
    pub(in crate::cli) endpoint: String,
    /// Once somebody has answered, a connection that is refused is worth another attempt.
    has_answered: AtomicBool,
}

/// What has become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Fate {
    Sent,
    Failed(String),
    /// It may be in the queue or not.
    Unknown(String),
    /// It was not sent, as nothing can be now.
    Hopeless,
}

/// What has become of a batch.
#[derive(Debug, Default)]
pub(in crate::cli) struct Delivered {
    pub(in crate::cli) fates: Vec<(Place, Fate)>,
    /// The ids that SQS gave those that were sent.
    pub(in crate::cli) ids: Vec<String>,
    /// Why it is of no use to send more.
    pub(in crate::cli) hopeless: Option<String>,
}

/// A message that is not in the queue yet.
struct Pending {
    message: Message,
    /// An attempt was not answered.
    may_be_sent: bool,
    /// What was wrong the last time.
    cause: String,
}

impl From<Found> for Queue {
    fn from(Found { sqs, name, url }: Found) -> Self {
        Self::new(sqs.client, url, name, sqs.endpoint.url().to_owned())
    }
}

impl Queue {
    pub(in crate::cli) fn new(client: Client, url: String, name: String, endpoint: String) -> Self {
        Self { client, url, name, endpoint, has_answered: AtomicBool::new(false) }
    }

    pub(in crate::cli) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Sends the batch, and again what failed for no fault of its own.
    pub(in crate::cli) async fn deliver(&self, batch: Vec<Message>) -> Delivered {
        let mut left: Vec<_> = batch.into_iter().map(Pending::new).collect();
        let (mut delivered, mut was_answered) = (Delivered::default(), false);
        for attempt in 1..=ATTEMPTS {
            let answer = self.call(&left).await;
            if lack_ids(&left, &answer) {
                delivered.hopeless = Some(format!("cannot send to {}: {LACKS_IDS}", self.name));
                break;
            }
            let error = match answer {
                Ok(answer) => {
                    was_answered = true;
                    delivered.ids.extend(answer.successful().iter().map(|entry| entry.message_id().to_owned()));
                    left = settle(left, &answer, self.is_fifo(), &mut delivered.fates);
                    None
                }
                Err(error) if error.trouble == Trouble::Refused && left.len() > 1 => {
                    return self.deliver_each(left, delivered).await;
                }
                Err(error) => {
                    left.iter_mut().for_each(|pending| pending.has_failed(&error));
                    Some(error)
                }
            };
            if left.is_empty() || error.as_ref().is_some_and(|error| error.trouble == Trouble::Refused) {
                break;
            }
            // Where every call came to nothing, so will the next.
            let is_last = attempt == ATTEMPTS;
            if let Some(error) = error
                && (self.is_hopeless(error.trouble) || (is_last && !was_answered))
            {
                delivered.hopeless = Some(error.explained(&format!("cannot send to {}", self.name), &self.endpoint));
                break;
            }
            if !is_last {
                tokio::time::sleep(backoff(attempt)).await;
            }
        }
        let is_hopeless = delivered.hopeless.is_some();
        delivered.fates.extend(left.into_iter().map(|pending| pending.give_up(is_hopeless)));
        delivered
    }

    /// A call is refused as a whole: one of its messages may be why, and the others are to go.
    async fn deliver_each(&self, left: Vec<Pending>, mut delivered: Delivered) -> Delivered {
        for pending in left {
            if delivered.hopeless.is_some() {
                delivered.fates.push(pending.give_up(true));
                continue;
            }
            let (place, was_lost) = (pending.message.place, pending.may_be_sent);
            let one = Box::pin(self.deliver(vec![pending.message])).await;
            delivered.hopeless = one.hopeless;
            delivered.ids.extend(one.ids);
            delivered.fates.extend(one.fates.into_iter().map(|(_, fate)| match fate {
                Fate::Failed(cause) if was_lost => (place, Fate::Unknown(cause)),
                Fate::Hopeless if was_lost => (place, Fate::Unknown(String::from("an attempt was not answered"))),
                fate => (place, fate),
            }));
        }
        delivered
    }

    fn is_hopeless(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::NoQueue | Trouble::Denied | Trouble::NoSqs => true,
            Trouble::Unreachable => !self.has_answered.load(Ordering::Relaxed),
            Trouble::Lost | Trouble::Busy | Trouble::Refused => false,
        }
    }

    /// One attempt. The SDK's own would hide which of them was not answered.
    async fn call(&self, batch: &[Pending]) -> Result<SendMessageBatchOutput, CallError> {
        let config = Config::builder().retry_config(RetryConfig::disabled());
        let entries = batch.iter().enumerate();
        let entries = entries.filter_map(|(position, pending)| pending.message.entry(position.to_string()));
        let send = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
        let answer = send.customize().config_override(config).send().await;
        // A service may quote what it refuses.
        let bodies = batch.iter().map(|pending| &*pending.message.body);
        let answer = answer.map_err(|error| CallError::from(error).hiding(bodies));
        if !matches!(&answer, Err(CallError { trouble: Trouble::Unreachable | Trouble::Lost, .. })) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl Pending {
    fn new(message: Message) -> Self {
        Self { message, may_be_sent: false, cause: String::new() }
    }

    fn has_failed(&mut self, error: &CallError) {
        self.may_be_sent |= error.trouble == Trouble::Lost;
        error.text().clone_into(&mut self.cause);
    }

    fn give_up(self, is_hopeless: bool) -> (Place, Fate) {
        let fate = match self.may_be_sent {
            true => Fate::Unknown(self.cause),
            false if is_hopeless => Fate::Hopeless,
            false => Fate::Failed(self.cause),
        };
        (self.message.place, fate)
    }
}

/// Tells what has become of each message that the answer names. Gives back those to send once more.
fn settle(
    batch: Vec<Pending>,
    answer: &SendMessageBatchOutput,
    is_fifo: bool,
    fates: &mut Vec<(Place, Fate)>,
) -> Vec<Pending> {
    let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
    let results = by_position(batch.len(), successful, answer.failed());
    // On a FIFO queue no message of a group is to follow one that came behind it.
    let mut groups_gone = Vec::new();
    let mut left = Vec::new();
    for (mut pending, result) in batch.into_iter().zip(results).rev() {
        let (place, group) = (pending.message.place, pending.message.group.clone());
        let is_overtaken = is_fifo && groups_gone.contains(&group);
        match result.map(|result| result.map_err(|error| error.hiding([&*pending.message.body]))) {
            Some(Ok(())) => {
                fates.push((place, Fate::Sent));
                groups_gone.push(group);
            }
            Some(Err(EntryError::SenderFault(cause) | EntryError::Denied(cause))) => {
                fates.push((place, Fate::Failed(cause)))
            }
            Some(Err(EntryError::MayPass(cause))) if is_overtaken => {
                let cause = format!("{cause}; later messages of its group were taken, so it is not sent again");
                fates.push((place, Fate::Failed(cause)));
            }
            Some(Err(EntryError::MayPass(cause))) => {
                pending.cause = cause;
                left.push(pending);
            }
            None => {
                fates.push((place, Fate::Unknown("the answer does not name it".to_owned())));
                groups_gone.push(group);
            }
        }
    }
    left.reverse();
    left
}

const LACKS_IDS: &str =
    "it has no content-based deduplication, so each message needs an id of its own; pass --deduplication-id";

/// Whether these failed for want of a deduplication id. So do all that follow: better one error than one a line.
fn lack_ids(batch: &[Pending], answer: &Result<SendMessageBatchOutput, CallError>) -> bool {
    // SQS has no code for it alone. It tells it of each entry; moto refuses the call.
    let names_it = |message: &str| message.contains("ContentBasedDeduplication");
    let is_told = match answer {
        Ok(answer) => {
            let mut failed = answer.failed().iter();
            !answer.failed().is_empty() && failed.all(|entry| entry.message().is_some_and(names_it))
        }
        Err(error) => names_it(error.text()),
    };
    is_told && batch.iter().all(|pending| pending.message.deduplication_id.is_none())
}

/// How long to wait after so many attempts: longer each time, up to a bound, and not as long as others do.
pub(in crate::cli) fn backoff(attempts: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(5);
    let longest = FIRST.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(MOST);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
