//! Decides who may call a server on this machine.
//!
//! A web page can send requests to every port of loopback. With DNS rebinding, the page's own name resolves to
//! loopback, and the browser lets the page read the answers. A page cannot choose the `Host`, `Origin` and
//! `Sec-Fetch-Site` headers that its browser sends. A server that checks these three headers is therefore protected.

mod authority;
mod guard;

use axum::http::{HeaderMap, HeaderValue, Uri, header};

use self::authority::Authority;
pub use self::guard::guarded;
use crate::error::Error;

/// The callers that a [served](super::Sqs::serve_to) SQS answers.
///
/// By default, these are programs that use a loopback name or address: `localhost`, a name that ends in `.localhost`,
/// 127.0.0.0/8 or `[::1]`, with any port. Requests from web pages are refused.
///
/// ```
/// use redrive_local::Callers;
///
/// let callers = Callers::new().allow_host("host.docker.internal")?.allow_origin("http://localhost:3000")?;
/// assert!(Callers::new().allow_host("http://host.docker.internal/").is_err());
/// # drop(callers);
/// # Ok::<(), redrive_local::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Callers {
    hosts: Vec<Authority>,
    /// Lower case, as browsers send them.
    origins: Vec<String>,
}

/// The reason for refusing a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum RefusedCaller {
    /// The `Host` header is missing or occurs more than once.
    NoHost,
    /// The request names a host outside loopback, or the value is not a host.
    Host(String),
    /// The request comes from a web page.
    Origin(String),
    /// The request comes from a web page that sends no `Origin`: an image, a link or a form.
    Page,
}

/// The limit for a header value in an error message.
const MAX_SHOWN_CHARS: usize = 255;
const SEC_FETCH_SITE: &str = "sec-fetch-site";

impl Callers {
    /// Returns the default: programs on this machine, and no web pages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers requests to this name or address too, such as `host.docker.internal`. A port limits the permission to
    /// that port.
    ///
    /// # Errors
    ///
    /// Returns an error when `host` is not a name or an address, for example a URL, a pattern or an empty text.
    pub fn allow_host(mut self, host: &str) -> Result<Self, Error> {
        let Some(authority) = Authority::parse(host) else {
            return Err(Error::new(format!(
                "{host:?} is not a host name or address, so it cannot be allowed; give a host, and a port to allow \
                 only that port, like host.docker.internal or queue.test:9324"
            )));
        };
        self.hosts.push(authority);
        Ok(self)
    }

    /// Answers web pages of this origin too, such as `http://localhost:3000`, and lets them read the answers.
    ///
    /// # Errors
    ///
    /// Returns an error when `origin` is not an origin. Also refuses `*` and `null`, because any page can send these.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, Error> {
        let Some(origin) = authority::origin(origin) else {
            return Err(Error::new(format!(
                "{origin:?} is not an origin, so it cannot be allowed; give a scheme, a host and a port, without a \
                 path, like http://localhost:3000"
            )));
        };
        self.origins.push(origin);
        Ok(self)
    }

    /// Checks the target and the sender of a request. Returns the page's origin if it is an allowed one.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, RefusedCaller> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(RefusedCaller::NoHost) };
        self.check_host(host.as_bytes())?;
        // A request line with a whole URL decides the host. The header may differ.
        uri.authority().map_or(Ok(()), |authority| self.check_host(authority.as_str().as_bytes()))?;

        if let Some(unknown) = headers.get_all(header::ORIGIN).iter().find(|origin| !self.allows_origin(origin)) {
            return Err(RefusedCaller::Origin(shown(unknown.as_bytes())));
        }
        let origin = headers.get(header::ORIGIN).cloned();
        let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"none" | b"same-origin");
        if origin.is_none() && !headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
            return Err(RefusedCaller::Page);
        }
        Ok(origin)
    }

    fn check_host(&self, host: &[u8]) -> Result<(), RefusedCaller> {
        let authority = str::from_utf8(host).ok().and_then(Authority::parse);
        let is_allowed = |authority: &Authority| {
            authority.is_loopback() || self.hosts.iter().any(|allowed| allowed.covers(authority))
        };
        if authority.as_ref().is_some_and(is_allowed) { Ok(()) } else { Err(RefusedCaller::Host(shown(host))) }
    }

    fn allows_origin(&self, origin: &HeaderValue) -> bool {
        let text = origin.to_str().unwrap_or_default();
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text))
    }
}

