//! Matches IP addresses with a range such as `10.0.0.0/24`.

use std::net::IpAddr;

use ipnet::IpNet;

#[derive(Debug)]
pub(super) struct Cidr(IpNet);

impl Cidr {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    pub(super) fn contains(&self, address: &str) -> bool {
        address.parse::<IpAddr>().is_ok_and(|address| self.0.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_contains_its_addresses_and_no_others() {
        let rows = [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7/32", "10.0.0.7", true),
            ("10.0.0.7/32", "10.0.0.6", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "ffff::", true),
            ("10.0.0.0/8", "not an address", false),
        ];
        for (range, address, expected) in rows {
            assert_eq!(Cidr::parse(range).unwrap().contains(address), expected, "{range} {address}");
        }
    }

    #[test]
    fn range_without_an_address_or_with_an_invalid_length_is_refused() {
        for wrong in ["10.0.0.0", "10.0.0/8", "10.0.0.0/33", "::/129", "10.0.0.0/x", "/8"] {
            assert!(Cidr::parse(wrong).is_none(), "{wrong}");
        }
    }
}
