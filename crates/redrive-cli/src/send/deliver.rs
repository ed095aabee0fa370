//! One batch on its way into the queue, and what becomes of each of its messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Config;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput;

use redrive::internals::client::ATTEMPT_TIMEOUT;
use redrive::internals::entries::{EntryError, by_position};
use redrive::internals::limits::SMALLEST_SIZE_LIMIT_BYTES;
use redrive::internals::size_limit::{SizeLimit, TooLarge};
use tokio::time::Instant;

use super::message::{Message, Place};
use crate::sqs::{CallError, Found, Trouble, explained};

/// A message that fails so often is given up.
const ATTEMPTS: u32 = 8;

/// How long after an attempt that was not answered the last one may begin on a FIFO queue. SQS knows a deduplication id for 5 minutes; of
/// those an attempt takes its time, and a request may arrive after its sender has given up on it.
const LAST_ATTEMPT_AFTER: Duration =
    Duration::from_secs(300).saturating_sub(ATTEMPT_TIMEOUT).saturating_sub(Duration::from_secs(10));

/// A queue to send to.
pub(crate) struct Queue {
    pub(crate) client: Client,
    pub(crate) url: String,
    /// For errors.
    pub(crate) name: String,
    pub(crate) endpoint: String,
    /// Once somebody has answered, a connection that is refused is worth another attempt.
    has_answered: AtomicBool,
    /// As far as the queue's refusals have shown it.
    size_limit: SizeLimit,
}

/// What has become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Failed(String),
    /// It may be in the queue or not.
    Unknown(String),
    /// It was not sent, as nothing can be now.
    Hopeless,
}

/// What has become of a batch.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) fates: Vec<(Place, Fate)>,
    /// The ids that SQS gave those that were sent.
    pub(crate) ids: Vec<String>,
    /// Why it is of no use to send more.
    pub(crate) hopeless: Option<String>,
    /// That is what something on the way said, and not SQS: it may be for this message alone.
    is_blocked: bool,
}

/// A message that is not in the queue yet.
struct Pending {
    message: Message,
    /// When the first attempt began that was not answered.
    first_lost: Option<Instant>,
    /// What was wrong the last time.
    cause: String,
}

impl From<Found> for Queue {
    fn from(Found { sqs, name, url }: Found) -> Self {
        Self::new(sqs.client, url, name, sqs.endpoint.url().to_owned())
    }
}

