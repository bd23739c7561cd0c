//! The numbers, each defined once in `schemas/clickhouse/numbers`: the body of a view, for everyone who asks ClickHouse, and of
//! the questions of the API.
//!
//! What a number must know of its system stands in the text as `{{zone}}` and the like. A view looks it up. The API knows it
//! already and binds it, and asks with the body itself: ClickHouse analyses a view twice and runs every lookup while it
//! does, which takes longer than most answers.

use anyhow::Context;
use include_dir::{Dir, include_dir};

use crate::definition::Dimension;

static NUMBERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas/clickhouse/numbers");

/// Placeholder, how a view looks it up, and what a question says instead, mostly a parameter to bind. A lookup may hold
/// placeholders that stand below it.
const LOOKUPS: [(&str, &str, &str); 5] = [
    (
        "{{periods}}",
        "if({grain:String} NOT IN ('day', 'week', 'month'), [({from:Date}, {to:Date})], \
            arrayMap(start -> (greatest({from:Date}, start), least({to:Date}, multiIf({grain:String} = 'day', start + 1, \
                {grain:String} = 'week', start + 7, addMonths(start, 1)))), \
            arrayDistinct(arrayMap(day -> multiIf({grain:String} = 'day', day, \
                {grain:String} = 'week', day - (toDayOfWeek(day) + 7 - {{week_start}}) % 7, toStartOfMonth(day)), \
            arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date})))))))",
        "{periods:Array(Tuple(Date, Date))}",
    ),
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

/// The group that a roster row forms, by the dimension that a view is asked for.
const GROUP: &str = "multiIf({by:String} = 'unit', unit, {by:String} = 'role', role, {by:String} = 'tier', tier, \
    {by:String} = 'site', site, {by:String} = 'phase', phase, '')";

/// A view reads with the rights of whoever created it, so that its readers need none on what lies under it.
const DEFINER: &str = " DEFINER = CURRENT_USER SQL SECURITY DEFINER AS\n";

/// The ordinals of users who have several, and the one that each of them counts as.
const SPLIT: &str = "(SELECT (groupArray(ordinal), groupArray(first)) FROM \
    (SELECT ordinal, min(ordinal) OVER (PARTITION BY user) AS first FROM split_users FINAL))";
const NO_SPLIT: &str = "(CAST([], 'Array(UInt64)'), CAST([], 'Array(UInt64)'))";

/// What the text of a question depends on.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub by: Dimension,
    /// Whether any user has several ordinals.
    pub split: bool,
}

/// The views of all numbers. In each of them what is told of too few people is suppressed.
pub fn names() -> impl Iterator<Item = &'static str> {
    let stem = |file: &'static include_dir::File<'static>| file.path().file_stem()?.to_str();
    NUMBERS.files().filter_map(stem)
}

/// Name and text of a number or of a part of numbers.
type Text = (&'static str, String);

/// Every number, rendered for one installation.
pub struct Numbers {
    /// With parts and the smallest group filled in.
    texts: Vec<Text>,
    /// Queries that numbers and lists share. A part has no view of its own, because nothing is suppressed in it; it may hold parts
    /// whose names come after its own.
    parts: Vec<Text>,
}

impl Numbers {
    pub fn new(min_group_size: u32) -> anyhow::Result<Self> {
        let mut texts = texts_of(&NUMBERS, min_group_size)?;
        let parts = match NUMBERS.get_dir("parts") {
            Some(folder) => texts_of(folder, min_group_size)?,
            None => Vec::new(),
        };
        for (_, text) in &mut texts {
            *text = parts.iter().fold(std::mem::take(text), fill);
        }
        Ok(Self { texts, parts })
    }

    /// Name and `CREATE OR REPLACE VIEW` of each.
    pub fn views(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.texts.iter().map(|(name, text)| {
            let text = text.replace("{{group}}", GROUP).replace("{{split}}", SPLIT);
            let text = text.replacen(" AS\n", DEFINER, 1);
            let look_up =
                |text: String, (placeholder, lookup, _): &(&str, &str, &str)| text.replace(placeholder, lookup);
            (*name, LOOKUPS.iter().fold(text, look_up))
        })
    }

    /// `sql` with each `{{name of a number or part}}` replaced by its query in parentheses. The parameters of its view
    /// and those of [`LOOKUPS`] are to be bound.
    pub fn question(&self, sql: &str, shape: Shape) -> String {
        let group = match shape.by {
            Dimension::None => "''",
            Dimension::Unit => "unit",
            Dimension::Role => "role",
            Dimension::Tier => "tier",
            Dimension::Site => "site",
            Dimension::Phase => "phase",
        };
        let sql = self.texts.iter().fold(sql.to_owned(), fill);
        let sql = self.parts.iter().fold(sql, fill);
        let sql = sql
            .replace("{{group}}", group)
            .replace("{{split}}", if shape.split { SPLIT } else { NO_SPLIT });
        let bind =
            |text: String, (placeholder, _, parameter): &(&str, &str, &str)| text.replace(placeholder, parameter);
        LOOKUPS.iter().fold(sql, bind)
    }
}

/// The files of a folder, in the order of their names.
fn texts_of(folder: &'static Dir<'static>, min_group_size: u32) -> anyhow::Result<Vec<Text>> {
    let mut texts = Vec::new();
    for file in folder.files() {
        let name = file.path().file_stem().and_then(|name| name.to_str());
        let name = name.context("a number without a name")?;
        let text = file.contents_utf8().context("a number that is not UTF-8")?;
        texts.push((name, text.replace("{{min_group_size}}", &min_group_size.to_string())));
    }
    texts.sort_unstable();
    Ok(texts)
}

fn fill(sql: String, (name, text): &Text) -> String {
    let placeholder = format!("{{{{{name}}}}}");
    if sql.contains(&placeholder) {
        sql.replace(&placeholder, &format!("(\n{})", body(text)))
    } else {
        sql
    }
}

/// What follows `CREATE OR REPLACE VIEW … AS`; the whole of a part.
fn body(text: &str) -> &str {
    let view = text.split_once("CREATE OR REPLACE VIEW ");
    view.and_then(|(_, view)| view.split_once(" AS\n"))
        .map_or(text, |(_, body)| body)
}
