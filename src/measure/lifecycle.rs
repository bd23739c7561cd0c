//! Lifecycle (M13): in which state of using the system each entitled person is on a day.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::group::by_group;
use super::list::{Listing, Part};
use super::window::date_of;
use super::{
    Choice, Cut, DataQuality, Dimension, Error, Filter, Frame, GroupKey, Reader, SystemContext, Window, quality,
};

/// Everybody entitled is in exactly one; `schemas/clickhouse/numbers/parts/lifecycle_people.sql` says in which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Never,
    New,
    Returning,
    Resurrected,
    AtRisk,
    Dormant,
}

impl Choice for State {
    const ALL: &'static [Self] = &[
        Self::Never,
        Self::New,
        Self::Returning,
        Self::Resurrected,
        Self::AtRisk,
        Self::Dormant,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::New => "new",
            Self::Returning => "returning",
            Self::Resurrected => "resurrected",
            Self::AtRisk => "at_risk",
            Self::Dormant => "dormant",
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Lifecycle {
    pub system: String,
    /// The local day that the states are those of.
    #[schema(value_type = String, format = Date)]
    pub on: Date,
    /// IANA time zone of the day.
    pub timezone: String,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub groups: Vec<LifecycleGroup>,
    pub total: LifecycleCounts,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LifecycleGroup {
    #[serde(flatten)]
    pub key: GroupKey,
    #[serde(flatten)]
    pub counts: LifecycleCounts,
}

/// The entitled persons of a group by state. The states add up to `entitled`. All null where suppressed.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct LifecycleCounts {
    pub entitled: Option<u64>,
    /// No event ever.
    pub never: Option<u64>,
    /// First activity in the last 28 days.
    pub new: Option<u64>,
    /// Active, and none of the others.
    pub returning: Option<u64>,
    /// Back after 28 or more days without activity, within the last 28 days.
    pub resurrected: Option<u64>,
    /// Active in the last 28 days, but not in the last 7 working days.
    pub at_risk: Option<u64>,
    /// No activity in the last 28 days.
    pub dormant: Option<u64>,
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    never: Option<u64>,
    new: Option<u64>,
    returning: Option<u64>,
    resurrected: Option<u64>,
    at_risk: Option<u64>,
    dormant: Option<u64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed,
    entitled, never, new, returning, resurrected, at_risk, dormant
FROM {{lifecycle}}
ORDER BY is_total, group_name";

pub async fn ask(reader: &Reader, system: SystemContext, on: Date, cut: Cut) -> Result<Lifecycle, Error> {
    let ((groups, total), data_quality) = tokio::try_join!(
        counts(reader, &system, on, &cut),
        quality::ask(reader, &system, day(on, &system))
    )?;
    let group = |(name, counts)| LifecycleGroup {
        key: GroupKey::new(cut.by, name),
        counts,
    };
    Ok(Lifecycle {
        system: system.name,
        on,
        timezone: system.timezone,
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
    on: Date,
    cut: &Cut,
) -> Result<(Vec<(String, LifecycleCounts)>, LifecycleCounts), Error> {
    let question = reader
        .about_people(system, day(on, system), cut, SQL)
        .param("on", on.to_string());
    let counts = |row: Row| {
        let counts = LifecycleCounts {
            entitled: row.entitled,
            never: row.never,
            new: row.new,
            returning: row.returning,
            resurrected: row.resurrected,
            at_risk: row.at_risk,
            dormant: row.dormant,
            suppressed: row.suppressed,
        };
        (row.is_total, row.group_name, counts)
    };
    Ok(by_group(reader.rows(question).await?, nobody(), counts))
}

fn day(on: Date, system: &SystemContext) -> Window {
    Window::around(on, Frame::Day, system.week_start)
}

/// The total of a system without a roster.
fn nobody() -> LifecycleCounts {
    LifecycleCounts {
        entitled: Some(0),
        never: Some(0),
        new: Some(0),
        returning: Some(0),
        resurrected: Some(0),
        at_risk: Some(0),
        dormant: Some(0),
        suppressed: false,
    }
}

impl LifecycleCounts {
    fn of(&self, state: State) -> Option<u64> {
        match state {
            State::Never => self.never,
            State::New => self.new,
            State::Returning => self.returning,
            State::Resurrected => self.resurrected,
            State::AtRisk => self.at_risk,
            State::Dormant => self.dormant,
        }
    }
}

#[derive(Debug, Clone)]
pub struct UsersRequest {
    pub system: SystemContext,
    pub state: State,
    pub on: Date,
    pub filter: Filter,
    pub part: Part,
}

/// Those who are in a state on a day.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    pub system: String,
    pub state: State,
    #[schema(value_type = String, format = Date)]
    pub on: Date,
    /// Whom alone the list is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// How many there are on all pages together.
    pub count: Option<u64>,
    /// By pseudonym.
    pub users: Vec<UserInState>,
    /// What `cursor` must be for the next page; null on the last one.
    pub next: Option<String>,
    /// The version of the roster that all pages are of.
    pub roster: u64,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UserInState {
    /// The pseudonym: 32 hexadecimal digits.
    pub user: String,
    /// The last local day with a click until `on`; null for who never clicked.
    #[schema(value_type = Option<String>, format = Date)]
    pub last_active: Option<Date>,
}

#[derive(clickhouse::Row, Deserialize)]
struct UserRow {
    user: String,
    /// 0: none.
    last_day: u16,
}

/// A page is a scalar, so that who is in which state is found once, though asked for twice: whom to list, and whose last day to find.
const USERS_SQL: &str = "\
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    (
        SELECT groupArray((user, first_ordinal))
        FROM
        (
            SELECT user, first_ordinal
            FROM {{lifecycle_people}}
            WHERE state = {state:String} AND user > toFixedString(unhex({after:String}), 16)
            ORDER BY user
            LIMIT {limit:UInt32}
        )
    ) AS page,
    (SELECT bitmapBuild(arrayMap(listed -> listed.2, page))) AS page_set
SELECT lower(hex(listed.1)) AS user, last_day
FROM (SELECT arrayJoin(page) AS listed, listed.2 AS first_ordinal) AS listed_users
LEFT JOIN
(
    SELECT arrayJoin(bitmapToArray(bitmapAnd(day_set, page_set))) AS first_ordinal, max(local_date) AS last_day
    FROM
    (
        SELECT local_date, {{users of groupBitmapMergeState(users)}} AS day_set
        FROM day_users
        WHERE system = {system:String} AND zone = current_zone AND local_date <= {on:Date} AND activity = 'click'
        GROUP BY local_date
    )
    GROUP BY first_ordinal
) AS days ON listed_users.first_ordinal = days.first_ordinal
ORDER BY user";

/// Whether a list may be shown is decided where the number of its group is suppressed: by the view.
pub async fn ask_users(reader: &Reader, request: UsersRequest) -> Result<Listing<Users>, Error> {
    let UsersRequest {
        system,
        state,
        on,
        filter,
        part,
    } = request;
    let cut = Cut::of(filter);
    let (_, counts) = counts(reader, &system, on, &cut).await?;
    if counts.suppressed {
        return Ok(Listing::Suppressed);
    }
    let question = reader
        .about_people(&system, day(on, &system), &cut, USERS_SQL)
        .param("on", on.to_string())
        .param("state", state.word())
        .param("after", &part.after)
        .param("limit", part.limit);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<UserRow>(question),
        quality::ask(reader, &system, day(on, &system))
    )?;
    Ok(Listing::Users(Users {
        roster: system.roster,
        next: None,
        system: system.name,
        state,
        on,
        filter: cut.filter,
        count: counts.of(state),
        users: rows.into_iter().map(user).collect(),
        data_quality,
    }))
}

fn user(row: UserRow) -> UserInState {
    UserInState {
        user: row.user,
        last_active: (row.last_day > 0).then(|| date_of(row.last_day)),
    }
}