impl RefusedCaller {
    /// Returns a text that says what was refused, why, and what to do.
    pub fn message(&self, server: &str) -> String {
        match self {
            Self::NoHost => format!(
                "The request has no Host header, or more than one, and {server} needs the name under which it was \
                 called. Send one Host header, like localhost:9324."
            ),
            Self::Host(host) => format!(
                "The request was sent to the host {host}, and {server} answers only to loopback names and addresses \
                 (localhost, 127.0.0.1, [::1]) as a protection against DNS rebinding. Use one of these, or allow the \
                 host with --allow-host {host} of `redrive dev` or Callers::allow_host."
            ),
            Self::Origin(origin) => format!(
                "The request comes from a web page of the origin {origin}, and {server} answers only pages of allowed \
                 origins. If the page is yours, allow its origin with --allow-origin {origin} of `redrive dev` or \
                 Callers::allow_origin."
            ),
            Self::Page => format!(
                "The Sec-Fetch-Site header says that the request comes from a web page, and {server} answers only \
                 pages that send an allowed Origin. Call it from a program, or from a script of a page whose origin is \
                 allowed with --allow-origin of `redrive dev` or Callers::allow_origin."
            ),
        }
    }
}

/// Returns the beginning of a header's value, without control characters that a terminal would execute.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.chars().filter(|char| !char.is_control()).take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(callers: &Callers, uri: &str, headers: &[(&'static str, &str)]) -> Result<Option<String>, RefusedCaller> {
        let mut map = HeaderMap::new();
        for &(name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        let origin = callers.check(&uri.parse().unwrap(), &map)?;
        Ok(origin.map(|origin| origin.to_str().unwrap().to_owned()))
    }

    fn host(callers: &Callers, host: &str) -> Result<Option<String>, RefusedCaller> {
        check(callers, "/", &[("host", host)])
    }

    #[test]
    fn loopback_names_and_addresses_are_answered_in_any_case_and_with_any_port() {
        for good in [
            "localhost",
            "LocalHost:9324",
            "localhost.",
            "localhost:",
            "sqs.localhost:1",
            "a.b.LOCALHOST",
            "127.0.0.1",
            "127.0.0.1:65535",
            "127.255.0.9",
            "[::1]",
            "[::1]:9324",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert_eq!(host(&Callers::new(), good), Ok(None), "{good}");
        }
    }

    #[test]
    fn other_names_and_addresses_are_refused() {
        for bad in [
            "evil.example",
            "evil.example:9324",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "localhost.localstack.cloud:4566",
            "0.0.0.0",
            "0.0.0.0:9324",
            "[::]",
            "[::2]",
            "128.0.0.1",
            "192.168.1.1",
            "10.0.0.1:9324",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
        ] {
            assert_eq!(host(&Callers::new(), bad), Err(RefusedCaller::Host(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn malformed_host_is_refused() {
        for bad in [
            "",
            ":9324",
            ".",
            ".localhost",
            "a..localhost",
            "evil.example@localhost",
            "localhost@evil.example",
            "http://localhost",
            "localhost/",
            "localhost:x",
            "localhost:+1",
            "localhost:65536",
            "localhost:1:2",
            "localhost, evil.example",
            "local host",
            "[::1",
            "[::1]x",
            "::1",
            "[127.0.0.1]",
            "[::1%lo]",
        ] {
            assert_eq!(host(&Callers::new(), bad), Err(RefusedCaller::Host(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn missing_or_repeated_host_header_is_refused() {
        assert_eq!(check(&Callers::new(), "/", &[]), Err(RefusedCaller::NoHost));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(check(&Callers::new(), "/", &twice), Err(RefusedCaller::NoHost));
    }

    #[test]
    fn absolute_request_url_is_checked_like_the_host_header() {
        let headers = [("host", "localhost")];
        assert_eq!(check(&Callers::new(), "http://localhost:9324/", &headers), Ok(None));
        let other = check(&Callers::new(), "http://evil.example/", &headers);
        assert_eq!(other, Err(RefusedCaller::Host("evil.example".to_owned())));
        let evil = [("host", "evil.example")];
        assert!(check(&Callers::new(), "http://localhost/", &evil).is_err());
    }

    #[test]
    fn allowed_host_is_answered_and_others_are_refused() {
        let callers = Callers::new().allow_host("Queue.Test").unwrap().allow_host("10.0.0.1:9324").unwrap();
        for good in ["queue.test", "QUEUE.TEST:1", "queue.test.", "10.0.0.1:9324", "localhost"] {
            assert_eq!(host(&callers, good), Ok(None), "{good}");
        }
        for bad in ["a.queue.test", "queue.tes", "10.0.0.1", "10.0.0.1:9325"] {
            assert_eq!(host(&callers, bad), Err(RefusedCaller::Host(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn malformed_hosts_and_origins_cannot_be_allowed() {
        for bad in ["", "*", "*.test", "http://queue.test", "queue.test/", "a b", "u@queue.test", "queue.test:x"] {
            let error = Callers::new().allow_host(bad).unwrap_err();
            assert!(error.to_string().contains("queue.test:9324"), "{bad:?}: {error}");
        }
        let bad = ["", "*", "null", "localhost:3000", "http://", "http://a/", "http://a/b", "http://*", "http://u@a"];
        for bad in bad {
            let error = Callers::new().allow_origin(bad).unwrap_err();
            assert!(error.to_string().contains("http://localhost:3000"), "{bad:?}: {error}");
        }
    }

    fn origin(callers: &Callers, origins: &[&str]) -> Result<Option<String>, RefusedCaller> {
        let origins = origins.iter().map(|&origin| ("origin", origin));
        check(callers, "/", &[("host", "localhost")].into_iter().chain(origins).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_refused_unless_they_are_allowed() {
        for bad in ["http://evil.example", "null", "", "http://localhost", "http://localhost:9324", "http://127.0.0.1"]
        {
            assert_eq!(origin(&Callers::new(), &[bad]), Err(RefusedCaller::Origin(bad.to_owned())), "{bad}");
        }
        let callers = Callers::new().allow_origin("HTTP://App.test:3000").unwrap();
        let callers = callers.allow_origin("https://app.test:443").unwrap().allow_origin("app://x").unwrap();
        for good in ["http://app.test:3000", "https://app.test", "app://x"] {
            assert_eq!(origin(&callers, &[good]), Ok(Some(good.to_owned())), "{good}");
        }
        for bad in ["http://app.test", "https://app.test:3000", "http://app.test:3000.evil.example", "null"] {
            assert_eq!(origin(&callers, &[bad]), Err(RefusedCaller::Origin(bad.to_owned())), "{bad}");
        }
        let second = origin(&callers, &["https://app.test", "http://evil.example"]);
        assert_eq!(second, Err(RefusedCaller::Origin("http://evil.example".to_owned())));
    }

    #[test]
    fn page_without_an_origin_is_detected_by_its_fetch_site() {
        let site = |site| check(&Callers::new(), "/", &[("host", "localhost"), ("sec-fetch-site", site)]);
        for bad in ["cross-site", "same-site", "something-new"] {
            assert_eq!(site(bad), Err(RefusedCaller::Page), "{bad}");
        }
        assert_eq!((site("none"), site("same-origin")), (Ok(None), Ok(None)));
        let callers = Callers::new().allow_origin("http://app.test").unwrap();
        let headers = [("host", "localhost"), ("origin", "http://app.test"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&callers, "/", &headers), Ok(Some("http://app.test".to_owned())));
    }
}
