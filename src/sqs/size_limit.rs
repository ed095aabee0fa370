//! Learns a queue's size limit from its refusals.
//!
//! A queue has its own `MaximumMessageSize`, from 1 KiB to 1 MiB. Senders have no permission to read it, so they learn
//! it from the first message that the queue refuses for its size.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{MAX_MESSAGE_BYTES, SMALLEST_SIZE_LIMIT_BYTES};

/// When a learned limit is forgotten, because somebody may have raised it. Learning it again costs one refused entry.
const LEARNED_FOR: Duration = Duration::from_secs(600);

/// The largest message that one queue accepts.
#[derive(Debug, Default)]
pub struct SizeLimit {
    learned: Mutex<Option<Learned>>,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    bytes: usize,
    at: Instant,
}

impl SizeLimit {
    /// Returns the current limit: that of SQS, until the queue has shown a lower one.
    pub fn bytes(&self, now: Instant) -> usize {
        let learned = self.learned().filter(|learned| now.saturating_duration_since(learned.at) < LEARNED_FOR);
        learned.map_or(MAX_MESSAGE_BYTES, |learned| learned.bytes)
    }

    /// Records that the queue refused a message of that size. Returns the limit. It is below that size, unless the
    /// message has the smallest size that every queue accepts.
    ///
    /// If the refusal names no limit, or one that does not explain it, the limit is set just below the message's size.
    pub fn learn(&self, refusal: TooLarge, message_bytes: usize, now: Instant) -> usize {
        let below = message_bytes.saturating_sub(1);
        let bytes = refusal.limit_bytes.map_or(below, |limit| limit.min(below)).max(SMALLEST_SIZE_LIMIT_BYTES);
        *self.lock() = Some(Learned { bytes, at: now });
        bytes
    }

    /// Records that the queue accepted a message of that size, which ends any lower limit.
    pub fn took(&self, message_bytes: usize) {
        self.lock().take_if(|learned| learned.bytes < message_bytes);
    }

    fn learned(&self) -> Option<Learned> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Learned>> {
        // Each change leaves the limit consistent, so a poisoned lock does no harm.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal of a message for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit in the refusal.
    pub limit_bytes: Option<usize>,
}

impl TooLarge {
    /// A refusal without a limit.
    pub const WITHOUT_A_NUMBER: Self = Self { limit_bytes: None };

    /// Reads the code and message of an error. Returns `None` if it is not about size.
    ///
    /// SQS says "Message must be shorter than 262144 bytes." Other servers have their own wording.
    pub fn in_text(text: &str) -> Option<Self> {
        const SIGNS: [&str; 14] = [
            "shorter than",
            "longer than",
            "smaller than",
            "too long",
            "toolong",
            "too large",
            "toolarge",
            "too big",
            "toobig",
            "size exceeds",
            "exceeds the limit",
            "exceeds the maximum",
            "maximum message size",
            "maximummessagesize",
        ];
        // These parts have limits too, which belong to SQS and not to a queue.
        const OTHERS: [&str; 5] = ["attribute name", "attribute type", "groupid", "deduplicationid", "in length"];
        let text = text.to_ascii_lowercase();
        if OTHERS.iter().any(|other| text.contains(other)) {
            return None;
        }
        let sign = SIGNS.iter().filter_map(|sign| text.find(sign).map(|at| at + sign.len())).min()?;
        // The number follows the sign, as in "longer than 1048576 bytes. You have sent 1048577", or precedes it, as in
        // "1500 bytes is too large".
        Some(Self { limit_bytes: first_limit(&text[sign..]) })
    }
}

/// Returns the first number, with its unit, that may be a queue's limit.
fn first_limit(text: &str) -> Option<usize> {
    let mut rest = text;
    while let Some(begin) = rest.find(|char: char| char.is_ascii_digit()) {
        let number = &rest[begin..];
        let end =
            number.find(|char: char| !char.is_ascii_digit() && !matches!(char, ',' | '_')).unwrap_or(number.len());
        let (digits, after) = number.split_at(end);
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let bytes = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit_bytes(after)));
        let range = SMALLEST_SIZE_LIMIT_BYTES..=MAX_MESSAGE_BYTES;
        if let Some(bytes) = bytes.filter(|bytes| range.contains(bytes)) {
            return Some(bytes);
        }
        rest = after;
    }
    None
}

