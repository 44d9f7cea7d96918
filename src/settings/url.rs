//! The base URL of an endpoint.

use hyper::Uri;

/// Paths that people paste with the base URL, the longest first.
const API_PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1"];

/// Scheme, host, port and the path in front of `/v1` where there is one (a gateway's), and what was changed. `host:port` without a scheme means http, as the older program had it.
///
/// # Errors
/// What is wrong, and what to write.
pub(super) fn base_url(text: &str) -> Result<(String, Vec<String>), String> {
    const EXAMPLE: &str = "write for example http://localhost:8000";
    let mut notes = Vec::new();
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = full
        .parse()
        .map_err(|error| format!("this is not a URL ({error}); {EXAMPLE}"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        return Err(format!(
            "only http and https are possible, not {scheme}; {EXAMPLE}"
        ));
    }
    let authority = uri
        .authority()
        .ok_or_else(|| format!("there is no host; {EXAMPLE}"))?;
    if authority.as_str().contains('@') {
        return Err("a URL with a password would end up in the results; set API_KEY instead".to_owned());
    }
    if authority.host().is_empty() {
        return Err(format!("there is no host; {EXAMPLE}"));
    }
    let port_text = authority.as_str()[authority.host().len()..].trim_start_matches(':');
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|p| p == 0) {
        return Err(format!("`{port_text}` is not a port; {EXAMPLE}"));
    }
    if uri.query().is_some() {
        return Err("a base URL has no ?query; remove it".to_owned());
    }
    let path = uri.path().trim_end_matches('/');
    let api = API_PATHS.iter().find(|api| path.ends_with(*api));
    let prefix = api.map_or(path, |api| path[..path.len() - api.len()].trim_end_matches('/'));
    if let Some(api) = api {
        notes.push(format!("{api} at the end is left out; the API adds its own path"));
    }
    Ok((format!("{scheme}://{authority}{prefix}"), notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_brought_to_one_form() {
        for (text, expected) in [
            ("localhost:8000", "http://localhost:8000"),
            ("http://node17:8000/", "http://node17:8000"),
            ("https://llm.example.org/v1", "https://llm.example.org"),
            ("http://h/v1/chat/completions", "http://h"),
            ("https://gateway/llm/v1/", "https://gateway/llm"),
            ("gateway/llm", "http://gateway/llm"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("10.0.0.1", "http://10.0.0.1"),
        ] {
            assert_eq!(base_url(text).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for (text, fragment) in [
            ("ftp://h", "only http and https"),
            ("http://", "not a URL"),
            ("http://u:p@h", "password"),
            ("h:99999", "`99999` is not a port"),
            ("h:x", "not a"),
            ("h:", "not a port"),
            ("http://h?x=1", "query"),
            ("a b", "not a URL"),
        ] {
            let error = base_url(text).unwrap_err();
            assert!(error.contains(fragment), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = base_url(&text);
        }
    }
}
