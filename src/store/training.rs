//! Trainings as stored: every version is kept, the newest one counts.

use anyhow::Context;
use clickhouse::Row;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::ordinals::Ordinals;
use super::systems::{day_of_date, next_version};
use crate::training::{Trainings, TrainingsImported};

#[derive(Row, Serialize)]
struct TrainedRow<'a> {
    system: &'a str,
    version: u64,
    user: [u8; 16],
    ordinal: u64,
    trained_on: u16,
}

#[derive(Row, Serialize, Deserialize)]
struct TrainingVersion {
    system: String,
    version: u64,
    /// Milliseconds since 1970-01-01T00:00Z.
    imported_at: i64,
    users: u64,
    sha256: String,
}

impl Store {
    /// Makes `trainings` those in force for `system`, unless they are already. All or nothing: the rows count only once their
    /// version is written, which comes last.
    pub async fn import_trainings(&self, system: &str, trainings: &Trainings) -> anyhow::Result<TrainingsImported> {
        let sql = "SELECT ?fields FROM training_versions WHERE system = {system:String} ORDER BY version DESC LIMIT 1";
        let question = self.client().query(sql).param("system", system);
        let before: Option<TrainingVersion> = question.fetch_optional().await?;
        let sha256 = trainings.sha256();
        let imported = |version, changed| TrainingsImported {
            system: system.to_owned(),
            version,
            changed,
            users: trainings.rows().len() as u64,
        };
        match before {
            Some(current) if current.sha256 == sha256 => Ok(imported(current.version, false)),
            before => {
                let before = before.map(|before| before.version);
                let version = next_version(before);
                self.write_trainings(system, trainings, version, sha256).await?;
                self.forget_versions("training", system, before.unwrap_or(0)).await?;
                Ok(imported(version, true))
            }
        }
    }

    async fn write_trainings(
        &self,
        system: &str,
        trainings: &Trainings,
        version: u64,
        sha256: String,
    ) -> anyhow::Result<()> {
        let users = trainings.rows().iter().map(|row| row.user);
        let ordinals = Ordinals::new(self).resolve(users).await?;
        let mut insert = self.client().insert::<TrainedRow>("training").await?;
        for row in trainings.rows() {
            let ordinal = ordinals.get(&row.user);
            let ordinal = ordinal.with_context(|| format!("user {}: expected an ordinal", row.user))?;
            insert
                .write(&TrainedRow {
                    system,
                    version,
                    user: row.user.0,
                    ordinal: *ordinal,
                    trained_on: day_of_date(row.on),
                })
                .await?;
        }
        insert.end().await?;
        let written = TrainingVersion {
            system: system.to_owned(),
            version,
            imported_at: Timestamp::now().as_millisecond(),
            users: trainings.rows().len() as u64,
            sha256,
        };
        let mut insert = self.client().insert::<TrainingVersion>("training_versions").await?;
        insert.write(&written).await?;
        insert.end().await?;
        Ok(())
    }
}
