//! Parses the address of a function from a user's input.

use std::fmt;

use axum::http::uri::{Authority, InvalidUri};
use axum::http::{HeaderValue, Uri};

/// The default port.
const HTTP_PORT: u16 = 80;

/// The target of an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvokeTarget {
    /// A name or an address. An IPv6 address has no brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) host_header: HeaderValue,
    /// The path without a host.
    pub(super) path: Uri,
    pub(super) function: String,
}

impl InvokeTarget {
    pub(super) fn parse(url: &str, function: &str) -> Result<Self, InvokeUrlError> {
        let wrong = |problem: Problem| InvokeUrlError { url: url.to_owned(), problem };
        let uri: Uri = url.parse().map_err(|error| wrong(Problem::NoUrl(format!("{error}"))))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong(Problem::Https)),
            other => return Err(wrong(Problem::Scheme(other.map(str::to_owned)))),
        }
        let authority = uri.authority().ok_or_else(|| wrong(Problem::NoHost))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong(Problem::Path));
        }
        if authority.as_str().contains('@') {
            return Err(wrong(Problem::User));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port(authority).ok_or_else(|| wrong(Problem::Port))?;
        if function.is_empty() || !function.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(wrong(Problem::Function(function.to_owned())));
        }
        let unusable = |error: &dyn fmt::Display| wrong(Problem::NoUrl(error.to_string()));
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let path = path.parse().map_err(|error: InvalidUri| unusable(&error))?;
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|error| unusable(&error))?;
        Ok(Self { host, port, host_header, path, function: function.to_owned() })
    }

    /// Returns host and port for messages.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Returns `None` if the authority has an invalid port.
fn port(authority: &Authority) -> Option<u16> {
    let after_host = authority.as_str().strip_prefix(authority.host())?;
    match after_host.strip_prefix(':') {
        None => Some(HTTP_PORT),
        Some(port) => port.parse().ok().filter(|&port| port > 0),
    }
}

/// The error for an invalid `--invoke-url` or function name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvokeUrlError {
    url: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NoUrl(String),
    Https,
    Scheme(Option<String>),
    NoHost,
    User,
    Port,
    Path,
    Function(String),
}

impl fmt::Display for InvokeUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::Function(name) = &self.problem {
            return write!(f, "{name:?} is not a function name; use letters, digits, - and _");
        }
        write!(f, "the invoke URL {:?} is invalid: ", self.url)?;
        match &self.problem {
            Problem::NoUrl(problem) => f.write_str(problem)?,
            Problem::Https => f.write_str("https is not supported, and `cargo lambda watch` serves plain http")?,
            Problem::Scheme(None) => f.write_str("it does not begin with http://")?,
            Problem::Scheme(Some(scheme)) => write!(f, "it begins with {scheme}:// instead of http://")?,
            Problem::NoHost => f.write_str("it contains no host")?,
            Problem::User => f.write_str("it contains a user, but the server has no users")?,
            Problem::Port => f.write_str("its port is not a number from 1 to 65535")?,
            Problem::Path => f.write_str("it contains a path, which Redrive adds itself")?,
            // The branch above has returned for this case.
            Problem::Function(_) => {}
        }
        f.write_str("; give only the server, like http://localhost:9000")
    }
}

impl std::error::Error for InvokeUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_name_make_a_target() {
        for (url, address) in [
            ("http://localhost:9000", "localhost:9000"),
            ("http://127.0.0.1:9000/", "127.0.0.1:9000"),
            ("HTTP://[::1]:9000", "[::1]:9000"),
            ("http://lambda", "lambda:80"),
        ] {
            let target = InvokeTarget::parse(url, "orders").unwrap();
            assert_eq!(target.address(), address);
            assert_eq!(target.path, "/2015-03-31/functions/orders/invocations");
        }
        assert_eq!(InvokeTarget::parse("http://[::1]:9000", "_").unwrap().host, "::1");
    }

    #[test]
    fn invalid_url_is_refused_with_a_remedy() {
        for (url, problem) in [
            ("", "empty string"),
            ("localhost", "does not begin with http://"),
            ("localhost:9000", "does not begin with http://"),
            ("/orders", "does not begin with http://"),
            ("https://localhost:9000", "https is not supported"),
            ("ftp://localhost:9000", "begins with ftp://"),
            ("http://", "empty string"),
            ("http://user:password@localhost:9000", "contains a user"),
            ("http://localhost:90000", "port"),
            ("http://localhost:0", "port"),
            ("http://localhost:9000/lambda-url/orders", "contains a path"),
            ("http://localhost:9000?x=1", "contains a path"),
        ] {
            let error = InvokeTarget::parse(url, "orders").unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
            assert!(error.ends_with("like http://localhost:9000"), "{url}: {error}");
        }
    }

    #[test]
    fn function_name_that_changes_the_path_is_refused() {
        for name in ["", "a/b", "a?b", "a b", "ü"] {
            let error = InvokeTarget::parse("http://localhost:9000", name).unwrap_err().to_string();
            assert!(error.contains("is not a function name"), "{error}");
        }
    }
}
