//! Messages on their way back, each by itself: sent, and only then deleted here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::counted;
use super::hold::Hold;
use super::letter::Letter;
use super::place::{DeadLetterQueue, name_in};
use crate::send::{Delivered, Fate, Message, Place, Queue as Destination};

/// So many messages are named on stderr. The others are counted.
const MAX_NAMED: usize = 1_000;

/// Carries messages to where they came from, or all to one queue.
pub(super) struct Carrier<'a> {
    queue: &'a DeadLetterQueue,
    /// The URL of that one.
    to: Option<&'a str>,
    /// By their URLs.
    destinations: HashMap<String, Destination>,
    /// The URLs of queues that are sources no longer, or why there is none, by their ARNs.
    former_sources: HashMap<String, Result<String, String>>,
    /// Destinations at which no message arrives, and why, by their URLs.
    hopeless: HashMap<String, String>,
    /// Groups of a FIFO queue of which a message stays: what is behind it does not pass it.
    held_back: HashSet<String>,
    moved: BTreeMap<String, usize>,
    stay: usize,
    /// May be in both queues.
    doubtful: usize,
    named: usize,
}

impl<'a> Carrier<'a> {
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

    /// An error is one with which no other message would arrive.
    pub(super) async fn carry(&mut self, hold: &mut Hold<'_>, letters: Vec<Letter>) -> Result<(), String> {
        for letters in rounds(letters, self.queue.is_fifo()) {
            self.carry_round(hold, letters).await?;
        }
        Ok(())
    }

    /// Messages none of which has to wait for another.
    async fn carry_round(&mut self, hold: &mut Hold<'_>, letters: Vec<Letter>) -> Result<(), String> {
        let mut by_url: BTreeMap<String, Vec<Letter>> = BTreeMap::new();
        for letter in letters {
            match self.destination(&letter).await {
                Ok(url) => by_url.entry(url).or_default().push(letter),
                Err(problem) => self.stays(&letter, &problem),
            }
        }
        for (url, letters) in by_url {
            self.send(hold, &url, &letters).await?;
        }
        Ok(())
    }

    /// The URL of the queue that it goes to.
    async fn destination(&mut self, letter: &Letter) -> Result<String, String> {
        if self.group(letter).is_some_and(|group| self.held_back.contains(group)) {
            return Err("an earlier message of its group stays, and it must not pass that".to_owned());
        }
        let url = match self.to {
            Some(url) => url.to_owned(),
            None => self.source(letter).await?,
        };
        self.hopeless.get(&url).map_or(Ok(url), |problem| Err(problem.clone()))
    }

    /// The URL of the queue that it failed in.
    async fn source(&mut self, letter: &Letter) -> Result<String, String> {
        let arn = letter.source().ok_or("nothing says which queue it came from; pass --to")?;
        if let Some(url) = self.queue.source_url(arn) {
            return Ok(url.to_owned());
        }
        // SQS says so. What a note says may be anybody's, who would have us send it where only we may.
        if letter.source_by_sqs().is_none() {
            let name = name_in(arn);
            return Err(format!(
                "it is said to be from {name}, whose RedrivePolicy does not name {}; pass --to",
                self.queue.name
            ));
        }
        if !self.former_sources.contains_key(arn) {
            self.former_sources.insert(arn.to_owned(), self.queue.sqs.url_of_arn(arn).await);
        }
        self.former_sources[arn].clone().map_err(|problem| format!("{problem}; pass --to"))
    }

    /// The group whose order counts.
    fn group<'l>(&self, letter: &'l Letter) -> Option<&'l str> {
        letter.group().filter(|_| self.queue.is_fifo())
    }

    async fn send(&mut self, hold: &mut Hold<'_>, url: &str, letters: &[Letter]) -> Result<(), String> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let destination = self.destinations.entry(url.to_owned()).or_insert_with(|| {
            let sqs = &self.queue.sqs;
            Destination::new(sqs.client.clone(), url.to_owned(), name.to_owned(), sqs.endpoint.url().to_owned())
        });
        let is_fifo = destination.is_fifo();
        let messages = (0..)
            .zip(letters)
            .map(|(position, letter)| Message { place: Place::Record(position), outgoing: letter.sent_back(is_fifo) });
        let Delivered { fates, ids, hopeless, .. } = destination.deliver(messages.collect()).await;
        hold.seen.were_sent_back(&ids);
        let mut sent = Vec::new();
        for (place, fate) in fates {
            let Some(letter) = at(letters, place) else { continue };
            match fate {
                Fate::Sent => sent.push(letter.id.clone()),
                Fate::Failed(cause) => self.stays(letter, &cause),
                Fate::Hopeless => {
                    self.stay += 1;
                    self.hold_back(letter);
                }
                Fate::Unknown(cause) => {
                    self.hold_back(letter);
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
        match hopeless {
            // Another destination may be in order.
            Some(problem) if self.to.is_none() && self.queue.sources.len() > 1 => {
                self.name_one(&format!("{problem}; the messages from there stay"));
                self.hopeless.insert(url.to_owned(), problem);
                Ok(())
            }
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    fn stays(&mut self, letter: &Letter, cause: &str) {
        self.stay += 1;
        self.hold_back(letter);
        self.name_one(&format!("{} stays: {cause}", letter.id));
    }

    fn hold_back(&mut self, letter: &Letter) {
        if let Some(group) = self.group(letter)
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
                eprintln!("redrive: {}: further messages that stay are counted, and not named", self.queue.name);
            }
            _ => {}
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.stay == 0 && self.doubtful == 0
    }

    /// Whether anything has become of any message.
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
            parts.push(format!("{} in both queues, or maybe", self.doubtful));
        }
        parts.join(", ")
    }
}

/// The messages in rounds, each of which is sent when the one before it has arrived. Of a group of a FIFO queue each round has one
/// message: SQS answers for each entry of a call, and may take the second of two where it does not take the first.
fn rounds(letters: Vec<Letter>, is_fifo: bool) -> Vec<Vec<Letter>> {
    if !is_fifo {
        return vec![letters];
    }
    let (mut rounds, mut next): (Vec<Vec<Letter>>, HashMap<String, usize>) = Default::default();
    for letter in letters {
        let round = next.entry(letter.group().unwrap_or_default().to_owned()).or_default();
        if *round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[*round].push(letter);
        *round += 1;
    }
    rounds
}

fn at(letters: &[Letter], place: Place) -> Option<&Letter> {
    match place {
        Place::Record(position) => letters.get(usize::try_from(position).ok()?),
        Place::Line(_) | Place::Whole => None,
    }
}
