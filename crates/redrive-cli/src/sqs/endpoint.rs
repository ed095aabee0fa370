//! Parses the address of an SQS.

use std::net::IpAddr;

use axum::http::Uri;

use redrive::internals::region::region_of_host;

/// The scheme, host and port of an SQS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: String,
    /// A name or an address, without the brackets of an IPv6 address.
    host: String,
}

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (endpoint, path) = Self::split(url).map_err(|problem| {
            format!("the endpoint URL {url:?} is not usable: {problem}; write it as in http://127.0.0.1:9324")
        })?;
        match path.as_str() {
            "/" | "" => Ok(endpoint),
            _ => Err(format!("the endpoint URL {url:?} is not usable: it has the path {path}; leave the path out")),
        }
    }

    /// Returns the endpoint at the beginning of a queue's URL.
    pub(crate) fn of_queue(url: &str) -> Result<Self, String> {
        let (endpoint, path) = Self::split(url).map_err(|problem| {
            format!("the queue URL {url:?} is not usable: {problem}; pass the queue's name or URL")
        })?;
        match path.rsplit('/').next() {
            Some(name) if !name.is_empty() => Ok(endpoint),
            _ => Err(format!("the queue URL {url:?} names no queue; it must end in ACCOUNT/NAME")),
        }
    }

    fn split(url: &str) -> Result<(Self, String), String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let scheme = match uri.scheme_str() {
            Some(scheme @ ("http" | "https")) => scheme,
            _ => return Err("it begins with neither http:// nor https://".to_owned()),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it contains user information; credentials come from the environment".to_owned());
        }
        if uri.query().is_some() {
            return Err("it has a query".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Ok((Self { url: format!("{scheme}://{authority}"), host }, uri.path().to_owned()))
    }

    /// Returns the URL without a final slash.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns whether it is on this machine, where calls cost nothing and credentials are not checked.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            // By RFC 6761 `localhost` and its subdomains are loopback. LocalStack uses the other name for its queues.
            Err(_) => ["localhost", "localhost.localstack.cloud"]
                .iter()
                .any(|name| self.host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))),
        }
    }

    /// Returns the region of an AWS endpoint.
    pub(super) fn region(&self) -> Option<String> {
        region_of_host(&self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    #[test]
    fn loopback_is_recognized_by_the_host() {
        for url in [
            "http://127.0.0.1:9324",
            "http://127.9.9.9",
            "http://[::1]:9324/",
            "http://LOCALHOST:4566",
            "http://sqs.localhost",
            "http://sqs.us-east-1.localhost.localstack.cloud:4566",
        ] {
            assert!(endpoint(url).is_loopback(), "{url}");
        }
        for url in [
            "https://sqs.eu-west-1.amazonaws.com",
            "http://127.0.0.1.example.com",
            "http://notlocalhost",
            "http://localhost.example.com",
            "http://0.0.0.0:9324",
            "http://10.0.0.1",
        ] {
            assert!(!endpoint(url).is_loopback(), "{url}");
        }
    }

    #[test]
    fn error_of_a_wrong_url_names_the_remedy() {
        for (url, problem) in [
            ("", "empty"),
            ("127.0.0.1:9324", "not usable"),
            ("ftp://localhost", "neither http:// nor https://"),
            ("http://a:b@localhost", "user information"),
            ("http://localhost?x=1", "has a query"),
            ("http://localhost/000000000000/orders", "leave the path out"),
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.contains(problem) && error.contains(&format!("{url:?}")), "{url}: {error}");
        }
    }

    #[test]
    fn queue_url_begins_with_its_endpoint() {
        let of = |url| Endpoint::of_queue(url);
        assert_eq!(of("http://localhost:9324/000000000000/orders").unwrap().url(), "http://localhost:9324");
        assert!(of("http://localhost:9324").unwrap_err().contains("names no queue"));
        assert!(of("http://localhost:9324/1/").unwrap_err().contains("names no queue"));
    }
}
