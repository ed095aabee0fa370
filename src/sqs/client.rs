//! The client, made when it is first needed; and how long one waits for an answer.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::IdentityCache;
#[cfg(feature = "worker")]
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, StalledStreamProtectionConfig};
use tokio::sync::OnceCell;

/// A client that was given, or one from the environment. To make that takes a credential provider, a TLS configuration
/// and some milliseconds: what never fails never needs it.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceCell<Client>);

impl LazyClient {
    pub(super) fn given(client: Client) -> Self {
        Self(OnceCell::new_with(Some(with_shared_credentials(&client))))
    }

    /// The client, if it was needed before.
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

/// An answer takes milliseconds. One that has not come after so long is not waited for: the call is made again.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same client, whose attempts do not wait for ever: they have its own timeout, or this one where it has none.
pub fn impatient(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
    with_attempt_timeout(client, own.unwrap_or(attempt_timeout))
}

/// The same client with that timeout for each attempt, whatever its own is.
pub fn with_attempt_timeout(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let timeouts = own.to_builder().operation_attempt_timeout(attempt_timeout).build();
    Client::from_conf(bounded(client, timeouts).build())
}

/// The configuration of that client with these timeouts, of which one is that of an attempt. An attempt that has stalled ends with that, so
/// nothing has to look at each piece of its body for it.
fn bounded(client: &Client, timeouts: TimeoutConfig) -> Builder {
    let config = client.config().to_builder().timeout_config(timeouts);
    config.stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// The same client, made for calls that wait at SQS: they are tried once, and end after so long, and not before, whatever its own timeouts
/// are. That to connect is as it was.
#[cfg(feature = "worker")]
pub fn patient(client: &Client, patience: Duration) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let at_least = |own: Option<Duration>| own.map(|own| own.max(patience));
    let mut timeouts = own.to_builder().operation_attempt_timeout(patience);
    timeouts.set_operation_timeout(at_least(own.operation_timeout()));
    timeouts.set_read_timeout(at_least(own.read_timeout()));
    Client::from_conf(bounded(client, timeouts.build()).retry_config(RetryConfig::disabled()).build())
}

/// How long a provider of credentials may take: it may ask STS, which is asked again where it is throttled.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// The same client, whose copies load credentials once for all of them. By default each copy has a cache of its own, and a call with a
/// short timeout could give up a slow provider again and again.
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
    fn a_patient_client_has_no_timeout_that_is_shorter() {
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
    fn a_client_without_timeouts_has_the_one_that_it_needs() {
        let second = Duration::from_secs(1);
        let client = redrive_local::Sqs::new().client();
        let config = client.config().to_builder().timeout_config(TimeoutConfig::disabled()).build();
        let timeouts = timeouts_of(&patient(&Client::from_conf(config), second));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(second));
        assert_eq!((timeouts.operation_timeout(), timeouts.read_timeout()), (None, None));
    }
}
