//! A message as a row.

use std::collections::HashMap;

use redrive::internals::Stored;
use redrive::{Outgoing, SendError};

use super::columns;

/// How many partitions each queue has. A relay leases some of them, so more relays than partitions have nothing to do.
pub(super) const PARTITIONS: u32 = 256;

/// A row to write.
pub struct NewRow<'a> {
    pub(super) message_id: &'a str,
    pub(super) queue_url: &'a str,
    pub(super) group_id: Option<&'a str>,
    pub(super) order_key: Option<String>,
    /// Its column is named `lane`, because a new name would break tables that exist.
    pub(super) partition: i16,
    pub(super) body: &'a str,
    pub(super) attributes: &'a str,
    pub(super) delay_seconds: Option<i32>,
    pub(super) trace_header: Option<&'a str>,
}

impl<'a> NewRow<'a> {
    pub(super) fn of(message: &'a Stored, queue_url: &'a str, is_fifo: bool) -> Self {
        let group_id = message.group.as_deref();
        // A queue's URL contains no space, so the key is unambiguous.
        let order_key = group_id.filter(|_| is_fifo).map(|group| format!("{queue_url} {group}"));
        Self {
            message_id: &message.id,
            queue_url,
            group_id,
            partition: partition_of(order_key.as_deref().unwrap_or(&message.id)),
            order_key,
            body: &message.body,
            attributes: &message.attributes,
            delay_seconds: message.delay_seconds,
            trace_header: message.trace_header.as_deref(),
        }
    }
}

/// Hashes the text with FNV-1a, so that its partition is the same on every machine and in every version:
/// <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn partition_of(text: &str) -> i16 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The last bytes are mixed least into the low bits, so the high half is folded in.
    i16::try_from((hash ^ (hash >> 16)) % PARTITIONS).unwrap_or_default()
}

/// A row to send.
#[derive(Debug)]
pub struct Row {
    pub(super) id: i64,
    pub(super) queue_url: String,
    pub(super) order_key: Option<String>,
    pub(super) attempts: u32,
    pub(super) refusals: u32,
    /// The row's size in memory.
    pub(super) bytes: usize,
    /// The message, or the error of a row that another program wrote wrongly. `None` after it was taken for sending.
    pub(super) message: Option<Result<Outgoing, SendError>>,
}

impl From<columns::PendingRow> for Row {
    fn from(columns: columns::PendingRow) -> Self {
        let (
            id,
            queue_url,
            group,
            order_key,
            message_id,
            body,
            attributes,
            delay_seconds,
            trace_header,
            attempts,
            refusals,
        ) = columns;
        let bytes = body.len() + attributes.len();
        let delay_seconds = delay_seconds.map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX));
        let stored = Stored { id: message_id, body, attributes, group, delay_seconds, trace_header };
        let message = Some(stored.into_outgoing());
        let small = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
        Self { id, queue_url, order_key, attempts: small(attempts), refusals: small(refusals), bytes, message }
    }
}

/// Rows that are sent one after the other.
pub(super) type Line = Vec<Row>;

/// Groups rows into lines: all rows of a key form one line, and each row without a key forms its own. The rows keep
/// their order.
pub(super) fn lines(rows: Vec<Row>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut line_of = HashMap::new();
    for row in rows {
        let line = row.order_key.clone().map(|key| *line_of.entry(key).or_insert(lines.len()));
        match line.and_then(|line| lines.get_mut(line)) {
            Some(line) => line.push(row),
            None => lines.push(vec![row]),
        }
    }
    lines
}
