//! Parses names and addresses of hosts in `Host` and `Origin` headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Lower case, without a trailing period.
    Name(String),
    Address(IpAddr),
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// The limit of DNS for a name.
const MAX_NAME_CHARS: usize = 253;

impl Authority {
    /// Parses `name`, `127.0.0.1` or `[::1]`, with or without a port. Refuses a user, a scheme and a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Host::Address(address.parse::<Ipv6Addr>().ok()?.to_canonical()), port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::of_name(name)?, port)
            }
        };
        Some(Self { host, port: read_port(port).ok()? })
    }

    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// Returns whether a request to `other` is a request to this host. An authority without a port covers every port.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.host == other.host && self.port.is_none_or(|port| port == other.port.unwrap_or(HTTP_PORT))
    }
}

impl Host {
    fn of_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let is_name = name.len() <= MAX_NAME_CHARS && name.split('.').all(is_label);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

/// Reads the port after a host: nothing, `:`, or `:` and a number.
fn read_port(text: &str) -> Result<Option<u16>, ()> {
    let Some(digits) = text.strip_prefix(':') else { return if text.is_empty() { Ok(None) } else { Err(()) } };
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true if digits.is_empty() => Ok(None),
        true => digits.parse().map(Some).map_err(drop),
        false => Err(()),
    }
}

/// Returns an origin in the form that browsers send: in lower case, without the scheme's default port.
pub(super) fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://")?;
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return None;
    }
    let authority = Authority::parse(host)?;
    let implied = match scheme {
        "http" => Some(HTTP_PORT),
        "https" => Some(HTTPS_PORT),
        _ => None,
    };
    let is_implied = authority.port.is_none() || authority.port == implied;
    let end = if is_implied { host.rfind(':').filter(|_| !host.ends_with(']')) } else { None };
    Some(format!("{scheme}://{}", &host[..end.unwrap_or(host.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_port_of_the_scheme_is_removed_from_an_origin() {
        for (given, expected) in [
            ("HTTP://LOCALHOST:80", "http://localhost"),
            ("https://a.test:443", "https://a.test"),
            ("https://a.test:80", "https://a.test:80"),
            ("http://a.test:", "http://a.test"),
            ("http://[::1]", "http://[::1]"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(origin(given).as_deref(), Some(expected));
        }
    }
}
