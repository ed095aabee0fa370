//! Moves messages back one by one: each is sent, and only then deleted here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::browse::BrowseSession;
use super::counted;
use super::dead_letter::DeadLetter;
use super::target::{DeadLetterQueue, name_in};
use crate::send::{Delivered, Destination, InputPosition, Message, SendOutcome};

/// How many messages are named on stderr. Further ones are counted.
const MAX_NAMED: usize = 1_000;

/// Moves messages to their sources, or all to one queue.
pub(super) struct SendBack<'a> {
    queue: &'a DeadLetterQueue,
    /// The URL of that one queue.
    to: Option<&'a str>,
    /// Destinations by their URLs.
    destinations: HashMap<String, Destination>,
    /// The URLs of former source queues, or why there is none, by their ARNs.
    former_sources: HashMap<String, Result<String, String>>,
    /// Destinations that accept no message, by their URLs, with the reasons.
    hopeless: HashMap<String, String>,
    /// FIFO groups with a message that stays. Later messages must not pass it.
    held_back: HashSet<String>,
    moved: BTreeMap<String, usize>,
    stay: usize,
    /// Messages that may be in both queues.
    doubtful: usize,
    named: usize,
}

impl<'a> SendBack<'a> {
    pub(super) fn new(queue: &'a DeadLetterQueue, to: Option<&'a str>) -> Self {
        Self {
            queue,
            to,
            destinations: HashMap::new(),
            former_sources: HashMap::new(),
            hopeless: HashMap::new(),
            held_back: HashSet::new(),
            moved: BTreeMap::new(),
            stay: 0,
            doubtful: 0,
            named: 0,
        }
    }

    /// Moves the messages. An error means that no further message could be moved.
    pub(super) async fn run(
        &mut self,
        session: &mut BrowseSession<'_>,
        dead_letters: Vec<DeadLetter>,
    ) -> Result<(), String> {
        for dead_letters in rounds(dead_letters, self.queue.is_fifo()) {
            self.run_round(session, dead_letters).await?;
        }
        Ok(())
    }

    /// Moves messages that need not wait for one another.
    async fn run_round(
        &mut self,
        session: &mut BrowseSession<'_>,
        dead_letters: Vec<DeadLetter>,
    ) -> Result<(), String> {
        let mut by_url: BTreeMap<String, Vec<DeadLetter>> = BTreeMap::new();
        for dead_letter in dead_letters {
            match self.destination(&dead_letter).await {
                Ok(url) => by_url.entry(url).or_default().push(dead_letter),
                Err(problem) => self.stays(&dead_letter, &problem),
            }
        }
        for (url, dead_letters) in by_url {
            self.send(session, &url, &dead_letters).await?;
        }
        Ok(())
    }

    /// Returns the URL of the message's destination.
    async fn destination(&mut self, dead_letter: &DeadLetter) -> Result<String, String> {
        if self.group(dead_letter).is_some_and(|group| self.held_back.contains(group)) {
            return Err("an earlier message of its group stays, and it must not pass that one".to_owned());
        }
        let url = match self.to {
            Some(url) => url.to_owned(),
            None => self.source(dead_letter).await?,
        };
        self.hopeless.get(&url).map_or(Ok(url), |problem| Err(problem.clone()))
    }

    /// Returns the URL of the message's source queue.
    async fn source(&mut self, dead_letter: &DeadLetter) -> Result<String, String> {
        let arn = dead_letter.source().ok_or("its source queue is unknown; pass --to")?;
        if let Some(url) = self.queue.source_url(arn) {
            return Ok(url.to_owned());
        }
        // Anybody can write a note, and could use it to have us send where only we may. SQS's own statement is trusted.
        if dead_letter.source_by_sqs().is_none() {
            let name = name_in(arn);
            return Err(format!(
                "its note names {name} as its source, whose RedrivePolicy does not name {}; pass --to",
                self.queue.name
            ));
        }
        if !self.former_sources.contains_key(arn) {
            self.former_sources.insert(arn.to_owned(), self.queue.sqs.url_of_arn(arn).await);
        }
        self.former_sources[arn].clone().map_err(|problem| format!("{problem}; pass --to"))
    }

