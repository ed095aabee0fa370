//! An SQS that is somewhere else: on AWS, in an emulator, or served by `redrive dev`.

mod call_error;
mod endpoint;
mod environment;

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region};

pub(super) use self::call_error::{CallError, Trouble};
pub(super) use self::endpoint::Endpoint;
pub(super) use self::environment::variable;

/// Longer than any call takes that is answered at all, a long poll of 20 s too.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// An SQS by its endpoint.
pub(super) struct Elsewhere {
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
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
            .region(Region::new(region))
            .credentials_provider(credentials)
            .endpoint_url(endpoint.url());
        Ok(Self { client: Client::from_conf(config.build()), endpoint })
    }
}
