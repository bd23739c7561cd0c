//! Frequent issues (M19): what users report, ranked by how many it concerns.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DataQuality, Error, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Serialize, ToSchema)]
pub struct Issues {
    pub system: String,
    pub window: WindowAnswer,
    /// Users who clicked any feature; null where suppressed.
    pub active: Option<u64>,
    /// Ranked by `weight`, then reporters, each descending with null last, then by category and feature.
    pub issues: Vec<Issue>,
    pub rest: Rest,
    /// True where the system has too few entitled people; no issues are told then.
    pub suppressed: bool,
    pub data_quality: DataQuality,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Issue {
    pub rank: u64,
    pub category: String,
    /// Null where the feedback names none: it then concerns the whole system.
    pub feature: Option<String>,
    /// Different users who reported it.
    pub reporters: u64,
    /// Reporters per 100 `active` users; null when nobody is active.
    pub per_100_active: Option<f64>,
    /// Breadth of the feature; of the whole system, the adoption rate.
    pub breadth: Option<f64>,
    /// `reporters` × `breadth`.
    pub weight: Option<f64>,
}

/// Issues that are not told singly because too few users reported each.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = IssuesRest)]
pub struct Rest {
    pub issues: Option<u64>,
    /// Different users who reported any of them; null where they are too few.
    pub reporters: Option<u64>,
    pub per_100_active: Option<f64>,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    category: String,
    feature: String,
    is_rest: bool,
    suppressed: bool,
    reporters: Option<u64>,
    active: Option<u64>,
    per_100_active: Option<f64>,
    breadth: Option<f64>,
    weight: Option<f64>,
    rest_issues: Option<u64>,
}

const SQL: &str = "\
SELECT category, feature, toBool(is_rest) AS is_rest, toBool(suppressed) AS suppressed, reporters, active, per_100_active, breadth, weight,
    rest_issues
FROM {{issues}}
ORDER BY is_rest, weight DESC NULLS LAST, reporters DESC, category, feature";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window) -> Result<Issues, Error> {
    let (rows, data_quality) = tokio::try_join!(
        reader.rows::<Row>(reader.about(&system, window, SQL)),
        quality::ask(reader, &system, window)
    )?;
    let mut answer = Issues {
        window: window.answer(&system),
        system: system.name,
        active: None,
        issues: Vec::new(),
        rest: Rest::default(),
        suppressed: false,
        data_quality,
    };
    for (rank, row) in (1..).zip(rows) {
        (answer.active, answer.suppressed) = (row.active, row.suppressed);
        match row.reporters {
            Some(reporters) if !row.is_rest => answer.issues.push(Issue {
                rank,
                category: row.category,
                feature: Some(row.feature).filter(|feature| !feature.is_empty()),
                reporters,
                per_100_active: row.per_100_active,
                breadth: row.breadth,
                weight: row.weight,
            }),
            reporters => {
                answer.rest = Rest {
                    issues: row.rest_issues,
                    reporters,
                    per_100_active: row.per_100_active,
                }
            }
        }
    }
    Ok(answer)
}
