//! An SQS that is somewhere else: on AWS, in an emulator, or served by `redrive dev`.

mod endpoint;
mod environment;
mod explained;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};

pub(super) use self::endpoint::Endpoint;
pub(super) use self::environment::variable;
pub(super) use crate::sqs::call_error::{CallError, Trouble};

/// Longer than any call takes that is answered at all, a long poll of 20 s too.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// An SQS by its endpoint.
pub(super) struct Elsewhere {
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
    pub(super) region: String,
    credentials: Credentials,
}

impl Elsewhere {
    /// Region and credentials come from these variables, by the names that the SDKs read.
    pub(super) fn at(endpoint: Endpoint, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let region = environment::region(&endpoint, &variable)?;
        let credentials = environment::credentials(&endpoint, &variable)?;
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let config = aws_sdk_sqs::Config::builder()
            .timeout_config(timeouts)
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .credentials_provider(credentials.clone())
            .endpoint_url(endpoint.url());
        Ok(Self { client: Client::from_conf(config.build()), endpoint, region, credentials })
    }

    /// What another program needs in its environment to call the same SQS in the same name.
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
