//! Finds the queue that the user names.

use super::{Elsewhere, Endpoint};

/// The default address of `redrive dev`.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:9324";

/// The name of a queue, and its endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// The URL, if the user gave one.
    url: Option<String>,
    pub(crate) endpoint: Endpoint,
}

/// A queue, and its SQS.
pub(crate) struct Found {
    pub(crate) sqs: Elsewhere,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Target {
    /// Parses the user's input. The endpoint is the named one, or the one of the queue's URL, or the environment's, or
    /// that of `redrive dev`.
    pub(crate) fn of(
        queue: &str,
        endpoint_url: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let url = queue.contains("://").then(|| queue.to_owned());
        let of_url = url.as_deref().map(Endpoint::of_queue).transpose()?;
        let endpoint = match (endpoint_url, of_url) {
            (Some(named), _) => Endpoint::parse(named)?,
            (None, Some(endpoint)) => endpoint,
            (None, None) => {
                let set = variable("AWS_ENDPOINT_URL_SQS").or_else(|| variable("AWS_ENDPOINT_URL"));
                Endpoint::parse(set.as_deref().unwrap_or(DEFAULT_ENDPOINT))?
            }
        };
        let name = match &url {
            Some(url) => url.rsplit('/').next().unwrap_or_default(),
            None => queue,
        };
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        if stem.is_empty() || !stem.bytes().all(is_of_name) {
            return Err(format!("{queue:?} names no queue; pass a queue's name, such as orders, or its URL"));
        }
        Ok(Self { name: name.to_owned(), url, endpoint })
    }

    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    /// Finds the queue at its endpoint.
    pub(crate) async fn find(self, variable: impl Fn(&str) -> Option<String>) -> Result<Found, String> {
        let sqs = Elsewhere::at(self.endpoint.clone(), variable).await?;
        let (name, url) = self.find_at(&sqs).await?;
        Ok(Found { sqs, name, url })
    }

    /// Returns the queue's name and URL. It looks up a name. A given URL is used directly, because a producer on AWS
    /// may not be allowed to look up names.
    pub(crate) async fn find_at(self, sqs: &Elsewhere) -> Result<(String, String), String> {
        let url = match self.url {
            Some(url) => url,
            None => sqs.url_of(&self.name).await?,
        };
        Ok((self.name, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(queue: &str, endpoint_url: Option<&str>, variable: Option<&str>) -> Result<Target, String> {
        let set = |name: &str| variable.filter(|_| name == "AWS_ENDPOINT_URL_SQS").map(str::to_owned);
        Target::of(queue, endpoint_url, set)
    }

    #[test]
    fn endpoint_is_the_named_one_the_queues_the_environments_or_that_of_dev() {
        let endpoint = |queue, named, set| target(queue, named, set).unwrap().endpoint.url().to_owned();
        let (url, named, set) = ("http://localhost:1/0/orders", Some("http://localhost:2"), Some("http://localhost:3"));
        assert_eq!(endpoint(url, named, set), "http://localhost:2");
        assert_eq!(endpoint(url, None, set), "http://localhost:1");
        assert_eq!(endpoint("orders", None, set), "http://localhost:3");
        assert_eq!(endpoint("orders", None, None), DEFAULT_ENDPOINT);
    }

    #[test]
    fn name_of_a_queue_is_at_the_end_of_its_url() {
        let of = |queue| target(queue, None, None);
        assert_eq!(of("https://sqs.eu-west-1.amazonaws.com/1/orders.fifo").unwrap().name, "orders.fifo");
        assert!(of("orders.fifo").unwrap().is_fifo() && !of("fifo").unwrap().is_fifo());
        for wrong in ["", ".fifo", "a b", "orders/x", "arn:aws:sqs:eu-west-1:1:orders", "http://localhost/1/a.b"] {
            assert!(of(wrong).unwrap_err().contains("names no queue"), "{wrong}");
        }
    }
}
