//! Reads a queue's region from its URL or its ARN.
//!
//! A signature names a region, and SQS finds a queue only in that region. So the queue's name decides, and not the
//! environment of the process.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Region;

/// The endings of AWS hosts: the partitions `aws`, `aws-us-gov`, `aws-cn`, `aws-eusc` and the isolated ones, each with
/// the ending of its dual-stack endpoints. <https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>
const DNS_SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
];

/// The region of the legacy endpoint, which names none.
const LEGACY_REGION: &str = "us-east-1";

/// Returns the region of an AWS endpoint of SQS: regional, FIPS, dual-stack, legacy, or of a VPC endpoint. Any other
/// host has none.
pub fn region_of_host(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let own = DNS_SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix)?.strip_suffix('.'))?;
    let region = match own.split('.').collect::<Vec<_>>()[..] {
        ["sqs" | "sqs-fips", region] | [_, "sqs" | "sqs-fips", region, "vpce"] | [region, "queue"] => region,
        ["queue"] => LEGACY_REGION,
        _ => return None,
    };
    is_region(region).then(|| region.to_owned())
}

/// Returns the region of a queue by its URL.
pub fn region_of_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    region_of_host(host_and_port.split(':').next().unwrap_or(host_and_port))
}

/// Returns the region of a queue by its ARN. Emulators write words there that are not regions.
pub fn region_of_arn(arn: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, region) = (parts.next()?, parts.next()?);
    (service == "sqs" && is_region(region)).then(|| region.to_owned())
}

/// Returns whether this is a region such as `eu-west-1` or `us-gov-east-1`: words and a number.
fn is_region(label: &str) -> bool {
    let words: Vec<_> = label.split('-').collect();
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    match words.split_last() {
        Some((number, words)) => {
            words.len() >= 2
                && words.iter().all(is_word)
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && !number.is_empty()
        }
        None => false,
    }
}

/// Returns the client for a queue in this region, if the region is known. A configured endpoint stays.
pub fn in_region(client: &Client, region: Option<String>) -> Client {
    match region {
        Some(region) if client.config().region().is_none_or(|own| own.as_ref() != region) => {
            Client::from_conf(client.config().to_builder().region(Region::new(region)).build())
        }
        _ => client.clone(),
    }
}

/// Returns the client for the queue at this URL.
pub fn in_region_of_url(client: &Client, queue_url: &str) -> Client {
    in_region(client, region_of_url(queue_url))
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::config::BehaviorVersion;

    use super::*;

    #[test]
    fn aws_host_names_its_region() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
            ("SQS.EU-West-1.AmazonAWS.com.", "eu-west-1"),
            ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("sqs-fips.us-east-2.api.aws", "us-east-2"),
            ("sqs.us-east-1.api.aws", "us-east-1"),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("sqs.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
            ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
            ("queue.amazonaws.com", "us-east-1"),
            ("us-west-2.queue.amazonaws.com", "us-west-2"),
            ("vpce-0a1-b2.sqs.us-east-2.vpce.amazonaws.com", "us-east-2"),
            ("vpce-0a1-b2-us-east-2a.sqs.us-east-2.vpce.amazonaws.com", "us-east-2"),
            ("vpce-0a1-b2.sqs-fips.us-east-2.vpce.amazonaws.com", "us-east-2"),
            ("vpce-0a1-b2.sqs.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
            ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
            ("sqs.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
            ("sqs.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
            ("sqs.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
            ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("sqs.ap-southeast-12.amazonaws.com", "ap-southeast-12"),
        ] {
            assert_eq!(region_of_host(host).as_deref(), Some(region), "{host}");
        }
    }

    #[test]
    fn other_host_names_no_region() {
        for host in [
            "",
            "localhost",
            "127.0.0.1",
            "sqs.localhost",
            "sqs.eu-west-1.localhost.localstack.cloud",
            "sqs.example.com",
            "sqs.eu-west-1.amazonaws.com.example.com",
            "sqs.eu-west-1.notamazonaws.com",
            "sns.eu-west-1.amazonaws.com",
            "sqs.amazonaws.com",
            "sqs.vpce.amazonaws.com",
            "sqs.queue.amazonaws.com",
            "amazonaws.com",
            "message-queue.api.cloud.yandex.net",
        ] {
            assert_eq!(region_of_host(host), None, "{host}");
        }
    }

    #[test]
    fn url_names_the_region_of_its_host() {
        for (url, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", Some("eu-west-1")),
            ("HTTPS://sqs.eu-west-1.amazonaws.com:443/123456789012/orders.fifo", Some("eu-west-1")),
            ("http://us-west-2.queue.amazonaws.com/123456789012/orders", Some("us-west-2")),
            ("https://vpce-1-2.sqs.us-east-2.vpce.amazonaws.com/123456789012/orders", Some("us-east-2")),
            ("http://localhost:4566/sqs.eu-west-1.amazonaws.com/orders", None),
            ("http://sqs.eu-west-1.amazonaws.com@localhost/1/orders", None),
            ("http://[::1]:9324/000000000000/orders", None),
            ("orders", None),
            ("", None),
        ] {
            assert_eq!(region_of_url(url).as_deref(), region, "{url}");
        }
    }

    #[test]
    fn arn_names_its_region_if_it_is_one() {
        for (arn, region) in [
            ("arn:aws:sqs:eu-central-1:123456789012:orders", Some("eu-central-1")),
            ("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:orders.fifo", Some("us-gov-west-1")),
            ("arn:aws:sqs:elasticmq:000000000000:orders", None),
            ("arn:aws:sns:eu-central-1:1:orders", None),
            ("orders", None),
        ] {
            assert_eq!(region_of_arn(arn).as_deref(), region, "{arn}");
        }
    }

    #[test]
    fn region_of_the_queue_replaces_the_clients_and_its_endpoint_stays() {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .endpoint_url("http://127.0.0.1:4566");
        let client = Client::from_conf(config.build());
        let region = |url| in_region_of_url(&client, url).config().region().map(|region| region.as_ref().to_owned());
        assert_eq!(region("https://sqs.eu-west-1.amazonaws.com/1/orders").as_deref(), Some("eu-west-1"));
        assert_eq!(region("http://127.0.0.1:4566/000000000000/orders").as_deref(), Some("us-east-1"));
        let moved = in_region_of_url(&client, "https://sqs.eu-west-1.amazonaws.com/1/orders");
        assert!(format!("{:?}", moved.config()).contains("http://127.0.0.1:4566"));
    }
}
