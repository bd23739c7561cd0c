//! Answers as CSV (RFC 4180): one way for all that are tables.

use serde::{Serialize, Serializer};

use super::error::Error;
use crate::measure::GroupKey;

/// An answer that is a table. Its JSON may hold more than its rows.
pub trait Table: Serialize {
    /// The fields of `Row`, in their order. Programs may rely on them; more may be added at the end.
    const COLUMNS: &'static [&'static str];
    type Row<'t>: Serialize
    where
        Self: 't;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>>;
}

/// A row of what is told by group: `group`, `is_total`, and the fields of its numbers.
pub type OfGroup<'t, N> = (Option<Text<'t>>, bool, N);

/// The rows of the groups, then that of the total.
pub fn by_group<'t, N>(
    groups: impl Iterator<Item = (&'t GroupKey, N)>,
    total: N,
) -> impl Iterator<Item = OfGroup<'t, N>> {
    let groups = groups.map(|(key, numbers)| (key.name().map(Text), false, numbers));
    groups.chain([(None, true, total)])
}

/// The header, then the rows. Null is an empty field.
pub fn csv<T: Table>(table: &T) -> Result<Vec<u8>, Error> {
    let internal = |error: csv::Error| Error::Internal(error.into());
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(T::COLUMNS).map_err(internal)?;
    for row in table.rows() {
        writer.serialize(row).map_err(internal)?;
    }
    writer
        .into_inner()
        .map_err(|error| Error::Internal(error.into_error().into()))
}

/// A text that others chose. A spreadsheet would run one that begins like a formula, so such a text gets an apostrophe before it.
pub struct Text<'t>(pub &'t str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.chars().next() {
            Some('=' | '+' | '-' | '@' | '\t' | '\r') => serializer.collect_str(&format_args!("'{}", self.0)),
            _ => serializer.serialize_str(self.0),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A table of two rows.
    #[derive(Serialize)]
    pub struct Two;

    #[derive(Serialize)]
    pub struct Row<'t> {
        name: Text<'t>,
        change: Option<f64>,
    }

    impl Table for Two {
        const COLUMNS: &'static [&'static str] = &["name", "change"];
        type Row<'t> = Row<'t>;

        fn rows(&self) -> impl Iterator<Item = Row<'_>> {
            let row = |name, change| Row {
                name: Text(name),
                change,
            };
            [row("Sales, \"EMEA\"", Some(-0.5)), row("=cmd()", None)].into_iter()
        }
    }

    #[test]
    fn a_table_is_quoted_where_it_must_and_runs_nothing() {
        let text = String::from_utf8(csv(&Two).unwrap()).unwrap();
        assert_eq!(text, "name,change\n\"Sales, \"\"EMEA\"\"\",-0.5\n'=cmd(),\n");
    }
}
