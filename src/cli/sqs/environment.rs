//! Region and credentials.
//!
//! They come from the variables alone. What people have on their own machines is mostly single sign-on, which takes the
//! clients of two more services; the AWS CLI puts what it knows of it into the variables in one line.

use aws_sdk_sqs::config::Credentials;

use super::endpoint::Endpoint;

/// A variable of this process. An empty one counts as none, as it does for the SDKs.
pub(in crate::cli) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A signature has to name the region that the host is in, so what the host says goes first.
pub(super) fn region(endpoint: &Endpoint, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let known = endpoint.region().map(str::to_owned);
    let known = known.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    match known {
        Some(region) => Ok(region),
        None if endpoint.is_loopback() => Ok("us-east-1".to_owned()),
        None => Err(format!("the region of {} is not known; set AWS_REGION", endpoint.url())),
    }
}

pub(super) fn credentials(
    endpoint: &Endpoint,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Credentials, String> {
    let key = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    match key {
        Some((id, secret)) => Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment")),
        // What is on this machine believes every signature, but there has to be one.
        None if endpoint.is_loopback() => Ok(Credentials::new("local", "local", None, None, "placeholder")),
        None => Err(format!(
            "there are no credentials for {}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a profile with \
             eval \"$(aws configure export-credentials --format env)\"",
            endpoint.url()
        )),
    }
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

    #[test]
    fn on_this_machine_there_are_placeholders_for_what_is_not_set() {
        let local = endpoint("http://127.0.0.1:9324");
        assert_eq!(credentials(&local, set(&[])).unwrap().access_key_id(), "local");
        assert_eq!(credentials(&local, set(&KEY[..1])).unwrap().access_key_id(), "local", "half a key is none");
        assert_eq!(credentials(&local, set(&KEY)).unwrap().access_key_id(), "id");
        assert_eq!(region(&local, set(&[])).unwrap(), "us-east-1");
    }

    #[test]
    fn elsewhere_what_is_missing_is_an_error_with_the_remedy() {
        let elsewhere = endpoint("https://sqs.example.com");
        assert!(credentials(&elsewhere, set(&[])).unwrap_err().contains("AWS_ACCESS_KEY_ID"));
        assert!(region(&elsewhere, set(&[])).unwrap_err().contains("set AWS_REGION"));
        let session = [KEY[0], KEY[1], ("AWS_SESSION_TOKEN", "token")];
        assert_eq!(credentials(&elsewhere, set(&session)).unwrap().session_token(), Some("token"));
    }

    #[test]
    fn the_region_is_the_hosts_and_then_the_variables() {
        let both = [("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "a")];
        assert_eq!(region(&endpoint("https://sqs.eu-west-1.amazonaws.com"), set(&both)).unwrap(), "eu-west-1");
        assert_eq!(region(&endpoint("http://localhost"), set(&both)).unwrap(), "a");
        assert_eq!(region(&endpoint("http://localhost"), set(&both[..1])).unwrap(), "b");
    }
}
