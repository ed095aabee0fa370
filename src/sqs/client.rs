//! The client, made when it is first needed; and how long one waits for an answer.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

/// A client that was given, or one from the environment. To make that takes a credential provider, a TLS configuration
/// and some milliseconds: what never fails never needs it.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceCell<Client>);

impl LazyClient {
    pub(super) fn given(client: Client) -> Self {
        Self(OnceCell::new_with(Some(client)))
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
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same client, whose attempts do not wait for ever: they have its own timeout, or this one where it has none.
pub(crate) fn impatient(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().and_then(TimeoutConfig::operation_attempt_timeout);
    if own.is_some() { client.clone() } else { with_attempt_timeout(client, attempt_timeout) }
}

/// The same client with that timeout for each attempt, whatever its own is.
pub(crate) fn with_attempt_timeout(client: &Client, attempt_timeout: Duration) -> Client {
    let own = client.config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
    let timeouts = own.to_builder().operation_attempt_timeout(attempt_timeout).build();
    Client::from_conf(client.config().to_builder().timeout_config(timeouts).build())
}
