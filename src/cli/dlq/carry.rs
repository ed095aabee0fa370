//! Messages on their way back, each by itself: sent, and only then deleted here.

use std::collections::{BTreeMap, HashMap};

use super::counted;
use super::hold::Hold;
use super::letter::Letter;
use super::place::{DeadLetterQueue, name_in};
use crate::cli::send::{Delivered, Fate, Place, Queue as Destination};

/// Carries messages to where they came from, or all to one queue.
pub(super) struct Carrier<'a> {
    queue: &'a DeadLetterQueue,
    /// The URL of that one.
    to: Option<&'a str>,
    /// By their URLs.
    destinations: HashMap<String, Destination>,
    /// The URLs of queues that are sources no longer, by their ARNs.
    former_sources: HashMap<String, String>,
    moved: BTreeMap<String, usize>,
    stay: usize,
    /// May be in both queues.
    doubtful: usize,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(queue: &'a DeadLetterQueue, to: Option<&'a str>) -> Self {
        let (destinations, former_sources, moved) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        Self { queue, to, destinations, former_sources, moved, stay: 0, doubtful: 0 }
    }

    /// An error is one with which no other message would arrive.
    pub(super) async fn carry(&mut self, hold: &mut Hold<'_>, letters: Vec<Letter>) -> Result<(), String> {
        let mut by_url: BTreeMap<String, Vec<Letter>> = BTreeMap::new();
        for letter in letters {
            match self.destination(&letter).await {
                Ok(url) => by_url.entry(url).or_default().push(letter),
                Err(problem) => self.stays(&letter.id, &problem),
            }
        }
        for (url, letters) in by_url {
            self.send(hold, &url, &letters).await?;
        }
        Ok(())
    }

    /// The URL of the queue that it goes to.
    async fn destination(&mut self, letter: &Letter) -> Result<String, String> {
        if let Some(url) = self.to {
            return Ok(url.to_owned());
        }
        let arn = letter.source().ok_or("nothing says which queue it came from; pass --to")?;
        if let Some(url) = self.queue.source_url(arn) {
            return Ok(url.to_owned());
        }
        // SQS says so. What a note says may be anybody's, who would have us send it where only we may.
        if letter.source_by_sqs().is_none() {
            let name = name_in(arn);
            return Err(format!("it is said to be from {name}, which does not have this dead-letter queue; pass --to"));
        }
        if !self.former_sources.contains_key(arn) {
            self.former_sources.insert(arn.to_owned(), self.queue.sqs.url_of_arn(arn).await?);
        }
        Ok(self.former_sources[arn].clone())
    }

    async fn send(&mut self, hold: &mut Hold<'_>, url: &str, letters: &[Letter]) -> Result<(), String> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let destination = self.destinations.entry(url.to_owned()).or_insert_with(|| {
            let sqs = &self.queue.sqs;
            Destination::new(sqs.client.clone(), url.to_owned(), name.to_owned(), sqs.endpoint.url().to_owned())
        });
        let is_fifo = destination.is_fifo();
        let messages = (0..).zip(letters).map(|(position, letter)| letter.sent_back(position, is_fifo));
        let Delivered { fates, hopeless } = destination.deliver(messages.collect()).await;
        let mut sent = Vec::new();
        for (place, fate) in fates {
            let Some(letter) = at(letters, place) else { continue };
            match fate {
                Fate::Sent => sent.push(letter.id.clone()),
                Fate::Failed(cause) => self.stays(&letter.id, &cause),
                Fate::Hopeless => self.stay += 1,
                Fate::Unknown(cause) => {
                    self.is_doubtful(&letter.id, &format!("may be in {name} too, and stays here: {cause}"));
                }
            }
        }
        for (id, deleted) in hold.delete(&sent).await {
            match deleted {
                Ok(()) => *self.moved.entry(name.to_owned()).or_default() += 1,
                Err(cause) => {
                    let remedy = format!("`redrive dlq delete {} --id {id}`", self.queue.name);
                    let what = format!(
                        "was sent to {name}, and could not be deleted here ({cause}); delete it with {remedy}, or it comes twice"
                    );
                    self.is_doubtful(&id, &what);
                }
            }
        }
        hopeless.map_or(Ok(()), Err)
    }

    fn stays(&mut self, id: &str, cause: &str) {
        self.stay += 1;
        eprintln!("redrive: {}: {id} stays: {cause}", self.queue.name);
    }

    fn is_doubtful(&mut self, id: &str, what: &str) {
        self.doubtful += 1;
        eprintln!("redrive: {}: {id} {what}", self.queue.name);
    }

    pub(super) fn is_good(&self) -> bool {
        self.stay == 0 && self.doubtful == 0
    }

    pub(super) fn summary(&self) -> String {
        let moved = self.moved.iter().map(|(name, count)| format!("{} moved to {name}", counted(*count)));
        let mut parts: Vec<_> = moved.collect();
        if parts.is_empty() {
            parts.push("no message moved".to_owned());
        }
        if self.stay > 0 {
            parts.push(format!("{} stay", self.stay));
        }
        if self.doubtful > 0 {
            parts.push(format!("{} in both queues, or maybe", self.doubtful));
        }
        parts.join(", ")
    }
}

fn at(letters: &[Letter], place: Place) -> Option<&Letter> {
    match place {
        Place::Record(position) => letters.get(usize::try_from(position).ok()?),
        Place::Line(_) | Place::Whole => None,
    }
}
