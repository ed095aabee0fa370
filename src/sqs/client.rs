//! Creates clients on first use, and sets their timeouts.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::IdentityCache;
#[cfg(feature = "worker")]
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, StalledStreamProtectionConfig};
use tokio::sync::OnceCell;

/// A given client, or one from the environment. Creating that takes a credentials provider, a TLS configuration and
/// some milliseconds, so it waits for the first use.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceCell<Client>);

impl LazyClient {
    pub(super) fn given(client: Client) -> Self {
        Self(OnceCell::new_with(Some(with_shared_credentials(&client))))
    }

    /// Returns the client if it exists already.
    #[cfg(test)]
    pub(super) fn made(&self) -> Option<&Client> {
        self.0.get()
    }

    pub(super) async fn get(&self) -> &Client {
        self.0.get_or_init(from_env).await
    }
}

async fn from_env() -> Client {
    impatient(&Client::new(&aws_config::load_from_env().await), ATTEMPT_TIMEOUT)
}

/// The limit of an attempt. An answer takes milliseconds. A call without an answer by then is repeated.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the client with an attempt timeout: its own, or this one if it has none.
pub fn impatient(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
    with_attempt_timeout(client, own.unwrap_or(attempt_timeout))
}

/// Returns the client with this attempt timeout in place of its own.
pub fn with_attempt_timeout(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let timeouts = own.to_builder().operation_attempt_timeout(attempt_timeout).build();
    Client::from_conf(bounded(client, timeouts).build())
}

/// Returns the client's configuration with these timeouts, which include one for an attempt. That timeout also ends a
/// stalled body, so the SDK's stall detection, which looks at each part of a body, is off.
fn bounded(client: &Client, timeouts: TimeoutConfig) -> Builder {
    let config = client.config().to_builder().timeout_config(timeouts);
    config.stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// Returns the client for calls that wait at SQS. They are tried once and end after this time, whatever the client's
/// own timeouts are. Its connect timeout stays.
#[cfg(feature = "worker")]
pub fn patient(client: &Client, patience: Duration) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let at_least = |own: Option<Duration>| own.map(|own| own.max(patience));
    let mut timeouts = own.to_builder().operation_attempt_timeout(patience);
    timeouts.set_operation_timeout(at_least(own.operation_timeout()));
    timeouts.set_read_timeout(at_least(own.read_timeout()));
    Client::from_conf(bounded(client, timeouts.build()).retry_config(RetryConfig::disabled()).build())
}

/// Limits a credentials provider, which may call STS and repeat the call after throttling.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the client with a credentials cache that all its copies share. By default each copy has its own cache, and
/// calls with short timeouts could give up on a slow provider again and again.
pub fn with_shared_credentials(client: &Client) -> Client {
    if client.config().identity_cache().is_some() {
        return client.clone();
    }
    let cache = IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build();
    Client::from_conf(client.config().to_builder().identity_cache(cache).build())
}

#[cfg(all(test, feature = "worker"))]
mod tests {
    use super::*;

    fn timeouts_of(client: &Client) -> TimeoutConfig {
        client.config().timeout_config().expect("it has some").clone()
    }

    #[test]
    fn patient_client_has_no_shorter_timeout() {
        let second = Duration::from_secs(1);
        let short = TimeoutConfig::builder()
            .connect_timeout(second)
            .read_timeout(second)
            .operation_timeout(second)
            .operation_attempt_timeout(second)
            .build();
        let config = redrive_local::Sqs::new().client().config().to_builder().timeout_config(short.clone()).build();
        let patient = patient(&Client::from_conf(config), 30 * second);
        let expected = short.to_builder().read_timeout(30 * second).operation_timeout(30 * second);
        assert_eq!(timeouts_of(&patient), expected.operation_attempt_timeout(30 * second).build());
    }

    #[test]
    fn client_without_timeouts_gets_the_needed_one() {
        let second = Duration::from_secs(1);
        let client = redrive_local::Sqs::new().client();
        let config = client.config().to_builder().timeout_config(TimeoutConfig::disabled()).build();
        let timeouts = timeouts_of(&patient(&Client::from_conf(config), second));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(second));
        assert_eq!((timeouts.operation_timeout(), timeouts.read_timeout()), (None, None));
    }
}
