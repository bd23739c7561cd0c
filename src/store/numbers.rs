//! The numbers, each defined once in `schemas/clickhouse/numbers`: the body of a view, for everyone who asks ClickHouse, and of
//! the questions of the API.
//!
//! What a number must know of its system stands in the text as `{{zone}}` and the like. A view looks it up. The API knows it
//! already and binds it, and asks with the body itself: ClickHouse analyses a view twice and runs every lookup while it
//! does, which takes longer than most answers.

use anyhow::Context;
use include_dir::{Dir, include_dir};

use crate::config::Config;
use crate::definition::Dimension;

static NUMBERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas/clickhouse/numbers");

/// Steps of ClickHouse's planning that take longer than they save numbers: everyone who asks for some sets them to 0. The first finds
/// contradictions in chains of comparisons, which the numbers do not have, and doubles their analysis; the second joins steps that are
/// next to nothing beside the reading. Older servers do not know both, and refuse what they do not know.
pub const SLOW_PLANNING: [&str; 2] = ["optimize_and_compare_chain", "query_plan_merge_expressions"];

/// Those that the server knows.
pub async fn slow_planning_of(client: &clickhouse::Client) -> clickhouse::error::Result<Vec<&'static str>> {
    let sql = "SELECT name FROM system.settings WHERE name IN {names:Array(String)}";
    let names = client.query_raw(sql).param("names", SLOW_PLANNING.as_slice());
    let known: Vec<String> = names.fetch_all().await?;
    let of_server = |step: &&str| known.iter().any(|name| name == step);
    Ok(SLOW_PLANNING.into_iter().filter(of_server).collect())
}

