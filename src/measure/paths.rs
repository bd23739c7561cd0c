//! Paths (M16): what users click right after a feature.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DataQuality, Error, Reader, SystemContext, Window, WindowAnswer, quality};

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub window: Window,
    pub after: String,
    /// How many paths to tell at most.
    pub limit: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Paths {
    pub system: String,
    pub window: WindowAnswer,
    pub after: String,
    /// Users who clicked it; null where suppressed.
    pub after_users: Option<u64>,
    /// By users, then transitions, descending, then by feature.
    pub paths: Vec<Path>,
    /// Next features that are not told because too few users went there; null where suppressed.
    pub hidden_paths: Option<u64>,
    /// Next features that are not told because of `limit`.
    pub further_paths: u64,
    pub suppressed: bool,
    pub data_quality: DataQuality,
}

/// A next feature.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeaturePath)]
pub struct Path {
    pub feature: String,
    /// Users who clicked it right after.
    pub users: u64,
    /// `users` ÷ `after_users`.
    pub share: f64,
    /// How often they did.
    pub transitions: u64,
}

#[derive(clickhouse::Row, Deserialize)]
struct Row {
    feature: String,
    suppressed: bool,
    after_users: Option<u64>,
    users: Option<u64>,
    share: Option<f64>,
    transitions: Option<u64>,
    hidden_paths: Option<u64>,
}

const SQL: &str = "\
SELECT feature, toBool(suppressed) AS suppressed, CAST(after_users, 'Nullable(UInt64)') AS after_users, users, share, transitions,
    CAST(hidden_paths, 'Nullable(UInt64)') AS hidden_paths
FROM {{paths}}
ORDER BY users DESC NULLS LAST, transitions DESC, feature";

pub async fn ask(reader: &Reader, request: Request) -> Result<Paths, Error> {
    let Request { system, window, .. } = &request;
    let question = reader.about(system, *window, SQL).param("after", &request.after);
    let (rows, data_quality) = tokio::try_join!(reader.rows::<Row>(question), quality::ask(reader, system, *window))?;
    let mut answer = Paths {
        window: window.answer(system),
        system: request.system.name,
        after: request.after,
        after_users: None,
        paths: Vec::new(),
        hidden_paths: None,
        further_paths: 0,
        suppressed: false,
        data_quality,
    };
    for row in rows {
        answer.suppressed = row.suppressed;
        answer.after_users = row.after_users;
        match (row.users, row.share, row.transitions) {
            (Some(_), Some(_), Some(_)) if answer.paths.len() == request.limit => answer.further_paths += 1,
            (Some(users), Some(share), Some(transitions)) => answer.paths.push(Path {
                feature: row.feature,
                users,
                share,
                transitions,
            }),
            _ => answer.hidden_paths = row.hidden_paths,
        }
    }
    Ok(answer)
}
