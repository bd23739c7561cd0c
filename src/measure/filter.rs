//! How a question cuts the roster: which of the people it is about, and which groups they are told by.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Choice, Dimension, Error, Reader, SystemContext};

/// Values by dimension. Somebody meets it who has one of the values in each dimension that has any; nobody is left out by an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RosterFilter)]
pub struct Filter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unit: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tier: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub site: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phase: Vec<String>,
}

impl Filter {
    fn parts(&self) -> [(Dimension, &Vec<String>); 5] {
        [
            (Dimension::Unit, &self.unit),
            (Dimension::Role, &self.role),
            (Dimension::Tier, &self.tier),
            (Dimension::Site, &self.site),
            (Dimension::Phase, &self.phase),
        ]
    }

    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(|(_, values)| values.is_empty())
    }

    /// One more value to have. A value that is there already changes nothing.
    pub fn add(&mut self, dimension: Dimension, value: String) {
        let values = match dimension {
            Dimension::None => return,
            Dimension::Unit => &mut self.unit,
            Dimension::Role => &mut self.role,
            Dimension::Tier => &mut self.tier,
            Dimension::Site => &mut self.site,
            Dimension::Phase => &mut self.phase,
        };
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// As the parameter `filter` of a number: each value under the name of its dimension.
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        let parts = self.parts().into_iter();
        parts
            .flat_map(|(dimension, values)| values.iter().map(move |value| (dimension.word(), value.as_str())))
            .collect()
    }

    /// The first value that nobody on the roster has.
    pub async fn unknown(&self, reader: &Reader, system: &SystemContext) -> Result<Option<UnknownValue>, Error> {
        if self.is_empty() {
            return Ok(None);
        }
        let question = reader
            .question(VALUES_SQL)
            .param("system", &system.name)
            .param("roster", system.roster);
        let known: Vec<Vec<String>> = reader.row(question).await?;
        let unknown = self
            .parts()
            .into_iter()
            .zip(known)
            .find_map(|((dimension, values), known)| {
                let value = values.iter().find(|value| !known.contains(value))?.clone();
                Some(UnknownValue {
                    dimension,
                    value,
                    known,
                })
            });
        Ok(unknown)
    }
}

/// A value of a filter that the roster does not have, and those that it has.
#[derive(Debug)]
pub struct UnknownValue {
    pub dimension: Dimension,
    pub value: String,
    pub known: Vec<String>,
}

/// In the order of [`Filter::parts`].
const VALUES_SQL: &str = "\
SELECT arrayMap(values -> arraySort(values), [groupUniqArray(toString(unit)), groupUniqArray(toString(role)),
    groupUniqArray(toString(tier)), groupUniqArray(toString(site)), groupUniqArray(toString(phase))]) AS known
FROM roster
WHERE system = {system:String} AND version = {roster:UInt64}";

/// The people that a question is about, and the dimension whose groups it tells.
#[derive(Debug, Clone)]
pub struct Cut {
    pub by: Dimension,
    pub filter: Filter,
}

impl Cut {
    /// Everybody, by the groups of a dimension.
    pub fn by(by: Dimension) -> Self {
        Self {
            by,
            filter: Filter::default(),
        }
    }

    /// Those whom a filter leaves, all together.
    pub fn of(filter: Filter) -> Self {
        Self {
            by: Dimension::None,
            filter,
        }
    }
}
