//! The client, made when it is first needed.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use tokio::sync::OnceCell;

/// A client that was given, or one from the environment. To make that takes a credential provider, a TLS configuration
/// and some milliseconds: what never fails never needs it.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceCell<Client>);

/// An answer takes milliseconds. One that has not come after so long is not waited for: the call is made again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

impl LazyClient {
    pub(super) fn given(client: Client) -> Self {
        Self(OnceCell::new_with(Some(client)))
    }

    pub(super) async fn get(&self) -> &Client {
        self.0.get_or_init(from_env).await
    }
}

async fn from_env() -> Client {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    Client::new(&aws_config::from_env().timeout_config(timeouts).load().await)
}
