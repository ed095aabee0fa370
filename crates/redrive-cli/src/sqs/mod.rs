//! An SQS outside this process: on AWS, in an emulator, or served by `redrive dev`.

mod endpoint;
mod environment;
mod explained;
mod target;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::QueueAttributeName;
use redrive::Backoff;
use redrive::internals::client::with_shared_credentials;

pub(super) use self::endpoint::Endpoint;
pub(super) use self::environment::variable;
pub(super) use self::explained::explained;
pub(super) use self::target::{Found, Target};
pub(super) use redrive::internals::call_error::{CallError, Code, Trouble};

/// The limit of an attempt. Any answered call takes less, even a long poll of 20 s.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the waits between the attempts of a call that may succeed later.
pub(super) fn backoff() -> Backoff {
    Backoff::exponential(Duration::from_millis(100)..Duration::from_millis(7_500))
}

/// An SQS at an endpoint.
pub(super) struct Elsewhere {
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
    pub(super) region: String,
    /// The credentials at the start.
    credentials: Credentials,
}

impl Elsewhere {
    /// Creates a client. Region and credentials in these variables, under the SDKs' names, override all other sources.
    pub(super) async fn at(endpoint: Endpoint, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let region = environment::region(&endpoint, &variable).await?;
        let (credentials, provider) = environment::credentials(&endpoint, &region, &variable).await?;
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let config = aws_sdk_sqs::Config::builder()
            .timeout_config(timeouts)
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .credentials_provider(provider)
            .endpoint_url(endpoint.url());
        // A producer copies the client. A profile's program must ask for a code only once.
        let client = with_shared_credentials(&Client::from_conf(config.build()));
        Ok(Self { client, endpoint, region, credentials })
    }

    /// Creates one for an SQS in this process.
    #[cfg(test)]
    pub(super) fn here(client: Client) -> Result<Self, String> {
        let endpoint = Endpoint::parse("http://sqs.localhost")?;
        let credentials = Credentials::new("local", "local", None, None, "test");
        Ok(Self { client, endpoint, region: "us-east-1".to_owned(), credentials })
    }

    /// Returns the URL of the queue with that name.
    pub(super) async fn url_of(&self, name: &str) -> Result<String, String> {
        match self.client.get_queue_url().queue_name(name).send().await {
            Ok(answer) => Ok(answer.queue_url.unwrap_or_default()),
            Err(error) => Err(self.explained(error, &format!("cannot find the queue {name}"))),
        }
    }

    /// Returns the URL of the queue with that ARN, in any account.
    pub(super) async fn url_of_arn(&self, arn: &str) -> Result<String, String> {
        let mut parts = arn.splitn(6, ':').skip(4);
        let (Some(account), Some(name)) = (parts.next(), parts.next()) else {
            return Err(format!("{arn} is not the ARN of a queue"));
        };
        match self.client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account).send().await {
            Ok(answer) => Ok(answer.queue_url.unwrap_or_default()),
            Err(error) => Err(self.explained(error, &format!("cannot find the queue {name}"))),
        }
    }

    /// Returns attributes of a queue.
    pub(super) async fn attributes_of(
        &self,
        url: &str,
        name: &str,
        wanted: &[QueueAttributeName],
    ) -> Result<HashMap<QueueAttributeName, String>, String> {
        let get = self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(wanted.to_vec()));
        let got = get.send().await;
        let got = got.map_err(|error| self.explained(error, &format!("cannot read the attributes of {name}")))?;
        Ok(got.attributes.unwrap_or_default())
    }

    /// Formats a failed call in one line: its purpose, the cause, and the remedy.
    pub(super) fn explained(&self, error: impl Into<CallError>, what: &str) -> String {
        let error = error.into();
        explained(error.trouble, error.text(), what, self.endpoint.url())
    }

    /// Returns the variables with which another program calls the same SQS with the same credentials.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let Self { endpoint, credentials, .. } = self;
        let mut variables = vec![
            ("AWS_ENDPOINT_URL_SQS", endpoint.url().to_owned()),
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key().to_owned()),
        ];
        variables.extend(credentials.session_token().map(|token| ("AWS_SESSION_TOKEN", token.to_owned())));
        variables
    }
}
