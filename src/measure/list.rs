//! Lists of users: pseudonyms, page by page.
//!
//! Users come in the order of their pseudonyms, and a page begins after the last user of the one before. So whatever is stored
//! between two pages, nobody is listed twice, and nobody is missed who belongs to the list all the time.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Dimension;

/// Where a page ends, and what all pages of one list must share: the day it is about and the version of the roster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub on: Date,
    pub roster: u64,
    /// The pseudonym of the last user.
    pub user: String,
}

impl Cursor {
    pub fn names_a_user(&self) -> bool {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        self.user.len() == 32 && self.user.chars().all(hex)
    }
}

/// The part of a list that is asked for.
#[derive(Debug, Clone)]
pub struct Part {
    /// 32 hexadecimal digits that the pseudonyms are greater than.
    pub after: String,
    pub limit: usize,
}

impl Part {
    pub fn new(after: Option<&Cursor>, limit: usize) -> Self {
        let beginning = || "0".repeat(32);
        Self {
            after: after.map_or_else(beginning, |after| after.user.clone()),
            limit,
        }
    }
}

/// Of which users a list is asked for: all entitled persons, or those of one group.
#[derive(Debug, Clone)]
pub struct Filter {
    pub by: Dimension,
    /// Empty beside [`Dimension::None`].
    pub group: String,
}

impl Filter {
    /// What was counted of those whom the list is about; `None` where nobody is entitled in the group.
    pub fn pick<T>(&self, groups: Vec<(String, T)>, total: T) -> Option<T> {
        match self.by {
            Dimension::None => Some(total),
            _ => groups
                .into_iter()
                .find_map(|(name, counted)| (name == self.group).then_some(counted)),
        }
    }
}

/// A list, or why there is none.
#[derive(Debug)]
pub enum Listing<T> {
    Users(T),
    /// Nobody is entitled in the group.
    UnknownGroup,
    /// The group is too small, or would reveal one that is.
    Suppressed,
}
