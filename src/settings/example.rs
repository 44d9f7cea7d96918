//! `env.example` and the table of settings in the documentation, made from the table of keys.

use std::fmt::Write;

use super::keys::{Group, KEYS, Key};

/// The text of `env.example`: every key with its meaning and default. A key whose default differs between the profiles
/// is commented out with both values.
pub fn example() -> String {
    let mut text = String::from(
        "\
# Settings of mst. Copy this file to .env and change what you need; every line may go.
#
# A flag beats the environment, the environment beats this file, this file beats the defaults. `mst config` prints each
# value and where it came from. Values need no quotes, `$` is literal, and ` # text` after a value is a comment.
#
# Defaults come in two profiles: demo while URL is empty, live once it is set. Keys that differ between the two are
# commented out below, with both values.
",
    );
    let mut group = None;
    for key in KEYS {
        if group != Some(key.group) {
            group = Some(key.group);
            let _ = write!(text, "\n# ---- {} ----\n", key.group.title());
        }
        text.push('\n');
        for line in key.help.lines() {
            let _ = writeln!(text, "# {line}");
        }
        let _ = writeln!(
            text,
            "# Value: {}{}",
            key.form,
            older_names(key, "; older name: ")
        );
        if key.demo == key.live {
            let _ = writeln!(text, "{}={}", key.name, key.demo);
        } else {
            let _ = writeln!(text, "# {}={} # demo", key.name, key.demo);
            let _ = writeln!(text, "# {}={} # live", key.name, key.live);
        }
    }
    text
}

fn older_names(key: &Key, before: &str) -> String {
    if key.aliases.is_empty() {
        String::new()
    } else {
        format!("{before}{}", key.aliases.join(", "))
    }
}

/// The tables of `docs/settings.md`, one a group.
pub fn documented() -> String {
    let mut text = String::new();
    let mut group: Option<Group> = None;
    for key in KEYS {
        if group != Some(key.group) {
            group = Some(key.group);
            let _ = write!(
                text,
                "\n## {}\n\n| key | value | default | meaning |\n|---|---|---|---|\n",
                key.group.title()
            );
        }
        let default = match (key.demo, key.live) {
            ("", "") => String::new(),
            (demo, live) if demo == live => format!("`{demo}`"),
            (demo, live) => format!("`{demo}` (demo), `{live}` (live)"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {}{} |",
            key.name,
            key.form.replace('|', "\\|"),
            key.help.replace('\n', " "),
            older_names(key, " Older name: "),
        );
    }
    text
}
