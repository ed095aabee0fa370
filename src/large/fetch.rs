//! Fetches the body of a record that has a pointer.

use futures_util::future::join_all;

use super::LargeMessages;
use super::budget::MemoryPermit;
use super::envelope::Envelope;
use super::object::{self, Got};
use super::pointer::{Pointer, SIZE_ATTRIBUTES};
use super::readable::Readable;
use crate::engine::{BodySource, Fetch, Wanted, WithBody};
use crate::outcome::BoxError;
use crate::record::{FetchedBody, RawAttribute, Record};

/// The limit of concurrent fetches. More of them would share one connection and each would take longer.
pub(super) const MAX_FETCHES: usize = 16;

/// The copies of a body in memory: as fetched, as an extractor copies or parses it, and as the handler's own data.
const COPIES: usize = 3;
/// The body is also written into the SNS envelope and taken out again.
const COPIES_IN_ENVELOPE: usize = COPIES + 1;

/// The assumed length of a body without an announced length. If the body is longer, S3 returns its length and the fetch
/// starts again.
const UNSAID_BYTES: usize = 1_048_576;

/// A pointer to a body, with the memory that the body takes.
struct Pointed<'a> {
    record: &'a Record,
    place: Readable,
    attribute: &'static str,
    /// The SNS envelope that contains the pointer.
    envelope_of: Option<String>,
    said_bytes: Option<usize>,
}

/// The result of a fetch with reserved memory.
enum Fetched {
    Here(Record),
    /// The body is this long, and the reserved memory is too small.
    Longer(usize),
}

impl LargeMessages {
    /// Returns the record's pointer, or `None` if the record contains its body.
    fn find<'a>(&self, record: &'a Record) -> Result<Option<Pointed<'a>>, BoxError> {
        if let Some(attribute) = size_attribute(record) {
            let body = record.body()?.unwrap_or_default();
            let place = self.place(&body, attribute)?;
            let said_bytes = said_bytes(record, attribute);
            return Ok(Some(Pointed { record, place, attribute, envelope_of: None, said_bytes }));
        }
        // Few records have a pointer inside their body, and unescaping every body is expensive.
        if !SIZE_ATTRIBUTES.into_iter().any(|name| record.body_may_contain(name)) {
            return Ok(None);
        }
        // An error in a body without a pointer is reported by the extractor that reads the body.
        let Ok(Some(body)) = record.body() else { return Ok(None) };
        let Some(envelope) = Envelope::find(&body) else { return Ok(None) };
        let attribute = envelope.attribute();
        let place = self.place(&envelope.pointer().unwrap_or_default(), attribute)?;
        let said_bytes = envelope.said_bytes();
        Ok(Some(Pointed { record, place, attribute, envelope_of: Some(body.into_owned()), said_bytes }))
    }

    fn place(&self, pointer: &str, attribute: &str) -> Result<Readable, String> {
        let place = Pointer::parse(pointer).map_err(|error| {
            format!("its attribute {attribute} marks a body in S3, but its body is not a pointer: {error}")
        })?;
        self.readable(place)
    }

    /// Returns the record with its fetched body, or unchanged if it has no pointer.
    async fn with_body(&self, record: &Record) -> WithBody {
        let Some(pointed) = self.find(record)? else { return Ok(record.clone()) };
        let mut bytes = self.assumed_bytes(&pointed, None);
        loop {
            let room = self.budget.wait(bytes, pointed.copies()).await;
            match self.fetch_into(&pointed, bytes, room).await? {
                Fetched::Here(record) => return Ok(record),
                // The room was returned before this asks for more, so a waiting record holds none.
                Fetched::Longer(longer) => bytes = longer,
            }
        }
    }

    async fn with_bodies(&self, wanted: &mut [Wanted]) -> Vec<Option<WithBody>> {
        let mut fetches = Vec::with_capacity(wanted.len());
        let mut is_first = true;
        for Wanted { record, bytes } in wanted.iter() {
            let fetch: Fetch<'_, Option<Result<Fetched, BoxError>>> = match self.find(record) {
                Err(error) => Box::pin(async move { Some(Err(error)) }),
                Ok(None) => Box::pin(async move { Some(Ok(Fetched::Here(record.clone()))) }),
                Ok(Some(pointed)) => {
                    let bytes = self.assumed_bytes(&pointed, *bytes);
                    let room = match std::mem::take(&mut is_first) {
                        true => Some(self.budget.wait(bytes, pointed.copies()).await),
                        false => self.budget.now(bytes, pointed.copies()),
                    };
                    Box::pin(async move { Some(self.fetch_into(&pointed, bytes, room?).await) })
                }
            };
            fetches.push(fetch);
        }
        let fetched = join_all(fetches).await;
        let settle = |(fetched, wanted): (_, &mut Wanted)| match fetched {
            Some(Ok(Fetched::Here(record))) => Some(Ok(record)),
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(Fetched::Longer(longer))) => {
                wanted.bytes = Some(longer);
                None
            }
            None => None,
        };
        fetched.into_iter().zip(wanted).map(settle).collect()
    }

    /// Returns the assumed length of the body: the length that a fetch found, or the announced one. It never exceeds
    /// the readable maximum.
    fn assumed_bytes(&self, pointed: &Pointed<'_>, found: Option<usize>) -> usize {
        found.or(pointed.said_bytes).unwrap_or(UNSAID_BYTES).min(self.max_size)
    }

    /// Fetches a body into the reserved memory.
    async fn fetch_into(
        &self,
        pointed: &Pointed<'_>,
        bytes: usize,
        mut room: MemoryPermit,
    ) -> Result<Fetched, BoxError> {
        let copies = pointed.copies();
        let covered = self.budget.covers(bytes, copies).unwrap_or(self.max_size);
        let got = async {
            let _turn = self.fetches.acquire().await;
            object::get(self.client().await?, &pointed.place, covered, self.max_size).await
        };
        let body = match got.await.map_err(|error| format!("its body cannot be fetched: {error}"))? {
            Got::Whole(body) => body,
            Got::Longer(longer) => return Ok(Fetched::Longer(longer.unwrap_or(self.max_size))),
        };
        self.budget.shrink(&mut room, body.len(), copies);
        Ok(Fetched::Here(pointed.record_with(body, room)?))
    }
}

