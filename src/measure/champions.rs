//! Champions (M22): who uses the system most often and most broadly, two months running.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group::by_group;
use super::list::{Listing, Part};
use super::{
    Cut, DataQuality, Dimension, Error, Filter, GroupKey, Reader, SystemContext, Window, WindowAnswer, quality,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct Champions {
    pub system: String,
    /// The second of the two months.
    pub window: WindowAnswer,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub groups: Vec<ChampionGroup>,
    pub total: ChampionCount,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ChampionGroup {
    #[serde(flatten)]
    pub key: GroupKey,
    #[serde(flatten)]
    pub count: ChampionCount,
}

/// All null where suppressed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChampionCount {
    /// Persons on the roster on at least one day of the month.
    pub entitled: Option<u64>,
    pub champions: Option<u64>,
    /// `champions` ÷ `entitled`; null when nobody is entitled.
    pub share: Option<f64>,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    champions: Option<u64>,
    share: Option<f64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed, entitled, champions, share
FROM {{champions}}
ORDER BY is_total, group_name";

/// `month` is a whole calendar month.
pub async fn ask(reader: &Reader, system: SystemContext, month: Window, cut: Cut) -> Result<Champions, Error> {
    let ((groups, total), data_quality) = tokio::try_join!(
        counts(reader, &system, month, &cut),
        quality::ask(reader, &system, month)
    )?;
    let group = |(name, count)| ChampionGroup {
        key: GroupKey::new(cut.by, name),
        count,
    };
    Ok(Champions {
        window: month.answer(&system),
        system: system.name,
        by: cut.by,
        filter: cut.filter,
        groups: groups.into_iter().map(group).collect(),
        total,
        data_quality,
    })
}

/// Those of each group, and of the whole system.
async fn counts(
    reader: &Reader,
    system: &SystemContext,
    month: Window,
    cut: &Cut,
) -> Result<(Vec<(String, ChampionCount)>, ChampionCount), Error> {
    let question = reader
        .about_people(system, month, cut, SQL)
        .param("month", month.from.to_string());
    let nobody = ChampionCount {
        entitled: Some(0),
        champions: Some(0),
        share: None,
        suppressed: false,
    };
    let count = |row: Row| {
        let count = ChampionCount {
            entitled: row.entitled,
            champions: row.champions,
            share: row.share,
            suppressed: row.suppressed,
        };
        (row.is_total, row.group_name, count)
    };
    Ok(by_group(reader.rows(question).await?, nobody, count))
}

#[derive(Debug, Clone)]
pub struct UsersRequest {
    pub system: SystemContext,
    /// A whole calendar month.
    pub month: Window,
    pub filter: Filter,
    pub part: Part,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ChampionUsers {
    pub system: String,
    /// The second of the two months.
    pub window: WindowAnswer,
    /// Whom alone the list is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// How many there are on all pages together.
    pub count: Option<u64>,
    /// By pseudonym.
    pub users: Vec<Champion>,
    /// What `cursor` must be for the next page; null on the last one.
    pub next: Option<String>,
    /// The version of the roster that all pages are of.
    pub roster: u64,
    pub data_quality: DataQuality,
}

/// With what the user did in the month.
#[derive(Debug, Serialize, Deserialize, clickhouse::Row, ToSchema)]
pub struct Champion {
    /// The pseudonym: 32 hexadecimal digits.
    pub user: String,
    /// Working days with a click.
    pub active_days: u64,
    /// Features used of those expected of the user's role.
    pub used: u64,
    pub expected: u64,
    /// `used` ÷ `expected`.
    pub breadth: f64,
}

const USERS_SQL: &str = "\
WITH
    {{split}} AS split, -- split
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster
SELECT lower(hex(champion)) AS user, toUInt64(days) AS active_days, toUInt64(used_features) AS used, toUInt64(expected_features) AS expected,
    used_features / expected_features AS breadth
FROM
(
    SELECT user AS champion, active_days AS days, used AS used_features, expected AS expected_features
    FROM {{champion_people}}
    WHERE is_champion AND user > toFixedString(unhex({after:String}), 16)
    ORDER BY user
    LIMIT {limit:UInt32}
)
ORDER BY user";

/// Whether a list may be shown is decided where the number of its group is suppressed: by the view.
pub async fn ask_users(reader: &Reader, request: UsersRequest) -> Result<Listing<ChampionUsers>, Error> {
    let UsersRequest {
        system,
        month,
        filter,
        part,
    } = request;
    let cut = Cut::of(filter);
    let (_, count) = counts(reader, &system, month, &cut).await?;
    if count.suppressed {
        return Ok(Listing::Suppressed);
    }
    let question = reader
        .about_people(&system, month, &cut, USERS_SQL)
        .param("month", month.from.to_string())
        .param("after", &part.after)
        .param("limit", part.limit);
    let (users, data_quality) =
        tokio::try_join!(reader.rows::<Champion>(question), quality::ask(reader, &system, month))?;
    Ok(Listing::Users(ChampionUsers {
        roster: system.roster,
        next: None,
        window: month.answer(&system),
        system: system.name,
        filter: cut.filter,
        count: count.champions,
        users,
        data_quality,
    }))
}
