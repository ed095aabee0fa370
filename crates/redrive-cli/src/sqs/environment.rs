//! The region and the credentials of a command.
//!
//! An SQS on this machine accepts any credentials, so no provider is asked for them: neither a profile, nor the
//! metadata service of AWS machines, for which a laptop would wait in vain. For any other SQS they come from the same
//! sources as for the AWS CLI.

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sqs::config::{Credentials, Region};
use tokio::time::timeout;

use super::endpoint::Endpoint;

/// Returns a variable of this process. As for the SDKs, an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Limits the wait for the region. A machine of AWS answers in milliseconds.
const REGION_LIMIT: Duration = Duration::from_secs(15);

/// Limits the wait for credentials. A person may have to type a second factor.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(120);

/// After this time the command prints what it waits for.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// Waits for a provider that may not answer.
///
/// # Errors
///
/// Returns an error if the provider does not answer within the limit.
async fn waited_for<T>(what: &str, limit: Duration, wait: impl Future<Output = T>) -> Result<T, String> {
    let mut wait = pin!(wait);
    if let Ok(here) = timeout(SAID_AFTER, wait.as_mut()).await {
        return Ok(here);
    }
    eprintln!("redrive: still waiting for {what}");
    let here = timeout(limit.saturating_sub(SAID_AFTER), wait).await;
    here.map_err(|_| {
        format!("{what} did not arrive within {limit:?}; check the provider in the profile, and try again")
    })
}

/// Returns the region. A signature must name the region of the host, so the host's region comes first.
pub(super) async fn region(endpoint: &Endpoint, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let known = endpoint.region().or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    match known {
        Some(region) => Ok(region),
        None if endpoint.is_loopback() => Ok("us-east-1".to_owned()),
        None => {
            let chain = DefaultRegionChain::builder().build();
            let region = waited_for("the region", REGION_LIMIT, chain.region()).await?;
            let region = region.map(|region| region.as_ref().to_owned());
            region.ok_or_else(|| format!("the region of {} is not known; set AWS_REGION", endpoint.url()))
        }
    }
}

/// Returns the current credentials, and the provider for later ones after they expire.
pub(super) async fn credentials(
    endpoint: &Endpoint,
    region: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Credentials, SharedCredentialsProvider), String> {
    if endpoint.is_loopback() {
        let credentials = on_this_machine(variable);
        return Ok((credentials.clone(), SharedCredentialsProvider::new(credentials)));
    }
    let chain = DefaultCredentialsChain::builder().region(Region::new(region.to_owned())).build().await;
    let what = format!("the credentials for {}", endpoint.url());
    let credentials = waited_for(&what, CREDENTIALS_LIMIT, chain.provide_credentials()).await?.map_err(|error| {
        format!(
            "there are no credentials for {}: {}; set AWS_PROFILE or sign in with `aws sso login`, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, as with eval \"$(aws configure export-credentials --format env)\"",
            endpoint.url(),
            with_causes(&error)
        )
    })?;
    let begun = Begun { first: Mutex::new(Some(credentials.clone())), chain };
    Ok((credentials, SharedCredentialsProvider::new(begun)))
}

/// Returns credentials for an SQS on this machine. It accepts every signature, but requires one.
fn on_this_machine(variable: impl Fn(&str) -> Option<String>) -> Credentials {
    match variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")) {
        Some((id, secret)) => Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"),
        None => Credentials::new("local", "local", None, None, "placeholder"),
    }
}

/// A provider that was asked already. Asking it again at once could make a person type a second factor twice.
#[derive(Debug)]
struct Begun {
    first: Mutex<Option<Credentials>>,
    chain: DefaultCredentialsChain,
}

impl ProvideCredentials for Begun {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let first = self.first.lock().ok().and_then(|mut first| first.take());
        match first {
            Some(first) => future::ProvideCredentials::ready(Ok(first)),
            None => self.chain.provide_credentials(),
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(|cause| cause.to_string().replace('\n', " ")).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    fn set<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    #[tokio::test]
    async fn unset_variables_have_placeholders_on_this_machine() {
        let local = endpoint("http://127.0.0.1:9324");
        let key = async |variables| {
            let (credentials, provider) = credentials(&local, "r", set(variables)).await.unwrap();
            assert_eq!(provider.provide_credentials().await.unwrap(), credentials);
            credentials
        };
        assert_eq!(key(&[]).await.access_key_id(), "local");
        assert_eq!(key(&KEY[..1]).await.access_key_id(), "local", "half a key does not count");
        assert_eq!(key(&KEY).await.access_key_id(), "id");
        let session = [KEY[0], KEY[1], ("AWS_SESSION_TOKEN", "token")];
        assert_eq!(key(&session).await.session_token(), Some("token"));
        assert_eq!(region(&local, set(&[])).await.unwrap(), "us-east-1");
    }

    #[tokio::test(start_paused = true)]
    async fn missing_credentials_are_an_error_with_the_limit() {
        let began = tokio::time::Instant::now();
        let never = waited_for("the credentials for x", CREDENTIALS_LIMIT, std::future::pending::<()>()).await;
        assert!(never.unwrap_err().contains("the credentials for x did not arrive within 120s"));
        assert_eq!(began.elapsed(), CREDENTIALS_LIMIT);
        let late = async { tokio::time::sleep(CREDENTIALS_LIMIT - SAID_AFTER).await };
        assert!(waited_for("the credentials for x", CREDENTIALS_LIMIT, late).await.is_ok());
    }

    #[tokio::test]
    async fn region_comes_from_the_host_and_then_from_the_variables() {
        let both = [("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")];
        let region = async |url, variables| region(&endpoint(url), set(variables)).await.unwrap();
        assert_eq!(region("https://sqs.eu-west-1.amazonaws.com", &both).await, "eu-west-1");
        assert_eq!(region("http://localhost", &both).await, "a");
        assert_eq!(region("http://localhost", &both[..1]).await, "b");
    }
}
