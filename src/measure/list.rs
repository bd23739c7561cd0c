//! Lists of users: pseudonyms, page by page.
//!
//! Users come in the order of their pseudonyms, and a page begins after the last user of the one before. So whatever is stored
//! between two pages, nobody is listed twice, and nobody is missed who belongs to the list all the time.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

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

/// A list, or why there is none.
#[derive(Debug)]
pub enum Listing<T> {
    Users(T),
    /// Those whom it is about are too few, or would reveal some who are.
    Suppressed,
}