/// Placeholder, how a view looks it up, and what a question says instead, mostly a parameter to bind. A lookup may hold
/// placeholders that stand below it.
const LOOKUPS: [(&str, &str, &str); 6] = [
    (
        "{{periods}}",
        "(SELECT if({grain:String} NOT IN ('day', 'week', 'month'), [({from:Date}, {to:Date})], \
            arrayMap(start -> (greatest({from:Date}, start), least({to:Date}, multiIf({grain:String} = 'day', start + 1, \
                {grain:String} = 'week', start + 7, addMonths(start, 1)))), \
            arrayDistinct(arrayMap(day -> multiIf({grain:String} = 'day', day, \
                {grain:String} = 'week', day - (toDayOfWeek(day) + 7 - {{week_start}}) % 7, toStartOfMonth(day)), \
            arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date}))))))))",
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
    // Weekdays, holidays and further working days.
    (
        "{{calendar}}",
        "(SELECT (if(count() = 0, [1, 2, 3, 4, 5], argMax(weekdays, version)), argMax(holidays, version), \
            argMax(extra_working_days, version)) FROM systems WHERE system = {system:String})",
        "({weekdays:Array(UInt8)}, {holidays:Array(Date)}, {extra_working_days:Array(Date)})",
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

/// Placeholders that stand in lines of a filter only, and what they are. One may hold those that stand below it.
const CHOICES: [(&str, &str); 2] = [
    // The ordinals of the persons of the window whom the filter leaves; `current_roster` and `split` are defined before it.
    (
        "{{chosen_set}}",
        "(SELECT {{users of groupBitmapState(ordinal)}} FROM roster \
            WHERE system = {system:String} AND version = current_roster AND kind = 'person' \
            AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to \
            AND {{chosen}})",
    ),
    // Whether a roster row has, in each dimension that the filter names, one of the values that it gives.
    (
        "{{chosen}}",
        "arrayAll((d, v) -> has({filter:Array(Tuple(String, String))}, (d, v)) \
            OR NOT has(tupleElement({filter:Array(Tuple(String, String))}, 1), d), ['unit', 'role', 'tier', 'site', 'phase'], \
            [toString(unit), toString(role), toString(tier), toString(site), toString(phase)])",
    ),
];

/// Names under which numbers ask for the part `withheld`, and of which groups.
const WITHHELD: [(&str, &str); 4] = [
    ("withheld", "{{group}}"),
    ("withheld_of_all", "''"),
    ("withheld_of_roles", "role"),
    ("withheld_of_phases", "phase"),
];

/// What ends a line that stands only in questions about some of the people, or where any user has several ordinals: elsewhere ClickHouse need
/// not analyse it.
const ONLY_FILTERED: &str = " -- filtered";
const ONLY_SPLIT: &str = " -- split";

/// Parts that are simpler, and half the work, where no day of the system was counted under two zones and no user has several ordinals.
const OF_WHOLE_DAYS: [(&str, &str); 2] = [
    (
        "{{feature_day_sets}}",
        "(SELECT feature, local_date AS day, users AS used FROM feature_users FINAL \
            WHERE system = {system:String} AND zone = current_zone AND local_date >= before_from AND local_date < {to:Date})",
    ),
    (
        "{{user_day_clicks}}",
        "(SELECT feature, clicks AS day_clicks FROM feature_user_days FINAL WHERE system = {system:String} AND zone = current_zone \
            AND local_date >= {from:Date} AND local_date < {to:Date}\n AND bitmapContains(assumeNotNull(chosen_set), ordinal) -- filtered\n)",
    ),
];

/// The part `user_day_clicks` on a cluster: a user's rows of a day may stand on several shards, and `FINAL` merges those of one.
const SPREAD_USER_DAY_CLICKS: &str = "(SELECT feature, sum(clicks) AS day_clicks FROM feature_user_days \
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    AND bitmapContains(assumeNotNull(chosen_set), {{first ordinal}}) -- filtered
    GROUP BY feature, {{first ordinal}}, local_date)";

/// The ordinals of users who have several, and the one that each of them counts as.
const SPLIT: &str = "(SELECT (groupArray(ordinal), groupArray(first)) FROM \
    (SELECT ordinal, min(ordinal) OVER (PARTITION BY user) AS first FROM split_users FINAL))";

/// What the text of a question depends on.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub by: Dimension,
    /// Whether only some of the people are asked about: then `filter` is bound.
    pub filtered: bool,
    /// Whether any user has several ordinals.
    pub split: bool,
    /// Whether days of the system may have been counted under one zone in part, and derived again for another.
    pub rebuilt: bool,
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
    /// Rollups are spread over the shards of a cluster.
    is_spread: bool,
}

impl Numbers {
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            is_spread: !config.clickhouse.cluster.is_empty(),
            ..Self::new(config.privacy.min_group_size)?
        })
    }

    /// On one server.
    pub fn new(min_group_size: u32) -> anyhow::Result<Self> {
        let texts = texts_of(&NUMBERS, min_group_size)?;
        let folder = NUMBERS.get_dir("parts").context("numbers without parts")?;
        let mut parts = texts_of(folder, min_group_size)?;
        let (_, withheld) = parts
            .iter()
            .find(|(name, _)| *name == WITHHELD[0].0)
            .context("no part that withholds")?;
        let withheld = withheld.clone();
        parts.retain(|(name, _)| *name != WITHHELD[0].0);
        parts.extend(WITHHELD.map(|(name, group)| (name, withheld.replace("{{group}}", group))));
        Ok(Self {
            texts,
            parts,
            is_spread: false,
        })
    }

    /// Name and `CREATE OR REPLACE VIEW` of each: of everybody, whatever there is of split users and rebuilt days.
    pub fn views(&self) -> impl Iterator<Item = (&'static str, String)> {
        let shape = Shape {
            by: Dimension::None,
            filtered: false,
            split: true,
            rebuilt: true,
        };
        self.texts.iter().map(move |(name, text)| {
            let text = self.rendered(standing(text, shape), shape, GROUP);
            let text = text.replacen(" AS\n", DEFINER, 1);
            let look_up =
                |text: String, (placeholder, lookup, _): &(&str, &str, &str)| text.replace(placeholder, lookup);
            (*name, LOOKUPS.iter().fold(text, look_up))
        })
    }

    /// `sql` with each `{{name of a number or part}}` replaced by its query in parentheses. The parameters of its view, `filter` and
    /// those of [`LOOKUPS`] are to be bound.
    pub fn question(&self, sql: &str, shape: Shape) -> String {
        let group = match shape.by {
            Dimension::None => "''",
            Dimension::Unit => "unit",
            Dimension::Role => "role",
            Dimension::Tier => "tier",
            Dimension::Site => "site",
            Dimension::Phase => "phase",
        };
        let sql = self
            .texts
            .iter()
            .fold(standing(sql, shape), |sql, number| fill(sql, number, shape));
        let bind =
            |text: String, (placeholder, _, parameter): &(&str, &str, &str)| text.replace(placeholder, parameter);
        LOOKUPS.iter().fold(self.rendered(sql, shape, group), bind)
    }

    /// With its parts, and all placeholders but [`LOOKUPS`] replaced.
    fn rendered(&self, sql: String, shape: Shape, group: &str) -> String {
        let sql = match self.is_spread {
            true => sql.replace("{{user_day_clicks}}", &standing(SPREAD_USER_DAY_CLICKS, shape)),
            false => sql,
        };
        let sql = match shape.rebuilt || shape.split {
            true => sql,
            false => OF_WHOLE_DAYS.iter().fold(sql, |sql, (placeholder, simple)| {
                sql.replace(placeholder, &standing(simple, shape))
            }),
        };
        let sql = self.parts.iter().fold(sql, |sql, part| fill(sql, part, shape));
        let sql = each(sql, "{{set of ", |column| match shape.filtered {
            true => format!("bitmapAnd({{{{users of groupBitmapMergeState({column})}}}}, chosen_set)"),
            false => format!("{{{{users of groupBitmapMergeState({column})}}}}"),
        });
        let sql = CHOICES
            .iter()
            .fold(sql, |sql, (placeholder, of_filter)| sql.replace(placeholder, of_filter));
        let sql = sql.replace("{{filtered}}", if shape.filtered { "1" } else { "0" });
        let sql = each(sql, "{{users of ", |set| match shape.split {
            true => format!("if(empty(split.1), {set}, bitmapTransform({set}, split.1, split.2))"),
            false => set.to_owned(),
        });
        let first_ordinal = match shape.split {
            true => "transform(ordinal, split.1, split.2, ordinal)",
            false => "ordinal",
        };
        sql.replace("{{first ordinal}}", first_ordinal)
            .replace("{{group}}", group)
            .replace("{{split}}", SPLIT)
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

fn fill(sql: String, (name, text): &Text, shape: Shape) -> String {
    let placeholder = format!("{{{{{name}}}}}");
    if sql.contains(&placeholder) {
        sql.replace(&placeholder, &format!("(\n{})", body(&standing(text, shape))))
    } else {
        sql
    }
}

/// The lines that a question of the shape needs: no comments.
fn standing(sql: &str, shape: Shape) -> String {
    let line = |line| match (
        str::strip_suffix(line, ONLY_FILTERED),
        str::strip_suffix(line, ONLY_SPLIT),
    ) {
        (Some(marked), _) => shape.filtered.then_some(marked),
        (_, Some(marked)) => shape.split.then_some(marked),
        _ => (!line.trim_start().starts_with("--")).then_some(line),
    };
    sql.lines().filter_map(line).map(|line| format!("{line}\n")).collect()
}

/// Replaces each placeholder that begins with `open` by what `make` makes of the rest of it. `{{set of x}}`, where x is a column of states of
/// sets of users, is all of them merged, without whom a filter leaves out; `{{users of x}}` is the set x with every user in it once.
fn each(mut sql: String, open: &str, make: impl Fn(&str) -> String) -> String {
    while let Some((before, inside, after)) = sql
        .split_once(open)
        .and_then(|(before, rest)| rest.split_once("}}").map(|(inside, after)| (before, inside, after)))
    {
        sql = format!("{before}{}{after}", make(inside));
    }
    sql
}

/// What follows `CREATE OR REPLACE VIEW … AS`; the whole of a part.
fn body(text: &str) -> &str {
    let view = text.split_once("CREATE OR REPLACE VIEW ");
    view.and_then(|(_, view)| view.split_once(" AS\n"))
        .map_or(text, |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: Shape = Shape {
        by: Dimension::Unit,
        filtered: false,
        split: false,
        rebuilt: false,
    };

    /// Every number's question, by name.
    fn questions(numbers: &Numbers, shape: Shape) -> Vec<(&'static str, String)> {
        let ask = |name: &'static str| (name, numbers.question(&format!("SELECT * FROM {{{{{name}}}}}"), shape));
        names().map(ask).collect()
    }

    #[test]
    fn nothing_of_a_filter_is_left_where_there_is_none() {
        let numbers = Numbers::new(10).unwrap();
        for (name, text) in numbers.views().chain(questions(&numbers, EVERYBODY)) {
            for left in ["{filter", "withheld,", "chosen", " -- filtered", " -- split", "{{"] {
                assert!(!text.contains(left), "{left} in {name}: {text}");
            }
        }
        let some = Shape {
            filtered: true,
            ..EVERYBODY
        };
        let filtered = questions(&numbers, some);
        let held = filtered.iter().filter(|(_, text)| text.contains("AS withheld"));
        assert_eq!(held.count(), 13);
        assert!(filtered.iter().all(|(_, text)| !text.contains("{{")));
    }

    #[test]
    fn on_a_cluster_a_users_rows_of_a_day_are_grouped() {
        let mut config = Config::load(None).unwrap();
        let merged = |config: &Config| {
            let numbers = Numbers::of(config).unwrap();
            let texts = numbers.views().chain(questions(&numbers, EVERYBODY));
            texts
                .filter(|(_, text)| text.contains("feature_user_days FINAL"))
                .count()
        };
        assert_eq!(merged(&config), 2);
        config.clickhouse.cluster = "main".to_owned();
        assert_eq!(merged(&config), 0);
    }
}
