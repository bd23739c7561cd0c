//! Lists of users: pseudonyms, page by page.
//!
//! Users come in the order of their pseudonyms, and a page begins after the last user of the one before. So whatever is stored
//! between two pages, nobody is listed twice, and nobody is missed who belongs to the list all the time.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use super::{Dimension, SystemContext};

/// The part of a list that is asked for.
#[derive(Debug, Clone)]
pub struct Page {
    pub after: Option<Cursor>,
    pub limit: u32,
}

/// Where a page ends, and what all pages of one list must share: the day it is about and the version of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub on: Date,
    pub roster: u64,
    /// 32 hexadecimal digits in lower case.
    pub user: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.on, self.roster, self.user)
    }
}

impl FromStr for Cursor {
    type Err = ();

    /// Only what [`Cursor::fmt`] writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let (Some(on), Some(roster), Some(user)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(());
        };
        let cursor = Self {
            on: on.parse().map_err(|_| ())?,
            roster: roster.parse().map_err(|_| ())?,
            user: user.to_owned(),
        };
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if user.len() == 32 && user.chars().all(hex) && cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(())
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

impl Page {
    /// The system as the page before knew it.
    pub fn pin(&self, system: &mut SystemContext) {
        if let Some(after) = &self.after {
            system.roster = after.roster;
        }
    }

    /// What a pseudonym must be greater than, in hexadecimal.
    pub fn start(&self) -> &str {
        let nobody = "00000000000000000000000000000000";
        self.after.as_ref().map_or(nobody, |after| &after.user)
    }

    /// How many users to ask for: one more than the page holds, which tells whether there is a next one.
    pub fn asked(&self) -> u32 {
        self.limit + 1
    }

    /// Drops what is beyond the page, and tells where the next one begins if there was anything.
    pub fn cut<T>(&self, users: &mut Vec<T>, name: fn(&T) -> &str, on: Date, system: &SystemContext) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if users.len() <= limit {
            return None;
        }
        users.truncate(limit);
        let cursor = |last: &T| Cursor {
            on,
            roster: system.roster,
            user: name(last).to_owned(),
        };
        users.last().map(|last| cursor(last).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_no_other_way() {
        let text = "2026-10-14.1763900000000000.00ff00ff00ff00ff00ff00ff00ff00ff";
        assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        let user = "00ff00ff00ff00ff00ff00ff00ff00ff";
        for bad in [
            String::new(),
            user.to_owned(),
            format!("2026-10-14.{user}"),
            format!("2026-10-14.1.{}", user.to_uppercase()),
            format!("2026-10-14.1.{}", &user[1..]),
            format!("2026-10-14.01.{user}"),
            format!("2026-10-14.+1.{user}"),
            format!("20261014.1.{user}"),
            format!("2026-10-14.1.{user}0"),
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
    }
}
