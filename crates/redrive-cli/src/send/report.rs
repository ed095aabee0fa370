//! Counts what was sent and reports failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::deliver::SendOutcome;
use super::message::{InputPosition, Message, Unsendable};

/// A send that ends sooner shows no progress bar.
const LONG: Duration = Duration::from_millis(500);

/// Counts the outcomes and prints each failure at once.
pub(super) struct Report {
    /// The names of the input and the queue, for messages to the user.
    input: String,
    queue: String,
    sent: u64,
    failed: u64,
    unknown: u64,
    empty_lines: u64,
    /// Whether a failure was printed.
    has_told: bool,
    /// The messages in unfinished calls.
    under_way: BTreeSet<InputPosition>,
    /// The last message of the input that has been in a call.
    last: Option<InputPosition>,
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

    pub(super) fn unsendable(&mut self, Unsendable { position, cause }: Unsendable) {
        self.add(position, SendOutcome::Failed(cause));
    }

    pub(super) fn empty_line(&mut self) {
        self.empty_lines += 1;
    }

    /// Notes that a batch is being sent.
    pub(super) fn begins(&mut self, batch: &[Message]) {
        self.under_way.extend(batch.iter().map(|message| message.position));
        self.last = self.last.max(self.under_way.last().copied());
    }

    /// Counts the unfinished calls as unknown outcomes, because the command does not wait for them.
    pub(super) fn abandon(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        if let (Some(first), Some(last)) = (under_way.first(), under_way.last()) {
            let (input, count) = (&self.input, under_way.len());
            self.progress.tell(&format!("{input}: from {first} to {last}: {count} may have been sent: no answer yet"));
            self.unknown += count as u64;
        }
    }

    /// Records the outcomes of a batch, in its order.
    pub(super) fn batch(&mut self, outcomes: Vec<(InputPosition, SendOutcome)>) {
        let hopeless =
            || outcomes.iter().filter(|(_, outcome)| *outcome == SendOutcome::Hopeless).map(|(position, _)| *position);
        // If nothing was sent at all, the error at the end is enough.
        if self.sent > 0
            && let (Some(first), Some(last)) = (hopeless().next(), hopeless().next_back())
        {
            let (input, count) = (&self.input, hopeless().count());
            self.progress.tell(&format!("{input}: from {first} to {last}: {count} not sent"));
        }
        outcomes.into_iter().for_each(|(position, outcome)| self.add(position, outcome));
    }

    fn add(&mut self, position: InputPosition, outcome: SendOutcome) {
        self.under_way.remove(&position);
        let input = &self.input;
        match outcome {
            SendOutcome::Sent => self.sent += 1,
            SendOutcome::Hopeless => self.failed += 1,
            SendOutcome::Failed(cause) => {
                (self.failed, self.has_told) = (self.failed + 1, true);
                self.progress.tell(&format!("{input}: {position} failed: {cause}"));
            }
            SendOutcome::Unknown(cause) => {
                (self.unknown, self.has_told) = (self.unknown + 1, true);
                self.progress.tell(&format!("{input}: {position} may have been sent: {cause}"));
            }
        }
        self.progress.show(self.sent);
    }

    /// Returns whether nothing was sent and no failure was printed.
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

    /// Returns the summary of a command that ended before its input.
    pub(super) fn summary_and_rest(&self) -> String {
        let rest = self.last.map_or("the input".to_owned(), |last| format!("the input after {last}"));
        format!("{}; {rest} was not sent", self.summary())
    }

    pub(super) fn end(&self) {
        self.progress.bar.finish_and_clear();
    }
}

/// A progress line, shown if stderr is a terminal.
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
        // A template that cannot be parsed is a bug of this command, and no reason to send nothing.
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