fn unit_bytes(after_number: &str) -> usize {
    const KIB: usize = 1_024;
    match after_number.trim_start().get(..2) {
        Some("kb" | "ki") => KIB,
        Some("mb" | "mi") => KIB * KIB,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Option<Option<usize>> {
        TooLarge::in_text(text).map(|refusal| refusal.limit_bytes)
    }

    #[test]
    fn limit_is_read_from_every_known_refusal() {
        for (text, bytes) in [
            (
                "InvalidParameterValue: One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.",
                262_144,
            ),
            (
                "InvalidParameterValue: One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.",
                1_024,
            ),
            (
                "BatchRequestTooLong: Batch requests cannot be longer than 262144 bytes. You have sent 262145 bytes.",
                262_144,
            ),
            ("Broken: a message must be smaller than 256 KB", 262_144),
            ("Broken: Maximum message size is 262,144 bytes", 262_144),
            ("Broken: the size exceeds 1 MiB", 1_048_576),
            ("Broken: Message of 300000 bytes is too large; the limit is 262144", 262_144),
        ] {
            assert_eq!(limit(text), Some(Some(bytes)), "{text}");
        }
    }

    #[test]
    fn refusal_for_size_without_a_number_is_recognized() {
        for text in [
            "MessageTooLong: MessageTooLong; see the SQS docs.",
            "InvalidParameterValue: The message size exceeds the limit.",
            "Broken: the message is longer than 12 bytes",
            "Broken: message too large, 99999999999999999999999999 bytes",
        ] {
            assert_eq!(limit(text), Some(None), "{text}");
        }
    }

    #[test]
    fn other_refusal_is_not_about_size() {
        for text in [
            "InvalidParameterValue: The request include parameter that is not valid for this queue type",
            "InvalidParameterValue: The length of message attribute name must be shorter than 256 bytes",
            "InvalidParameterValue: MessageDeduplicationId can only include 1 to 128 in length, and is too long",
            "MissingParameter: The request must contain the parameter MessageGroupId.",
            "KMS.DisabledException: the key is disabled",
        ] {
            assert_eq!(limit(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limit_is_learned_and_forgotten_after_ten_minutes() {
        let limit = SizeLimit::default();
        let now = Instant::now();
        assert_eq!(limit.bytes(now), MAX_MESSAGE_BYTES);
        let refusal = TooLarge { limit_bytes: Some(262_144) };
        assert_eq!((limit.learn(refusal, 300_000, now), limit.bytes(now)), (262_144, 262_144));
        limit.took(262_144);
        assert_eq!(limit.bytes(now + LEARNED_FOR - Duration::from_millis(1)), 262_144);
        assert_eq!(limit.bytes(now + LEARNED_FOR), MAX_MESSAGE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn raised_limit_is_forgotten_at_the_first_message_above_it() {
        let (limit, now) = (SizeLimit::default(), Instant::now());
        limit.learn(TooLarge { limit_bytes: Some(2_000) }, 3_000, now);
        limit.took(2_001);
        assert_eq!(limit.bytes(now), MAX_MESSAGE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_without_a_number_is_just_below_the_message_and_at_least_1_kib() {
        let (limit, now) = (SizeLimit::default(), Instant::now());
        assert_eq!(limit.learn(TooLarge::WITHOUT_A_NUMBER, 5_000, now), 4_999);
        assert_eq!(
            limit.learn(TooLarge { limit_bytes: Some(262_144) }, 5_000, now),
            4_999,
            "the number explains nothing"
        );
        assert_eq!(limit.learn(TooLarge::WITHOUT_A_NUMBER, 900, now), 1_024);
    }
}