impl Pointed<'_> {
    fn copies(&self) -> usize {
        if self.envelope_of.is_some() { COPIES_IN_ENVELOPE } else { COPIES }
    }

    fn record_with(&self, body: String, room: MemoryPermit) -> WithBody {
        match self.envelope_of.as_deref().and_then(Envelope::find) {
            Some(envelope) => {
                let body = envelope.with_message(body)?;
                Ok(self.record.with_body(FetchedBody::new(body, None, room)))
            }
            None => Ok(self.record.with_body(FetchedBody::new(body, Some(self.attribute), room))),
        }
    }
}

/// Returns the body's length as the message announces it.
fn said_bytes(record: &Record, attribute: &str) -> Option<usize> {
    record.message_attribute(attribute).ok()??.as_str()?.parse().ok()
}

impl BodySource for LargeMessages {
    fn fetch<'a>(&'a self, record: &'a Record) -> Fetch<'a, WithBody> {
        Box::pin(self.with_body(record))
    }

    fn fetch_some<'a>(&'a self, wanted: &'a mut [Wanted]) -> Fetch<'a, Vec<Option<WithBody>>> {
        Box::pin(self.with_bodies(wanted))
    }
}

/// Returns the attribute that marks a pointer. An error in the attributes is reported by the extractor that reads them.
fn size_attribute(record: &Record) -> Option<&'static str> {
    let says_so = |name: &&str| match record.raw_message_attribute(name) {
        Ok(Some(RawAttribute::Json(json))) => json != "null",
        #[cfg(feature = "worker")]
        Ok(Some(RawAttribute::Received(_))) => true,
        Ok(None) | Err(_) => false,
    };
    SIZE_ATTRIBUTES.into_iter().find(says_so)
}
