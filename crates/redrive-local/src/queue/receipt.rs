//! Encodes receipt handles, which identify one receive of a message.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE as BASE64;

use super::error::{Code, SqsError};
use super::message::Position;

/// One receive of one message. A later receive of the same message has another receipt and makes this one stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The queue of the receive. Handles of other queues, and of deleted queues, are refused.
    pub queue: u64,
    pub position: Position,
    pub receive_count: u32,
}

const BYTES: usize = 20;

impl Receipt {
    pub(super) fn to_handle(self) -> String {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.queue.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_be_bytes());
        bytes[16..].copy_from_slice(&self.receive_count.to_be_bytes());
        BASE64.encode(bytes)
    }

    /// Decodes a handle of this queue.
    pub(super) fn of_handle(handle: &str, queue: u64) -> Result<Self, SqsError> {
        if handle.is_empty() {
            return Err(SqsError::missing("ReceiptHandle"));
        }
        parse(handle)
            .filter(|receipt| receipt.queue == queue)
            .ok_or_else(|| SqsError::new(Code::ReceiptHandleIsInvalid, "The input receipt handle is invalid."))
    }
}

fn parse(handle: &str) -> Option<Receipt> {
    let bytes = BASE64.decode(handle).ok()?;
    let (queue, rest) = bytes.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    Some(Receipt {
        queue: u64::from_be_bytes(*queue),
        position: Position::from_be_bytes(*position),
        receive_count: u32::from_be_bytes(rest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_decodes_to_its_receipt_and_only_in_its_queue() {
        let receipt = Receipt { queue: 7, position: 1 << 40, receive_count: 3 };
        let handle = receipt.to_handle();
        assert_eq!(Receipt::of_handle(&handle, 7), Ok(receipt));
        assert_eq!(Receipt::of_handle(&handle, 8).unwrap_err().code, Code::ReceiptHandleIsInvalid);
        for bad in ["x", "AAAA", &handle[4..], &format!("{handle}AAAA")] {
            assert_eq!(Receipt::of_handle(bad, 7).unwrap_err().code, Code::ReceiptHandleIsInvalid, "{bad}");
        }
        assert_eq!(Receipt::of_handle("", 7).unwrap_err().code, Code::MissingParameter);
    }
}
