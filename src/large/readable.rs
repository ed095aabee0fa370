//! Which objects may be read. The sender of a message chooses the object, and the receiver's permissions read it.

use super::LargeMessages;
use super::pointer::Pointer;

/// An object that may be read. Only [`LargeMessages::readable`] makes one.
#[derive(Debug)]
pub(super) struct Readable(Pointer);

/// S3 has no longer keys.
const MAX_KEY_BYTES: usize = 1_024;

impl Readable {
    pub(super) fn place(&self) -> &Pointer {
        &self.0
    }
}

impl LargeMessages {
    /// Checks that the bucket and the key are among those that were named.
    ///
    /// # Errors
    ///
    /// Where they are not. The error names the option that allows them.
    pub(super) fn readable(&self, place: Pointer) -> Result<Readable, String> {
        let Pointer { s3_bucket_name: bucket, s3_key: key } = &place;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(format!("its body says a key of {} bytes; S3 has keys of 1 to {MAX_KEY_BYTES}", key.len()));
        }
        if *bucket != self.bucket && !self.other_buckets.contains(bucket) {
            let why = "is in a bucket that is not read from; LargeMessages::also_read_from allows one";
            return Err(format!("its body, {place}, {why}"));
        }
        if has_dot_segment(key) {
            let why = "has a key with a segment `.` or `..`, which a server may take for another object";
            return Err(format!("its body, {place}, {why}; it is not read"));
        }
        let mut prefixes = self.prefixes().peekable();
        if prefixes.peek().is_some() && !prefixes.any(|prefix| is_under(prefix, key)) {
            let why = "has a key under none of the prefixes that are read; LargeMessages::also_read_prefix allows one";
            return Err(format!("its body, {place}, {why}"));
        }
        Ok(Readable(place))
    }

    /// The prefixes of keys that may be read. Every key may be where there are none.
    fn prefixes(&self) -> impl Iterator<Item = &str> {
        let own = Some(&self.key_prefix).filter(|prefix| !prefix.is_empty());
        own.into_iter().chain(&self.other_prefixes).map(String::as_str)
    }
}

/// A prefix without a slash at its end covers keys of its own folder, as `orders` covers `orders1` and `orders/1`, and no folder that
/// merely begins the same way, as `orders-private/1`.
fn is_under(prefix: &str, key: &str) -> bool {
    let Some(rest) = key.strip_prefix(prefix) else { return false };
    let is_whole = prefix.is_empty() || prefix.ends_with('/') || rest.starts_with('/');
    !rest.trim_start_matches('/').is_empty() && (is_whole || !rest.contains('/'))
}

/// To S3 they are characters like any other. Proxies and servers that keep objects in files resolve them, and leave the prefix, or the
/// bucket.
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
    fn every_key_is_read_where_no_prefix_is_named() {
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
    fn a_prefix_without_a_slash_covers_no_folder_that_begins_like_it() {
        let large_messages = large_messages().key_prefix("a");
        assert!(is_read(&large_messages, "a1") && is_read(&large_messages, "a/1"));
        assert!(!is_read(&large_messages, "ab/1") && !is_read(&large_messages, "a") && !is_read(&large_messages, "a/"));
    }

    #[test]
    fn further_prefixes_are_read_and_an_empty_one_is_all_of_them() {
        let further = large_messages().key_prefix("orders/").also_read_prefix("legacy/");
        assert!(is_read(&further, "orders/k") && is_read(&further, "legacy/k") && !is_read(&further, "k"));
        assert!(is_read(&further.also_read_prefix(""), "k"));
        let alone = large_messages().also_read_prefix("legacy/");
        assert!(is_read(&alone, "legacy/k") && !is_read(&alone, "k"), "a prefix that is named bounds what is read");
    }

    #[test]
    fn keys_that_leave_their_folder_are_not_read() {
        for large_messages in [large_messages(), large_messages().key_prefix("orders/").also_read_prefix("")] {
            for key in ["orders/../secret", "orders/..", "../others/k", "orders/./k", r"orders\..\secret", ".."] {
                let problem = problem(&large_messages, "payloads", key).expect(key);
                assert!(problem.contains("segment"), "{problem}");
            }
        }
    }

    #[test]
    fn a_key_that_s3_cannot_have_is_an_error_that_does_not_repeat_it() {
        let problem = problem(&large_messages(), "payloads", &"k".repeat(1_025)).unwrap();
        assert!(problem.contains("1025 bytes") && !problem.contains("kkk"), "{problem}");
        assert!(!is_read(&large_messages(), ""));
    }

    #[test]
    fn a_bucket_is_read_by_the_very_name_that_was_given() {
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
