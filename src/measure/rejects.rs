//! What was refused, by reason.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Error, Reader, SystemContext, Window, WindowAnswer};

#[derive(Debug, Serialize, ToSchema)]
pub struct Rejects {
    pub system: String,
    pub window: WindowAnswer,
    /// By reason; reasons without any reject are left out.
    pub reasons: Vec<RejectsOfReason>,
    pub total: RejectsTotal,
}

/// Messages refused in the window: those of this system and those that do not say which.
#[derive(Debug, Serialize, Deserialize, clickhouse::Row, ToSchema)]
pub struct RejectsOfReason {
    #[schema(example = "missing_field")]
    pub reason: String,
    pub refused: u64,
    /// Of them, those that were sent again. What was refused then is another reject.
    pub retried: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RejectsTotal {
    pub refused: u64,
    pub retried: u64,
}

const SQL: &str = "\
SELECT reason, refused, retried
FROM {{rejects_by_reason}}
ORDER BY reason";

pub async fn ask(reader: &Reader, system: SystemContext, window: Window) -> Result<Rejects, Error> {
    let reasons: Vec<RejectsOfReason> = reader.rows(reader.about(&system, window, SQL)).await?;
    let total = |of: fn(&RejectsOfReason) -> u64| reasons.iter().map(of).sum();
    Ok(Rejects {
        window: window.answer(&system),
        system: system.name,
        total: RejectsTotal {
            refused: total(|row| row.refused),
            retried: total(|row| row.retried),
        },
        reasons,
    })
}
