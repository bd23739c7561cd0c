//! Satisfaction (M18): what the entitled say, and how many of them do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Cut, DataQuality, Dimension, Error, Filter, GroupKey, Reader, SystemContext, Window, WindowAnswer, quality,
};

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub window: Window,
    pub cut: Cut,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Satisfaction {
    pub system: String,
    pub window: WindowAnswer,
    pub by: Dimension,
    /// Whom alone the answer is about; not told where it is about everybody.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    pub groups: Vec<SatisfactionGroup>,
    pub total: SatisfactionTotal,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SatisfactionGroup {
    #[serde(flatten)]
    pub key: GroupKey,
    #[serde(flatten)]
    pub scores: Scores,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SatisfactionTotal {
    #[serde(flatten)]
    pub scores: Scores,
    /// Scores of users without a roster row in the window; in no other number. Null beside a filter.
    pub unentitled_scored: Option<u64>,
}

/// All null where suppressed.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Scores {
    pub entitled: Option<u64>,
    /// Entitled persons who gave at least one score.
    pub respondents: Option<u64>,
    /// `respondents` ÷ `entitled`.
    pub response_rate: Option<f64>,
    /// Feedback with a score; a person may give several.
    pub scored: Option<u64>,
    /// Those with a score of 4 or 5.
    pub satisfied: Option<u64>,
    /// `satisfied` ÷ `scored`; null when nobody answered.
    pub rate: Option<f64>,
    /// True where the numbers are withheld because too few are entitled or answered, or because they would reveal such a group.
    pub suppressed: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    is_total: bool,
    group_name: String,
    suppressed: bool,
    entitled: Option<u64>,
    respondents: Option<u64>,
    response_rate: Option<f64>,
    scored: Option<u64>,
    satisfied: Option<u64>,
    rate: Option<f64>,
    unentitled: Option<u64>,
}

const SQL: &str = "\
SELECT toBool(is_total) AS is_total, toString(group_name) AS group_name, toBool(suppressed) AS suppressed, entitled, respondents,
    response_rate, scored, satisfied, rate, unentitled
FROM {{satisfaction}}
ORDER BY is_total, group_name";

pub async fn ask(reader: &Reader, request: Request) -> Result<Satisfaction, Error> {
    let question = reader.about_people(&request.system, request.window, &request.cut, SQL);
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<Row>(question),
        quality::ask(reader, &request.system, request.window)
    )?;
    let mut groups = Vec::new();
    let mut total = SatisfactionTotal::default();
    for row in rows {
        let scores = Scores {
            entitled: row.entitled,
            respondents: row.respondents,
            response_rate: row.response_rate,
            scored: row.scored,
            satisfied: row.satisfied,
            rate: row.rate,
            suppressed: row.suppressed,
        };
        if row.is_total {
            let unentitled_scored = row.unentitled;
            total = SatisfactionTotal {
                scores,
                unentitled_scored,
            };
        } else {
            let key = GroupKey::new(request.cut.by, row.group_name);
            groups.push(SatisfactionGroup { key, scores });
        }
    }
    Ok(Satisfaction {
        window: request.window.answer(&request.system),
        system: request.system.name,
        by: request.cut.by,
        filter: request.cut.filter,
        groups,
        total,
        data_quality,
    })
}
