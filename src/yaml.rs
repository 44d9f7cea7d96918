//! What is wrong with a YAML file, told for all files alike.

use serde_saphyr::Error;

/// How alike two names must be for the one to be meant by the other.
const NEAR: f64 = 0.6;

/// What is wrong, with the known names where one is not known; without the place, which stands in front of the message.
pub fn problem(error: &Error) -> String {
    if let Error::SerdeUnknownField { field, expected, .. } = error {
        let near = expected
            .iter()
            .map(|known| (*known, strsim::normalized_damerau_levenshtein(field, known)))
            .filter(|(_, closeness)| *closeness >= NEAR)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let hint = near.map_or(String::new(), |(known, _)| format!("did you mean {known}? "));
        return format!(
            "`{field}` is not a key here; {hint}known are {}",
            expected.join(", ")
        );
    }
    if let Error::DuplicateMappingKey { key, .. } = error {
        let key = key.as_ref().map_or(String::new(), |key| format!("`{key}`: "));
        return format!("{key}the key is there twice; remove one");
    }
    let text = error.to_string();
    let end = text
        .find("\n -->")
        .or(text.find(" at line "))
        .unwrap_or(text.len());
    let place = text.strip_prefix("error: ").map_or(0, |_| "error: ".len());
    text[place..end.max(place)].trim().to_owned()
}