    /// Returns the group on a FIFO queue.
    fn group<'l>(&self, dead_letter: &'l DeadLetter) -> Option<&'l str> {
        dead_letter.group().filter(|_| self.queue.is_fifo())
    }

    async fn send(
        &mut self,
        session: &mut BrowseSession<'_>,
        url: &str,
        dead_letters: &[DeadLetter],
    ) -> Result<(), String> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let destination = self.destinations.entry(url.to_owned()).or_insert_with(|| {
            let sqs = &self.queue.sqs;
            Destination::new(sqs.client.clone(), url.to_owned(), name.to_owned(), sqs.endpoint.url().to_owned())
        });
        let is_fifo = destination.is_fifo();
        let messages = (0..).zip(dead_letters).map(|(position, dead_letter)| Message {
            position: InputPosition::Record(position),
            outgoing: dead_letter.sent_back(is_fifo),
        });
        let Delivered { outcomes, ids, hopeless, .. } = destination.deliver(messages.collect()).await;
        session.seen.were_sent_back(&ids);
        let mut sent = Vec::new();
        for (position, outcome) in outcomes {
            let Some(dead_letter) = at(dead_letters, position) else { continue };
            match outcome {
                SendOutcome::Sent => sent.push(dead_letter.id.clone()),
                SendOutcome::Failed(cause) => self.stays(dead_letter, &cause),
                SendOutcome::Hopeless => {
                    self.stay += 1;
                    self.hold_back(dead_letter);
                }
                SendOutcome::Unknown(cause) => {
                    self.hold_back(dead_letter);
                    self.is_doubtful(&dead_letter.id, &format!("may be in {name} too, and stays here: {cause}"));
                }
            }
        }
        for (id, deleted) in session.delete(&sent).await {
            match deleted {
                Ok(()) => *self.moved.entry(name.to_owned()).or_default() += 1,
                Err(cause) => {
                    let remedy = format!("`redrive dlq delete {} --id {id}`", self.queue.name);
                    let what = format!(
                        "was sent to {name}, but could not be deleted here ({cause}); delete it with {remedy}, or it arrives twice"
                    );
                    self.is_doubtful(&id, &what);
                }
            }
        }
        match hopeless {
            // Other destinations may still work.
            Some(problem) if self.to.is_none() && self.queue.sources.len() > 1 => {
                self.name_one(&format!("{problem}; its messages stay"));
                self.hopeless.insert(url.to_owned(), problem);
                Ok(())
            }
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    fn stays(&mut self, dead_letter: &DeadLetter, cause: &str) {
        self.stay += 1;
        self.hold_back(dead_letter);
        self.name_one(&format!("{} stays: {cause}", dead_letter.id));
    }

    fn hold_back(&mut self, dead_letter: &DeadLetter) {
        if let Some(group) = self.group(dead_letter)
            && !self.held_back.contains(group)
        {
            self.held_back.insert(group.to_owned());
        }
    }

    fn is_doubtful(&mut self, id: &str, what: &str) {
        self.doubtful += 1;
        self.name_one(&format!("{id} {what}"));
    }

    fn name_one(&mut self, what: &str) {
        self.named += 1;
        match self.named {
            ..=MAX_NAMED => eprintln!("redrive: {}: {what}", self.queue.name),
            _ if self.named == MAX_NAMED + 1 => {
                eprintln!("redrive: {}: further messages that stay are only counted", self.queue.name);
            }
            _ => {}
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.stay == 0 && self.doubtful == 0
    }

    /// Returns whether any message was moved, or may have been.
    pub(super) fn has_begun(&self) -> bool {
        !self.moved.is_empty() || self.doubtful > 0
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
            parts.push(format!("{} possibly in both queues", self.doubtful));
        }
        parts.join(", ")
    }
}

/// Splits the messages into rounds, each of which is sent after the previous one has arrived. A round has one message
/// of each FIFO group: SQS answers each entry of a call separately, and may accept the second message where it refuses
/// the first.
fn rounds(dead_letters: Vec<DeadLetter>, is_fifo: bool) -> Vec<Vec<DeadLetter>> {
    if !is_fifo {
        return vec![dead_letters];
    }
    let (mut rounds, mut next): (Vec<Vec<DeadLetter>>, HashMap<String, usize>) = Default::default();
    for dead_letter in dead_letters {
        let round = next.entry(dead_letter.group().unwrap_or_default().to_owned()).or_default();
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(dead_letter);
        *round += 1;
    }
    rounds
}

fn at(dead_letters: &[DeadLetter], position: InputPosition) -> Option<&DeadLetter> {
    match position {
        InputPosition::Record(position) => dead_letters.get(usize::try_from(position).ok()?),
        InputPosition::Line(_) | InputPosition::Whole => None,
    }
}
