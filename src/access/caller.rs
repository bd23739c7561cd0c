//! Somebody who asks, and what their roles and restrictions let them do.

use std::fmt;

use crate::config::Role;

/// Something the API lets only some roles do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read definitions: they tell nothing of persons.
    ReadDefinitions,
    /// Read numbers. Somebody restricted to units reads only those about these units.
    ReadNumbers,
    /// Read lists of pseudonyms, restricted like numbers.
    ReadLists,
    /// Change definitions, rosters and trainings, acknowledge alerts.
    Change,
    /// Send events.
    Send,
    /// Read the audit log.
    ReadAudit,
    /// Erase persons.
    Erase,
}

impl Right {
    fn roles(self) -> &'static [Role] {
        use Role::*;
        match self {
            Self::ReadDefinitions | Self::ReadNumbers => &[Viewer, Analyst, Privacy, Admin],
            Self::ReadLists => &[Analyst, Privacy, Admin],
            Self::Change => &[Admin],
            Self::Send => &[Producer, Admin],
            Self::ReadAudit => &[Privacy, Admin],
            Self::Erase => &[Privacy, Admin],
        }
    }
}

/// What a restriction leaves of the systems, or of the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    Only(Vec<String>),
}

impl Scope {
    /// Where nothing is named, nothing is restricted.
    pub fn of(names: &[String]) -> Self {
        match names {
            [] => Self::All,
            names => Self::Only(names.to_vec()),
        }
    }

    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|allowed| allowed == name),
        }
    }
}

/// By what somebody is known. Shown in logs and in the audit log; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Nobody was asked: `api.authentication` is off.
    Anybody,
    /// A token of this installation, by name.
    Token(String),
    /// A person or program known by the OpenID Connect provider, by `sub`.
    Subject(String),
    /// Whoever ran a command, by the name that the operating system gives.
    Command(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.parts();
        write!(f, "{kind} {name}")
    }
}

impl Who {
    /// How somebody is known, and the name.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Anybody => ("anybody", ""),
            Self::Token(name) => ("token", name),
            Self::Subject(sub) => ("subject", sub),
            Self::Command(name) => ("command", name),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Caller {
    pub who: Who,
    pub roles: Vec<Role>,
    pub systems: Scope,
    pub units: Scope,
}

impl Caller {
    /// Everybody, while `api.authentication` is off.
    pub fn anybody() -> Self {
        Self {
            who: Who::Anybody,
            roles: vec![Role::Admin],
            systems: Scope::All,
            units: Scope::All,
        }
    }

    pub fn may(&self, right: Right) -> bool {
        self.roles.iter().any(|role| right.roles().contains(role))
    }

    /// Whether a question whose filter leaves these units is theirs to ask. Without a filter it is about all units.
    pub fn may_see_units(&self, filter: &[String]) -> bool {
        match &self.units {
            Scope::All => true,
            Scope::Only(_) => !filter.is_empty() && filter.iter().all(|unit| self.units.allows(unit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_without_a_filter_is_about_units_that_a_restricted_caller_may_not_see() {
        let mut caller = Caller::anybody();
        let may = |caller: &Caller, filter: &[&str]| {
            let filter: Vec<_> = filter.iter().map(|&unit| unit.to_owned()).collect();
            caller.may_see_units(&filter)
        };
        assert!(may(&caller, &[]) && may(&caller, &["Sales"]));
        caller.units = Scope::of(&["Sales".to_owned(), "Legal".to_owned()]);
        assert!(may(&caller, &["Sales"]) && may(&caller, &["Legal", "Sales"]));
        for filter in [&[][..], &["IT"], &["Sales", "IT"], &["sales"], &[""]] {
            assert!(!may(&caller, filter), "{filter:?}");
        }
    }

    #[test]
    fn a_producer_may_only_send() {
        let mut caller = Caller::anybody();
        caller.roles = vec![Role::Producer];
        assert!(caller.may(Right::Send));
        for right in [
            Right::ReadDefinitions,
            Right::ReadNumbers,
            Right::Change,
            Right::ReadAudit,
        ] {
            assert!(!caller.may(right), "{right:?}");
        }
        caller.roles = Vec::new();
        assert!(!caller.may(Right::Send));
    }
}
