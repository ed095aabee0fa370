//! Checks which objects may be read. The sender of a message chooses the object, but the receiver's permissions read
//! it.

use super::LargeMessages;
use super::pointer::Pointer;

/// An object that may be read. Only [`LargeMessages::readable`] creates one.
#[derive(Debug)]
pub(super) struct Readable(Pointer);

/// The longest key of S3.
const MAX_KEY_BYTES: usize = 1_024;

impl Readable {
    pub(super) fn place(&self) -> &Pointer {
        &self.0
    }
}

impl LargeMessages {
    /// Checks that the bucket and the key are allowed.
    ///
    /// # Errors
    ///
    /// Returns an error that names the option which allows the object.
    pub(super) fn readable(&self, place: Pointer) -> Result<Readable, String> {
        let Pointer { s3_bucket_name: bucket, s3_key: key } = &place;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("its body names a key of {} bytes; a key of S3 has 1 to {MAX_KEY_BYTES}", key.len()));
        }
        if *bucket != self.bucket && !self.other_buckets.contains(bucket) {
            let why = "is in a bucket that is not allowed; allow it with LargeMessages::also_read_from";
            return Err(format!("its body, {place}, {why}"));
        }
        if has_dot_segment(key) {
            let why = "has a key with a segment `.` or `..`, which some servers resolve to another object";
            return Err(format!("its body, {place}, {why}; it is not read"));
        }
        let mut prefixes = self.prefixes().peekable();
        if prefixes.peek().is_some() && !prefixes.any(|prefix| is_under(prefix, key)) {
            let why = "has a key outside the allowed prefixes; allow its prefix with LargeMessages::also_read_prefix";
            return Err(format!("its body, {place}, {why}"));
        }
        Ok(Readable(place))
    }

    /// Returns the allowed prefixes of keys. If there are none, every key is allowed.
    fn prefixes(&self) -> impl Iterator<Item = &str> {
        let own = Some(&self.key_prefix).filter(|prefix| !prefix.is_empty());
        own.into_iter().chain(&self.other_prefixes).map(String::as_str)
    }
}

/// Returns whether a prefix covers the key. Without a final slash, `orders` covers `orders1` and `orders/1`, but not
/// `orders-private/1`, which is another folder.
fn is_under(prefix: &str, key: &str) -> bool {
    let Some(rest) = key.strip_prefix(prefix) else { return false };
    let is_whole = prefix.is_empty() || prefix.ends_with('/') || rest.starts_with('/');
    !rest.trim_start_matches('/').is_empty() && (is_whole || !rest.contains('/'))
}

/// Returns whether the key has a segment `.` or `..`. S3 treats them like any characters, but proxies and file-based
/// servers resolve them, which leads out of the prefix or the bucket.
fn has_dot_segment(key: &str) -> bool {
    key.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{BehaviorVersion, Config};

    use super::*;

    fn large_messages() -> LargeMessages {
        let config = Config::builder().behavior_version(BehaviorVersion::latest()).build();
        LargeMessages::with_client(&aws_sdk_s3::Client::from_conf(config), "payloads")
    }

    fn problem(large_messages: &LargeMessages, bucket: &str, key: &str) -> Option<String> {
        let place = Pointer { s3_bucket_name: bucket.to_owned(), s3_key: key.to_owned() };
        large_messages.readable(place).err()
    }

    fn is_read(large_messages: &LargeMessages, key: &str) -> bool {
        problem(large_messages, "payloads", key).is_none()
    }

    #[test]
    fn every_key_is_read_without_a_prefix() {
        let large_messages = large_messages().key_prefix("");
        for key in ["k", "orders/k", "a..b", "/k", "..k/k"] {
            assert!(is_read(&large_messages, key), "{key}");
        }
    }

    #[test]
    fn only_keys_under_the_prefix_are_read() {
        let large_messages = large_messages().key_prefix("orders/");
        assert!(is_read(&large_messages, "orders/k") && is_read(&large_messages, "orders/2026/k"));
        for key in
            ["k", "orders", "orders/", "orders//", "Orders/k", "order/k", "/orders/k", "orders-private/k", " orders/k"]
        {
            let problem = problem(&large_messages, "payloads", key).expect(key);
            assert!(problem.contains("also_read_prefix"), "{problem}");
        }
    }

    #[test]
    fn prefix_without_a_slash_covers_no_other_folder() {
        let large_messages = large_messages().key_prefix("a");
        assert!(is_read(&large_messages, "a1") && is_read(&large_messages, "a/1"));
        assert!(!is_read(&large_messages, "ab/1") && !is_read(&large_messages, "a") && !is_read(&large_messages, "a/"));
    }

    #[test]
    fn further_prefixes_are_read_and_an_empty_one_allows_all() {
        let further = large_messages().key_prefix("orders/").also_read_prefix("legacy/");
        assert!(is_read(&further, "orders/k") && is_read(&further, "legacy/k") && !is_read(&further, "k"));
        assert!(is_read(&further.also_read_prefix(""), "k"));
        let alone = large_messages().also_read_prefix("legacy/");
        assert!(is_read(&alone, "legacy/k") && !is_read(&alone, "k"), "any prefix restricts the keys");
    }

    #[test]
    fn keys_with_dot_segments_are_not_read() {
        for large_messages in [large_messages(), large_messages().key_prefix("orders/").also_read_prefix("")] {
            for key in ["orders/../secret", "orders/..", "../others/k", "orders/./k", r"orders\..\secret", ".."] {
                let problem = problem(&large_messages, "payloads", key).expect(key);
                assert!(problem.contains("segment"), "{problem}");
            }
        }
    }

    #[test]
    fn error_of_an_impossible_key_does_not_repeat_it() {
        let problem = problem(&large_messages(), "payloads", &"k".repeat(1_025)).unwrap();
        assert!(problem.contains("1025 bytes") && !problem.contains("kkk"), "{problem}");
        assert!(!is_read(&large_messages(), ""));
    }

    #[test]
    fn bucket_is_read_only_by_its_exact_name() {
        let arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/payloads";
        let large_messages = large_messages().key_prefix("orders/").also_read_from("others");
        assert!(problem(&large_messages, "others", "orders/k").is_none());
        assert!(problem(&large_messages, "others", "k").is_some_and(|problem| problem.contains("also_read_prefix")));
        for bucket in ["Payloads", "payloads ", "payloads/orders", "payloads--use1-az4--x-s3", arn, ""] {
            let problem = problem(&large_messages, bucket, "orders/k").expect(bucket);
            assert!(problem.contains("also_read_from"), "{problem}");
        }
        assert!(problem(&large_messages.also_read_from(arn), arn, "orders/k").is_none());
    }
}
