//! The base URL of an endpoint, from whatever form people write it in.

use std::fmt;
use std::str::FromStr;

/// Scheme, host, port and the path in front of `/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    https: bool,
    host: String,
    port: u16,
    prefix: String,
}

/// Paths that people leave at the end of a base URL.
const API_PATHS: [&str; 5] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/chat",
    "/v1",
];

/// The error of parsing a [`BaseUrl`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not the URL of an endpoint: {why}; write for example `http://localhost:8000`")]
pub struct UrlError {
    text: String,
    why: &'static str,
}

impl BaseUrl {
    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Host name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, that of the scheme where none was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path to ask for, for example `/v1/models` behind the prefix.
    pub fn path(&self, api: &str) -> String {
        format!("{}{api}", self.prefix)
    }

    /// Host and path: what stays when a server moves to another port.
    pub fn without_port(&self) -> String {
        format!("{}{}", self.host, self.prefix)
    }

    /// The value of the `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default_port(self.https) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    /// Accepts `host:port`, `http://host:port/` and URLs that end in a path of the API, such as `https://host/v1`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        // A URL with a password must not be repeated in a message.
        let shown = match trimmed.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => trimmed.to_owned(),
        };
        let error = |why| UrlError {
            text: shown.clone(),
            why,
        };
        let (https, rest) = match trimmed.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err(error("only http and https are spoken")),
            None => (false, trimmed),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(error("a user name or password does not belong in it"));
        }
        if path.contains(['?', '#']) || authority.contains(['?', '#']) {
            return Err(error("it has a query or a fragment"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| error("the port is not a number"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(error("the host is missing or has characters that no host has"));
        }
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(error("the path has blanks"));
        }
        let mut prefix = path.trim_end_matches('/');
        for api in API_PATHS {
            prefix = prefix.strip_suffix(api).unwrap_or(prefix).trim_end_matches('/');
        }
        Ok(Self {
            https,
            host: host.to_owned(),
            port: port.unwrap_or(default_port(https)),
            prefix: prefix.to_owned(),
        })
    }
}

/// Host and port of an authority; `None` when there is a port that is no number.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, after.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    match port {
        None => Some((host, None)),
        Some(digits) => digits.parse().ok().map(|port| (host, Some(port))),
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_normalised() {
        for (text, expected) in [
            ("localhost:8000", "http://localhost:8000"),
            (" http://h:8000/ ", "http://h:8000"),
            ("https://h/v1", "https://h"),
            ("HTTPS://h:443/api/v1/", "https://h/api"),
            ("http://h/v1/chat/completions", "http://h"),
            ("http://[::1]:9/v1/models", "http://[::1]:9"),
            ("10.0.0.1", "http://10.0.0.1"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), expected, "{text}");
        }
        let url: BaseUrl = "https://h/api".parse().unwrap();
        assert_eq!(url.path("/v1/models"), "/api/v1/models");
        assert_eq!((url.port(), url.is_https()), (443, true));
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            "",
            "http://",
            "ftp://h",
            "http://h:x",
            "http://h:99999",
            "http://a b/",
            "http://h?x=1",
            "h//v1 x",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
        let error = "http://me:secret@h".parse::<BaseUrl>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
