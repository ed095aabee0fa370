//! From a file or a pipe to messages, as they come.
//!
//! It reads on a thread of its own: nothing else can be done while a pipe has nothing to read, and a thread that waits for one
//! is left behind when the process ends.

mod event;
mod form;
mod lines;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::str::Utf8Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redrive::internals::limits::MAX_MESSAGE_BYTES;
use tokio::sync::mpsc;

use self::form::begins_an_event;
use super::extras::Extras;
use super::message::{Message, Place, Unsendable};

/// How many messages wait to be sent. Whoever reads waits when there are so many.
const MAX_WAITING: usize = 100;
/// Of an event as Lambda makes them there are 6 MB at most.
const MAX_EVENT_BYTES: u64 = 64 * 1024 * 1024;

/// What is read, one after the other.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    Message(Message),
    Unsendable(Unsendable),
    /// Between lines, and no message.
    EmptyLine,
    /// Nothing comes after it.
    Broken(String),
}

/// How the input is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An event, if it begins as one, and else lines.
    AsItIs,
    Lines,
    Whole,
}

/// Something to read from, and how far that has come.
pub(super) struct Input {
    /// For people.
    pub(super) name: String,
    /// Where that is known.
    pub(super) length_bytes: Option<u64>,
    pub(super) read_bytes: Arc<AtomicU64>,
    from: Box<dyn Read + Send>,
}

impl Input {
    pub(super) fn file(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("cannot read {name}: {error}; check the path"))?;
        let length_bytes = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        Ok(Self { length_bytes, ..Self::of(name, file) })
    }

    pub(super) fn stdin() -> Self {
        Self::of("stdin".to_owned(), io::stdin())
    }

    pub(super) fn text(name: &str, text: &str) -> Self {
        Self::of(name.to_owned(), Cursor::new(text.to_owned()))
    }

    fn of(name: String, from: impl Read + Send + 'static) -> Self {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let from = Counted { from, count: read_bytes.clone() };
        Self { name, length_bytes: None, read_bytes, from: Box::new(from) }
    }

    /// Begins to read.
    pub(super) fn start(self, form: Form, extras: Extras) -> Result<mpsc::Receiver<Item>, String> {
        let (sender, items) = mpsc::channel(MAX_WAITING);
        let reader = std::thread::Builder::new().name("input".to_owned());
        let Self { name, read_bytes, from, .. } = self;
        let reading = Reading { name, extras, read_bytes, items: sender };
        let read = move || reading.read(form, BufReader::new(from));
        reader.spawn(read).map_err(|error| format!("cannot start: {error}"))?;
        Ok(items)
    }
}

struct Counted<R> {
    from: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Nobody waits for more.
struct Gone;

struct Reading {
    name: String,
    extras: Extras,
    read_bytes: Arc<AtomicU64>,
    items: mpsc::Sender<Item>,
}

impl Reading {
    fn read(&self, form: Form, mut from: impl BufRead) {
        // It is over either way.
        let _: Result<(), Gone> = match form {
            Form::Whole => self.whole(from),
            Form::Lines => self.lines(from, true),
            Form::AsItIs => {
                let mut beginning = Vec::new();
                match begins_an_event(&mut from, &mut beginning) {
                    Ok(true) => self.event(beginning.chain(from)),
                    Ok(false) => self.lines(beginning.chain(from), false),
                    Err(error) => self.broken(&error),
                }
            }
        };
    }

    fn whole(&self, from: impl Read) -> Result<(), Gone> {
        self.check_group()?;
        let mut bytes = Vec::new();
        // One more than there may be, to see that there are too many.
        if let Err(error) = from.take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes) {
            return self.broken(&error);
        }
        if bytes.len() > MAX_MESSAGE_BYTES {
            return self.unsendable(Place::Whole, too_long());
        }
        match String::from_utf8(bytes) {
            Ok(body) => self.message(Message::new(Place::Whole, body)),
            Err(error) => self.unsendable(Place::Whole, no_text(error.utf8_error())),
        }
    }

    /// Bodies have no group of their own. Better one error than one a line.
    fn check_group(&self) -> Result<(), Gone> {
        if self.extras.is_fifo && self.extras.group.is_none() {
            self.tell(Item::Broken("a FIFO queue takes no message without a group; pass --group".to_owned()))?;
            return Err(Gone);
        }
        Ok(())
    }

    fn message(&self, message: Message) -> Result<(), Gone> {
        self.tell(self.extras.add_to(message).map_or_else(Item::Unsendable, Item::Message))
    }

    fn unsendable(&self, place: Place, cause: String) -> Result<(), Gone> {
        self.tell(Item::Unsendable(Unsendable { place, cause }))
    }

    fn broken(&self, error: &io::Error) -> Result<(), Gone> {
        self.tell(Item::Broken(format!("cannot read {}: {error}", self.name)))
    }

    fn tell(&self, item: Item) -> Result<(), Gone> {
        self.items.blocking_send(item).map_err(|_| Gone)
    }
}

fn too_long() -> String {
    format!("it is longer than {MAX_MESSAGE_BYTES} bytes, and SQS takes no such message")
}

fn no_text(error: Utf8Error) -> String {
    format!("it is no text: byte {} of it is not UTF-8, and SQS takes nothing else; encode it", error.valid_up_to())
}
