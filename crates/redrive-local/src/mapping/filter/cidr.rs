//! Matches IP addresses with a range such as `10.0.0.0/24`.

use std::net::IpAddr;

#[derive(Debug)]
pub(super) struct Cidr {
    network: IpAddr,
    prefix_bits: u32,
}

impl Cidr {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (network, prefix_bits) = text.split_once('/')?;
        let cidr = Self { network: network.parse().ok()?, prefix_bits: prefix_bits.parse().ok()? };
        (cidr.prefix_bits <= bits(cidr.network).1).then_some(cidr)
    }

    pub(super) fn contains(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        let ((address, width), (network, network_width)) = (bits(address), bits(self.network));
        // A shift by the full width overflows. The range then contains every address.
        let host_bits = network_width - self.prefix_bits;
        let prefix = |bits: u128| bits.checked_shr(host_bits).unwrap_or(0);
        width == network_width && prefix(address) == prefix(network)
    }
}

/// Returns an address as a number, and its number of bits.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), u32::BITS),
        IpAddr::V6(address) => (address.to_bits(), u128::BITS),
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
