//! The numbers, each defined once in `schemas/clickhouse/numbers`: the body of a view, for everyone who asks ClickHouse, and of
//! the questions of the API.
//!
//! What a number must know of its system stands in the text as `{{zone}}` and the like. A view looks it up. The API knows it
//! already and binds it, and asks with the body itself: ClickHouse analyses a view twice and runs every lookup while it
//! does, which takes longer than most answers.

use anyhow::Context;
use include_dir::{Dir, include_dir};

static NUMBERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas/clickhouse/numbers");

/// Placeholder, how a view looks it up, and the parameter that a question binds.
const LOOKUPS: [(&str, &str, &str); 4] = [
    (
        "{{zone}}",
        "(SELECT argMax(zone, version) FROM systems WHERE system = {system:String})",
        "{zone:String}",
    ),
    (
        "{{week_start}}",
        "(SELECT greatest(argMax(week_start, version), 1) FROM systems WHERE system = {system:String})",
        "{week_start:UInt8}",
    ),
    (
        "{{definition}}",
        "(SELECT max(version) FROM systems WHERE system = {system:String})",
        "{definition:UInt64}",
    ),
    (
        "{{roster}}",
        "(SELECT max(version) FROM roster_versions WHERE system = {system:String})",
        "{roster:UInt64}",
    ),
];

/// Every number, rendered for one installation.
pub struct Numbers {
    /// Name and text with the smallest group filled in.
    texts: Vec<(&'static str, String)>,
}

impl Numbers {
    pub fn new(min_group_size: u32) -> anyhow::Result<Self> {
        let mut texts = Vec::new();
        for file in NUMBERS.files() {
            let name = file.path().file_stem().and_then(|name| name.to_str());
            let name = name.context("a number without a name")?;
            let text = file.contents_utf8().context("a number that is not UTF-8")?;
            texts.push((name, text.replace("{{min_group_size}}", &min_group_size.to_string())));
        }
        texts.sort_unstable();
        Ok(Self { texts })
    }

    /// Name and `CREATE OR REPLACE VIEW` of each.
    pub fn views(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.texts.iter().map(|(name, text)| {
            let look_up =
                |text: String, (placeholder, lookup, _): &(&str, &str, &str)| text.replace(placeholder, lookup);
            (*name, LOOKUPS.iter().fold(text.clone(), look_up))
        })
    }

    /// `sql` with each `{{name of a number}}` replaced by the query of that number in parentheses. The parameters of its view
    /// and those of [`LOOKUPS`] are to be bound.
    pub fn question(&self, sql: &str) -> String {
        let fill = |sql: String, (name, text): &(&'static str, String)| {
            let placeholder = format!("{{{{{name}}}}}");
            if sql.contains(&placeholder) {
                sql.replace(&placeholder, &format!("(\n{})", body(text)))
            } else {
                sql
            }
        };
        let bind =
            |text: String, (placeholder, _, parameter): &(&str, &str, &str)| text.replace(placeholder, parameter);
        LOOKUPS.iter().fold(self.texts.iter().fold(sql.to_owned(), fill), bind)
    }
}

/// What follows `CREATE OR REPLACE VIEW … AS`.
fn body(text: &str) -> &str {
    text.split_once(" AS\n").map_or(text, |(_, body)| body)
}
