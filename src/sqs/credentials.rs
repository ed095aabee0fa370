//! Why a call had no credentials, and whether waiting can help.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;

/// What keeps a call from being signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCredentials {
    /// No provider has any: somebody must configure one.
    NotConfigured,
    /// A provider is configured in a way that never works, as a profile that names itself.
    Misconfigured,
    /// A provider failed, timed out, or answered with something unreadable: STS may be throttled, or an agent not started yet.
    NotReady,
}

/// How the SDK's identity cache begins the text of an error whose type is private: the provider took longer than the cache waits.
const IDENTITY_TIMEOUT: &str = "identity resolver timed out";

/// Returns why there were no credentials, where that is why the call failed. Nothing left the process then.
///
/// The outermost provider decides. A role that is assumed with the credentials of a machine fails as a provider, and not as one
/// that is not configured, while the machine's own provider is not up.
pub(crate) fn missing_credentials(error: &(dyn Error + 'static)) -> Option<MissingCredentials> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|cause| {
        match cause.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => Some(MissingCredentials::NotConfigured),
            Some(CredentialsError::InvalidConfiguration(_)) => Some(MissingCredentials::Misconfigured),
            Some(_) => Some(MissingCredentials::NotReady),
            None => cause.to_string().starts_with(IDENTITY_TIMEOUT).then_some(MissingCredentials::NotReady),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::provider::future;
    use aws_sdk_sqs::Client;
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, ProvideCredentials, Region};

    use super::*;

    /// A provider that fails as it is told to, or hangs.
    #[derive(Debug)]
    struct Fails(Option<fn() -> CredentialsError>);

    impl ProvideCredentials for Fails {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                match self.0 {
                    Some(error) => Err(error()),
                    None => std::future::pending().await,
                }
            })
        }
    }

    async fn of_call(provider: impl ProvideCredentials + 'static) -> Option<MissingCredentials> {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(provider)
            .endpoint_url("http://127.0.0.1:9");
        let error = Client::from_conf(config.build()).list_queues().send().await.unwrap_err();
        missing_credentials(&error)
    }

    #[tokio::test(start_paused = true)]
    async fn only_credentials_that_nobody_configured_are_not_waited_for() {
        use MissingCredentials::{Misconfigured, NotConfigured, NotReady};
        let cases: [(fn() -> CredentialsError, _); 6] = [
            (CredentialsError::not_loaded_no_source, NotConfigured),
            (|| CredentialsError::invalid_configuration("a profile that names itself"), Misconfigured),
            (|| CredentialsError::provider_timed_out(Duration::from_secs(5)), NotReady),
            (|| CredentialsError::provider_error("503 from STS"), NotReady),
            (|| CredentialsError::unhandled("not JSON"), NotReady),
            // The role is configured, and the machine that is to assume it is not up.
            (|| CredentialsError::provider_error(CredentialsError::not_loaded_no_source()), NotReady),
        ];
        for (error, expected) in cases {
            assert_eq!(of_call(Fails(Some(error))).await, Some(expected), "{}", error());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_is_not_ready() {
        assert_eq!(of_call(Fails(None)).await, Some(MissingCredentials::NotReady), "the SDK changed its text");
    }

    #[tokio::test]
    async fn a_queue_that_cannot_be_reached_is_no_matter_of_credentials() {
        assert_eq!(of_call(Credentials::for_tests()).await, None);
    }
}
