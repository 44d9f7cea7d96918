//! Words of scripts that a shell reads.

/// One word of a shell's command line, whatever is in it.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_are_read_back_by_a_shell() {
        for word in [
            "", "plain", "a b", "it's", "$HOME", "`id`", "a\"b", "a\\b", "*", "#x", "~", "a\tb", "-n",
            "\u{fc}",
        ] {
            let script = format!("printf '%s' {}", quote(word));
            let said = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), word);
        }
    }
}
