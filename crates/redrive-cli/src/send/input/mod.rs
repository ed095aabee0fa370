//! Reads messages from a file or a pipe as they arrive.
//!
//! The reader has its own thread, because a read from an idle pipe blocks. A blocked thread does not keep the process
//! from ending.

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
use super::message::{InputPosition, Message, Unsendable};

/// The most messages that wait to be sent. The reader waits when there are this many.
const MAX_WAITING: usize = 100;
/// The longest event that is read. Lambda's events have at most 6 MB.
const MAX_EVENT_BYTES: u64 = 64 * 1024 * 1024;

/// One item of the input.
#[derive(Debug, PartialEq)]
pub(super) enum InputItem {
    Message(Message),
    Unsendable(Unsendable),
    /// An empty line, which is skipped and counted.
    EmptyLine,
    /// The input cannot be read further. This is the last item.
    Broken(String),
}

/// How the input is split into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An event if the input begins as one, otherwise lines.
    AsItIs,
    Lines,
    Whole,
}

/// An input, and how far it has been read.
pub(super) struct Input {
    /// The input's name, for messages to the user.
    pub(super) name: String,
    /// The length in bytes, if it is known.
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

    /// Starts the reader.
    pub(super) fn start(self, form: Form, extras: Extras) -> Result<mpsc::Receiver<InputItem>, String> {
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

/// The receiver is gone, so reading stops.
struct Gone;

struct Reading {
    name: String,
    extras: Extras,
    read_bytes: Arc<AtomicU64>,
    items: mpsc::Sender<InputItem>,
}

impl Reading {
    fn read(&self, form: Form, mut from: impl BufRead) {
        // Reading ends in either case.
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
        // One byte more than allowed shows that the body is too long.
        if let Err(error) = from.take(MAX_MESSAGE_BYTES as u64 + 1).read_to_end(&mut bytes) {
            return self.broken(&error);
        }
        if bytes.len() > MAX_MESSAGE_BYTES {
            return self.unsendable(InputPosition::Whole, too_long());
        }
        match String::from_utf8(bytes) {
            Ok(body) => self.message(Message::new(InputPosition::Whole, body)),
            Err(error) => self.unsendable(InputPosition::Whole, no_text(error.utf8_error())),
        }
    }

    /// Bodies contain no group. One error is better than one for each line.
    fn check_group(&self) -> Result<(), Gone> {
        if self.extras.is_fifo && self.extras.group.is_none() {
            self.tell(InputItem::Broken("a FIFO queue refuses messages without a group; pass --group".to_owned()))?;
            return Err(Gone);
        }
        Ok(())
    }

    fn message(&self, message: Message) -> Result<(), Gone> {
        self.tell(self.extras.add_to(message).map_or_else(InputItem::Unsendable, InputItem::Message))
    }

    fn unsendable(&self, position: InputPosition, cause: String) -> Result<(), Gone> {
        self.tell(InputItem::Unsendable(Unsendable { position, cause }))
    }

    fn broken(&self, error: &io::Error) -> Result<(), Gone> {
        self.tell(InputItem::Broken(format!("cannot read {}: {error}", self.name)))
    }

    fn tell(&self, item: InputItem) -> Result<(), Gone> {
        self.items.blocking_send(item).map_err(|_| Gone)
    }
}

fn too_long() -> String {
    format!("it is longer than {MAX_MESSAGE_BYTES} bytes, the limit of SQS; shorten it")
}

fn no_text(error: Utf8Error) -> String {
    format!("it is not text: byte {} is not UTF-8, and SQS accepts only UTF-8; encode it", error.valid_up_to())
}