impl Queue {
    pub(crate) fn new(client: Client, url: String, name: String, endpoint: String) -> Self {
        Self { client, url, name, endpoint, has_answered: AtomicBool::new(false), size_limit: SizeLimit::default() }
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Sends the batch, and again what failed for no fault of its own.
    pub(crate) async fn deliver(&self, batch: Vec<Message>) -> Delivered {
        let limit_bytes = self.size_limit.bytes(Instant::now());
        let pending = |mut message: Message| {
            message.shrink_to(limit_bytes);
            Pending::new(message)
        };
        self.deliver_pending(batch.into_iter().map(pending).collect()).await
    }

    async fn deliver_pending(&self, mut left: Vec<Pending>) -> Delivered {
        let (mut delivered, mut was_answered) = (Delivered::default(), false);
        for attempt in 1..=ATTEMPTS {
            let began = Instant::now();
            left = self.without_late_ones(left, &mut delivered.fates);
            if left.is_empty() {
                break;
            }
            let answer = self.call(&left).await;
            if lack_ids(&left, &answer) {
                delivered.hopeless = Some(format!("cannot send to {}: {LACKS_IDS}", self.name));
                break;
            }
            let error = match answer {
                Ok(answer) => {
                    was_answered = true;
                    delivered.ids.extend(answer.successful().iter().map(|entry| entry.message_id().to_owned()));
                    left = self.settle(left, &answer, &mut delivered.fates);
                    None
                }
                Err(error) if error.may_be_for_one_entry() && left.len() > 1 => {
                    return self.deliver_each(left, delivered).await;
                }
                Err(error) => {
                    left.iter_mut().for_each(|pending| pending.has_failed(&error, began));
                    Some(error)
                }
            };
            if let Some(refusal) = error.as_ref().and_then(CallError::too_large) {
                // It was alone in its call.
                left =
                    left.into_iter().filter_map(|pending| self.refit(pending, refusal, &mut delivered.fates)).collect();
                continue;
            }
            if left.is_empty() || error.as_ref().is_some_and(|error| error.trouble == Trouble::Refused) {
                break;
            }
            // Where every call came to nothing, so will the next.
            let is_last = attempt == ATTEMPTS;
            if let Some(error) = error
                && (self.is_hopeless(error.trouble) || (is_last && !was_answered))
            {
                delivered.hopeless = Some(explained(&error, &format!("cannot send to {}", self.name), &self.endpoint));
                delivered.is_blocked = error.is_foreign();
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
        let (mut blocked, mut why) = (Vec::new(), None);
        for pending in left {
            if delivered.hopeless.is_some() {
                delivered.fates.push(pending.give_up(true));
                continue;
            }
            let (place, was_lost) = (pending.message.place, pending.first_lost.is_some());
            let one = Box::pin(self.deliver_pending(vec![pending])).await;
            if one.is_blocked && !was_lost {
                blocked.push(place);
                why = one.hopeless;
                continue;
            }
            delivered.hopeless = one.hopeless;
            delivered.ids.extend(one.ids);
            delivered.fates.extend(one.fates.into_iter().map(|(_, fate)| match fate {
                Fate::Failed(cause) if was_lost => (place, Fate::Unknown(cause)),
                fate => (place, fate),
            }));
        }
        // Where others went the same way, it is the message that was refused. Otherwise it may be the way.
        let is_passable = delivered.fates.iter().any(|(_, fate)| *fate == Fate::Sent);
        let cause = why.clone().unwrap_or_default();
        let fate = if is_passable { Fate::Failed(cause) } else { Fate::Hopeless };
        delivered.fates.extend(blocked.into_iter().map(|place| (place, fate.clone())));
        if !is_passable {
            delivered.hopeless = delivered.hopeless.or(why);
        }
        delivered
    }

    /// On a FIFO queue: those whose copy the queue would take for another message by now are not sent again.
    fn without_late_ones(&self, left: Vec<Pending>, fates: &mut Vec<(Place, Fate)>) -> Vec<Pending> {
        let now = Instant::now();
        let is_late = |pending: &Pending| {
            self.is_fifo() && pending.first_lost.is_some_and(|lost| now >= lost + LAST_ATTEMPT_AFTER)
        };
        let (late, left): (Vec<_>, Vec<_>) = left.into_iter().partition(is_late);
        fates.extend(late.into_iter().map(|pending| pending.give_up(false)));
        left
    }

    /// The message as the queue takes it, if there is such a form of it.
    fn refit(&self, mut pending: Pending, refusal: TooLarge, fates: &mut Vec<(Place, Fate)>) -> Option<Pending> {
        let message = &mut pending.message;
        let bytes = message.size_bytes();
        if bytes > SMALLEST_SIZE_LIMIT_BYTES {
            let limit_bytes = self.size_limit.learn(refusal, bytes, Instant::now());
            if message.shrink_to(limit_bytes) {
                return Some(pending);
            }
            let limit = match refusal.limit_bytes {
                Some(limit) => format!("{} takes at most {limit} bytes (MaximumMessageSize)", self.name),
                None => format!("{} takes less ({})", self.name, pending.cause),
            };
            pending.cause = format!("it has {bytes} bytes with its attributes; {limit}");
        }
        fates.push(pending.give_up(false));
        None
    }

    fn is_hopeless(&self, trouble: Trouble) -> bool {
        match trouble {
            Trouble::NoQueue | Trouble::Denied | Trouble::NoSqs => true,
            Trouble::Unreachable | Trouble::NoCredentials => !self.has_answered.load(Ordering::Relaxed),
            Trouble::Lost | Trouble::Unsent | Trouble::Busy | Trouble::Refused | Trouble::TooLarge => false,
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
        if answer.as_ref().map_or_else(CallError::is_answer, |_| true) {
            self.has_answered.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl Pending {
    fn new(message: Message) -> Self {
        Self { message, first_lost: None, cause: String::new() }
    }

    /// A call that began then came to nothing.
    fn has_failed(&mut self, error: &CallError, began: Instant) {
        if error.trouble == Trouble::Lost {
            self.first_lost.get_or_insert(began);
        }
        error.text().clone_into(&mut self.cause);
    }

    fn give_up(self, is_hopeless: bool) -> (Place, Fate) {
        let fate = match self.first_lost {
            Some(_) => Fate::Unknown(self.cause),
            None if is_hopeless => Fate::Hopeless,
            None => Fate::Failed(self.cause),
        };
        (self.message.place, fate)
    }
}

impl Queue {
    /// Tells what has become of each message that the answer names. Gives back those to send once more.
    fn settle(
        &self,
        batch: Vec<Pending>,
        answer: &SendMessageBatchOutput,
        fates: &mut Vec<(Place, Fate)>,
    ) -> Vec<Pending> {
        let successful = answer.successful().iter().map(|entry| (entry.id(), ()));
        let results = by_position(batch.len(), successful, answer.failed());
        // On a FIFO queue no message of a group is to follow one that came behind it.
        let mut groups_gone = Vec::new();
        let mut left = Vec::new();
        for (mut pending, result) in batch.into_iter().zip(results).rev() {
            let group = pending.message.group.clone();
            let is_overtaken = self.is_fifo() && groups_gone.contains(&group);
            let refusal = result.as_ref().and_then(too_large);
            let hidden = |error: EntryError| error.hiding([&*pending.message.body]);
            let again = match result.map(|result| result.map_err(hidden)) {
                Some(Ok(())) => {
                    self.size_limit.took(pending.message.size_bytes());
                    fates.push((pending.message.place, Fate::Sent));
                    groups_gone.push(group);
                    None
                }
                Some(Err(EntryError::SenderFault(cause))) if let Some(refusal) = refusal => {
                    pending.cause = cause;
                    self.refit(pending, refusal, fates)
                }
                Some(Err(EntryError::SenderFault(cause) | EntryError::Denied(cause))) => {
                    fates.push((pending.message.place, Fate::Failed(cause)));
                    None
                }
                Some(Err(EntryError::MayPass(cause))) => {
                    pending.cause = cause;
                    Some(pending)
                }
                None => {
                    fates.push((pending.message.place, Fate::Unknown("the answer does not name it".to_owned())));
                    groups_gone.push(group);
                    None
                }
            };
            match again {
                Some(pending) if is_overtaken => {
                    let cause =
                        format!("{}; later messages of its group were taken, so it is not sent again", pending.cause);
                    fates.push((pending.message.place, Fate::Failed(cause)));
                }
                again => left.extend(again),
            }
        }
        left.reverse();
        left
    }
}

/// Read before anything of the text is hidden.
fn too_large(result: &Result<(), EntryError>) -> Option<TooLarge> {
    match result {
        Err(EntryError::SenderFault(text)) => TooLarge::in_text(text),
        _ => None,
    }
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
pub(crate) fn backoff(attempts: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(5);
    let longest = FIRST.saturating_mul(2_u32.saturating_pow(attempts - 1)).min(MOST);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
