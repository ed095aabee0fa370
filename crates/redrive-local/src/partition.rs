//! The partitions of AWS: groups of regions with ARNs and host names of their own.
//! <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>

/// The partitions besides `aws`: the beginning of their regions, their name in ARNs, and the end of their host names.
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "aws-cn", "amazonaws.com.cn"),
    ("eusc-", "aws-eusc", "amazonaws.eu"),
    ("us-gov-", "aws-us-gov", "amazonaws.com"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
    ("us-iso-", "aws-iso", "c2s.ic.gov"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
];

fn entry(region: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    PARTITIONS.iter().find(|(beginning, ..)| region.starts_with(beginning))
}

/// Returns the name of a region's partition, as ARNs have it.
pub(crate) fn partition(region: &str) -> &'static str {
    entry(region).map_or("aws", |(_, name, _)| name)
}

/// Returns the end of the host names in a region's partition.
pub(crate) fn url_suffix(region: &str) -> &'static str {
    entry(region).map_or("amazonaws.com", |(_, _, suffix)| suffix)
}

/// Returns the ARN of a function.
pub(crate) fn function_arn(region: &str, account: &str, name: &str) -> String {
    format!("arn:{}:lambda:{region}:{account}:function:{name}", partition(region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_names_its_partition() {
        let cases = [
            ("us-east-1", "aws", "amazonaws.com"),
            ("cn-northwest-1", "aws-cn", "amazonaws.com.cn"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
        ];
        for (region, name, suffix) in cases {
            assert_eq!((partition(region), url_suffix(region)), (name, suffix), "{region}");
        }
    }
}
