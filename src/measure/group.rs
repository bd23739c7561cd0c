//! The dimensions of the roster, and how a group of one of them is named in an answer.

use serde::Serialize;
use utoipa::ToSchema;

use super::Choice;
pub use crate::definition::Dimension;

impl Choice for Dimension {
    const ALL: &'static [Self] = &[Self::None, Self::Unit, Self::Role, Self::Tier, Self::Site, Self::Phase];

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unit => "unit",
            Self::Role => "role",
            Self::Tier => "tier",
            Self::Site => "site",
            Self::Phase => "phase",
        }
    }
}

/// The name of a group under the name of its dimension, e.g. `{"unit": "Sales"}`. Empty where the roster says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct GroupKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

impl GroupKey {
    pub fn new(dimension: Dimension, name: String) -> Self {
        let mut key = Self::default();
        match dimension {
            Dimension::None => {}
            Dimension::Unit => key.unit = Some(name),
            Dimension::Role => key.role = Some(name),
            Dimension::Tier => key.tier = Some(name),
            Dimension::Site => key.site = Some(name),
            Dimension::Phase => key.phase = Some(name),
        }
        key
    }

    /// Whichever dimension it is of; `None` where nothing was broken down.
    pub fn name(&self) -> Option<&str> {
        let Self {
            unit,
            role,
            tier,
            site,
            phase,
        } = self;
        [unit, role, tier, site, phase].into_iter().find_map(Option::as_deref)
    }
}

/// Rows of a number that is told by group: those of the groups by name, and that of the whole system. `read` gives whether a row is
/// that one, the name of its group, and what it tells; `total` stands where there is no such row.
pub fn by_group<R, T>(rows: Vec<R>, total: T, read: impl Fn(R) -> (bool, String, T)) -> (Vec<(String, T)>, T) {
    let mut groups = Vec::new();
    let mut whole = total;
    for row in rows {
        match read(row) {
            (true, _, told) => whole = told,
            (false, name, told) => groups.push((name, told)),
        }
    }
    (groups, whole)
}
