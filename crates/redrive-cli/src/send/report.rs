//! What was sent, what was not, and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::deliver::Fate;
use super::message::{Message, Place, Unsendable};

/// What is over sooner needs no progress.
const LONG: Duration = Duration::from_millis(500);

/// Counts, and tells each failure at once.
pub(super) struct Report {
    /// For people: where messages come from, and where they go.
    input: String,
    queue: String,
    sent: u64,
    failed: u64,
    unknown: u64,
    empty_lines: u64,
    /// Whether a failure was.
    has_told: bool,
    /// What is in calls that are not over.
    under_way: BTreeSet<Place>,
    /// Nothing behind it has been in a call.
    last: Option<Place>,
    progress: Progress,
}

impl Report {
    pub(super) fn new(input: String, queue: String, progress: Progress) -> Self {
        let (under_way, last) = (BTreeSet::new(), None);
        Self {
            input,
            queue,
            sent: 0,
            failed: 0,
            unknown: 0,
            empty_lines: 0,
            has_told: false,
            under_way,
            last,
            progress,
        }
    }

    pub(super) fn unsendable(&mut self, Unsendable { place, cause }: Unsendable) {
        self.add(place, Fate::Failed(cause));
    }

    pub(super) fn empty_line(&mut self) {
        self.empty_lines += 1;
    }

    /// A batch goes.
    pub(super) fn begins(&mut self, batch: &[Message]) {
        self.under_way.extend(batch.iter().map(|message| message.place));
        self.last = self.last.max(self.under_way.last().copied());
    }

    /// Nobody waits for what is under way.
    pub(super) fn abandon(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        if let (Some(first), Some(last)) = (under_way.first(), under_way.last()) {
            let (input, count) = (&self.input, under_way.len());
            self.progress.tell(&format!("{input}: from {first} to {last}: {count} may be sent or not: no answer yet"));
            self.unknown += count as u64;
        }
    }

    /// What has become of a batch, in its order.
    pub(super) fn batch(&mut self, fates: Vec<(Place, Fate)>) {
        let hopeless = || fates.iter().filter(|(_, fate)| *fate == Fate::Hopeless).map(|(place, _)| *place);
        // Where nothing was sent at all, the error at the end says enough.
        if self.sent > 0
            && let (Some(first), Some(last)) = (hopeless().next(), hopeless().next_back())
        {
            let (input, count) = (&self.input, hopeless().count());
            self.progress.tell(&format!("{input}: from {first} to {last}: {count} not sent"));
        }
        fates.into_iter().for_each(|(place, fate)| self.add(place, fate));
    }

    fn add(&mut self, place: Place, fate: Fate) {
        self.under_way.remove(&place);
        let input = &self.input;
        match fate {
            Fate::Sent => self.sent += 1,
            Fate::Hopeless => self.failed += 1,
            Fate::Failed(cause) => {
                (self.failed, self.has_told) = (self.failed + 1, true);
                self.progress.tell(&format!("{input}: {place} failed: {cause}"));
            }
            Fate::Unknown(cause) => {
                (self.unknown, self.has_told) = (self.unknown + 1, true);
                self.progress.tell(&format!("{input}: {place} may be sent or not: {cause}"));
            }
        }
        self.progress.show(self.sent);
    }

    /// Whether nothing was sent, nor told to have failed.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == 0 && !self.has_told
    }

    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.unknown == 0
    }

    pub(super) fn summary(&self) -> String {
        let mut text = format!("{}: {} sent, {} failed", self.queue, self.sent, self.failed);
        if self.unknown > 0 {
            text += &format!(", {} of unknown outcome", self.unknown);
        }
        if self.empty_lines > 0 {
            text += &format!(", {} empty lines skipped", self.empty_lines);
        }
        text
    }

    /// The same, where it ended before the input did.
    pub(super) fn summary_and_rest(&self) -> String {
        let rest = self.last.map_or("the input".to_owned(), |last| format!("what comes after {last}"));
        format!("{}; {rest} was not sent", self.summary())
    }

    pub(super) fn end(&self) {
        self.progress.bar.finish_and_clear();
    }
}

/// A line that changes, where errors go to a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    read_bytes: Arc<AtomicU64>,
}

impl Progress {
    pub(super) fn new(length_bytes: Option<u64>, read_bytes: Arc<AtomicU64>) -> Self {
        let (bar, template) = match length_bytes {
            Some(length) => (ProgressBar::new(length), "{bar:30} {percent}%, {msg}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes} read, {msg}, {elapsed}"),
        };
        // A template that it cannot read is a fault of ours, and no reason to send nothing.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self { bar, began: Instant::now(), read_bytes }
    }

    fn show(&self, sent: u64) {
        if self.began.elapsed() >= LONG {
            self.bar.set_position(self.read_bytes.load(Ordering::Relaxed));
            self.bar.set_message(format!("{sent} sent"));
        }
    }

    fn tell(&self, text: &str) {
        self.bar.suspend(|| eprintln!("redrive: {text}"));
    }
}
