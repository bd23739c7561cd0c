//! Trainings: who was trained on which day (M23). Users become pseudonyms while the text is read, as in a roster.

use jiff::civil::Date;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::columns::{self, Format, Place};
use crate::definition::{self, FIRST_DAY, LAST_DAY};
use crate::error::Problems;
use crate::pseudonym::{Pseudonym, Pseudonymizer};
use crate::store::erasure::Tombstones;

pub const COLUMNS: [&str; 2] = ["user_id", "trained_on"];

/// Everyone who was or will be trained in one system. Ordered by user; each stands in it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trainings {
    rows: Vec<Trained>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    pub user: Pseudonym,
    pub on: Date,
}

impl Trainings {
    /// Reads the whole text and tells everything that is wrong in it. `origin` names the text in messages.
    pub fn parse(text: &str, format: Format, origin: &str, pseudonymizer: &Pseudonymizer) -> Result<Self, Problems> {
        let mut problems = Problems::new(origin);
        let mut read: Vec<(Trained, Place, String)> = Vec::new();
        columns::read(text, format, &COLUMNS, &mut problems, |fields, place, problems| {
            let [user_id, trained_on] = fields;
            let named = !user_id.is_empty() && user_id.chars().count() <= 256;
            if !named {
                problems.push(place.column("user_id"), user_id, "1 to 256 characters");
            }
            let Some(on) = definition::day(trained_on) else {
                let expected = format!("a date YYYY-MM-DD from {FIRST_DAY} to {LAST_DAY}");
                problems.push(place.column("trained_on"), trained_on, expected);
                return;
            };
            if named {
                let user = pseudonymizer.pseudonym(user_id);
                read.push((Trained { user, on }, place, user_id.to_owned()));
            }
        });
        // Stable: of two rows of one user the one that stands first comes first.
        read.sort_by_key(|(trained, ..)| trained.user);
        for pair in read.windows(2) {
            let ((before, first, _), (again, second, user_id)) = (&pair[0], &pair[1]);
            if before.user == again.user {
                problems.push(format!("{first} and {second}"), user_id, "each user once");
            }
        }
        problems.none_or(|| Self {
            rows: read.into_iter().map(|(trained, ..)| trained).collect(),
        })
    }

    pub fn rows(&self) -> &[Trained] {
        &self.rows
    }

    /// The trainings without those of erased users before their erasure.
    pub fn after_erasures(mut self, erased: &Tombstones, pseudonymizer: &Pseudonymizer) -> Self {
        let first_day = |user| erased.first_day(pseudonymizer, user);
        self.rows
            .retain(|row| first_day(row.user).is_none_or(|day| row.on >= day));
        self
    }

    /// SHA-256 over the rows as stored.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for row in &self.rows {
            hash.update(row.user.0);
            hash.update(row.on.to_string());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What importing trainings did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrainingsImported {
    pub system: String,
    /// The version now in force.
    pub version: u64,
    /// False: it was in force already, and no new version was made.
    pub changed: bool,
    pub users: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, format: Format) -> Result<Trainings, Problems> {
        Trainings::parse(
            text,
            format,
            "the body",
            &Pseudonymizer::new(b"a secret of some length"),
        )
    }

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = parse("trained_on,user_id\n2026-10-05,b\n2026-10-06,a\n", Format::Csv).unwrap();
        let json = r#"[{"user_id": "a", "trained_on": "2026-10-06"}, {"user_id": "b", "trained_on": "2026-10-05"}]"#;
        let json = parse(json, Format::Json).unwrap();
        assert_eq!(csv, json);
        assert_eq!(csv.sha256(), json.sha256());
        assert_eq!(csv.rows().len(), 2);
        let later = parse("user_id,trained_on\na,2026-10-06\nb,2026-10-06\n", Format::Csv).unwrap();
        assert_ne!(csv.sha256(), later.sha256());
    }

    #[test]
    fn every_bad_line_is_told() {
        let text = "user_id,trained_on\na,2026-10-05\n,2026-10-05\nb,5.10.2026\nc\na,2026-10-06\n";
        let problems = parse(text, Format::Csv).unwrap_err().list;
        let told: Vec<_> = problems.iter().map(|p| (p.place.as_str(), p.value.as_str())).collect();
        assert_eq!(
            told,
            [
                ("line 3, column user_id", ""),
                ("line 4, column trained_on", "5.10.2026"),
                ("line 5", "c"),
                ("line 2 and line 6", "a"),
            ]
        );
    }
}
