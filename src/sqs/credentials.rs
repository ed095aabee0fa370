//! Tells why a call had no credentials, and whether waiting can help.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;

/// The reason why a call could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingCredentials {
    /// No provider has credentials. Someone must configure one.
    NotConfigured,
    /// A provider's configuration can never work, such as a profile that names itself.
    Misconfigured,
    /// A provider failed, timed out, or gave an unreadable answer: STS may throttle, or an agent may not have started
    /// yet.
    NotReady,
}

/// The SDK's error for a provider that exceeds the cache's wait has a private type. Its text begins like this.
const IDENTITY_TIMEOUT: &str = "identity resolver timed out";

/// Returns why credentials were missing, if that is the cause of the error. Nothing was sent then.
///
/// The outermost provider decides. If a role is assumed with a machine's credentials, and the machine's provider has
/// not started, the role's provider fails. That does not count as not configured.
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

    /// A provider that fails with a given error, or hangs.
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
    async fn only_unconfigured_credentials_are_not_awaited() {
        use MissingCredentials::{Misconfigured, NotConfigured, NotReady};
        let cases: [(fn() -> CredentialsError, _); 6] = [
            (CredentialsError::not_loaded_no_source, NotConfigured),
            (|| CredentialsError::invalid_configuration("a profile that names itself"), Misconfigured),
            (|| CredentialsError::provider_timed_out(Duration::from_secs(5)), NotReady),
            (|| CredentialsError::provider_error("503 from STS"), NotReady),
            (|| CredentialsError::unhandled("not JSON"), NotReady),
            // The role is configured, but the machine's own provider has not started.
            (|| CredentialsError::provider_error(CredentialsError::not_loaded_no_source()), NotReady),
        ];
        for (error, expected) in cases {
            assert_eq!(of_call(Fails(Some(error))).await, Some(expected), "{}", error());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_provider_is_not_ready() {
        assert_eq!(of_call(Fails(None)).await, Some(MissingCredentials::NotReady), "the SDK changed its text");
    }

    #[tokio::test]
    async fn unreachable_queue_is_not_a_credentials_error() {
        assert_eq!(of_call(Credentials::for_tests()).await, None);
    }
}
