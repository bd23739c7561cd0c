//! As much of ClickHouse's syntax as the HTTP interface must see: whether a statement is an INSERT that is followed by data,
//! and which format a statement names.

/// What kind of statement a text begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `INSERT` whose data follow. `head` ends before its FORMAT clause, `data` is where inline data begin (the length of
    /// the text if there are none).
    Insert {
        head: usize,
        format: Option<String>,
        data: usize,
    },
    /// A statement that gives rows, with the format of its FORMAT clause.
    Select { format: Option<String> },
    /// Everything else; the engine handles the whole text.
    Other { format: Option<String> },
}

impl Statement {
    pub fn of(sql: &[u8]) -> Self {
        let mut words = Words { sql, at: 0, depth: 0 };
        match words.next() {
            Some(first) if first.is(sql, "INSERT") => Self::insert(sql, words),
            Some(first) if first.is(sql, "SELECT") || first.is(sql, "WITH") => Self::Select {
                format: output_format(sql, words),
            },
            Some(_) => Self::Other {
                format: output_format(sql, words),
            },
            None => Self::Other { format: None },
        }
    }

    /// The format that the text names.
    pub fn format(&self) -> Option<&str> {
        let (Self::Insert { format, .. } | Self::Select { format } | Self::Other { format }) = self;
        format.as_deref()
    }

    /// Where neither the statement nor the request names a format.
    pub fn usual_format(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "Values",
            _ => "TabSeparated",
        }
    }

    fn insert(sql: &[u8], mut words: Words<'_>) -> Self {
        let mut name_after = None;
        while let Some(word) = words.next() {
            // A quoted name is no word: what comes after it is none either.
            let directly = |end: usize| sql[end..word.start].iter().all(u8::is_ascii_whitespace);
            let is_name = name_after.take().is_some_and(directly) || word.after_dot;
            if word.depth > 0 || is_name {
                continue;
            }
            if word.is(sql, "INTO") || word.is(sql, "TABLE") || word.is(sql, "FUNCTION") {
                name_after = Some(word.end);
            } else if word.is(sql, "FORMAT") {
                let Some(name) = words.next() else { break };
                let format = String::from_utf8_lossy(name.bytes(sql)).into_owned();
                return Self::Insert {
                    head: word.start,
                    format: Some(format),
                    data: data_start(sql, name.end),
                };
            } else if word.is(sql, "VALUES") {
                if sql[word.end..].iter().all(|b| b.is_ascii_whitespace() || *b == b';') {
                    return Self::Insert {
                        head: word.start,
                        format: Some("Values".to_owned()),
                        data: sql.len(),
                    };
                }
                return Self::Other { format: None };
            } else if ["SELECT", "WITH", "FROM", "WATCH"].iter().any(|w| word.is(sql, w)) {
                return Self::Other { format: None };
            }
        }
        Self::Insert {
            head: sql.len(),
            format: None,
            data: sql.len(),
        }
    }
}

/// Data begin after the format's name, an optional `;`, blanks, and one line end.
fn data_start(sql: &[u8], after_name: usize) -> usize {
    let mut at = after_name;
    while matches!(sql.get(at), Some(b' ' | b'\t' | b';')) {
        at += 1;
    }
    if sql.get(at) == Some(&b'\r') {
        at += 1;
    }
    if sql.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

/// `FORMAT name` at the end of a statement, where only SETTINGS may follow. A column may be called `format` elsewhere.
fn output_format(sql: &[u8], mut words: Words<'_>) -> Option<String> {
    while let Some(word) = words.next() {
        if word.depth > 0 || word.after_dot || !word.is(sql, "FORMAT") {
            continue;
        }
        let gap_start = word.end;
        let name = words.next()?;
        let follows = &sql[name.end..];
        let end = follows.iter().all(|b| b.is_ascii_whitespace() || *b == b';');
        let blank_between = sql[gap_start..name.start].iter().all(u8::is_ascii_whitespace);
        if blank_between && (end || follows.trim_ascii_start().to_ascii_uppercase().starts_with(b"SETTINGS")) {
            return Some(String::from_utf8_lossy(name.bytes(sql)).into_owned());
        }
    }
    None
}

/// The words of a statement, quoted names among them, without comments, string literals and punctuation.
struct Words<'a> {
    sql: &'a [u8],
    at: usize,
    depth: usize,
}

struct Word {
    start: usize,
    end: usize,
    /// How many brackets it stands in.
    depth: usize,
    after_dot: bool,
}

impl Word {
    fn bytes<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        &sql[self.start..self.end]
    }
    fn is(&self, sql: &[u8], keyword: &str) -> bool {
        self.bytes(sql).eq_ignore_ascii_case(keyword.as_bytes())
    }
}

impl Words<'_> {
    fn next(&mut self) -> Option<Word> {
        let mut after_dot = false;
        loop {
            let rest = &self.sql[self.at..];
            let first = *rest.first()?;
            let length = match first {
                b'\'' => quoted(rest),
                b'"' | b'`' => return Some(self.word(quoted(rest), after_dot)),
                b'-' if rest.starts_with(b"--") => line(rest),
                b'#' => line(rest),
                b'/' if rest.starts_with(b"/*") => rest
                    .windows(2)
                    .skip(2)
                    .position(|w| w == b"*/")
                    .map_or(rest.len(), |at| at + 4),
                b'(' | b'[' | b'{' => {
                    self.depth += 1;
                    1
                }
                b')' | b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    1
                }
                b if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 => {
                    let end = rest
                        .iter()
                        .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80));
                    return Some(self.word(end.unwrap_or(rest.len()), after_dot));
                }
                _ => 1,
            };
            after_dot = first == b'.' || (after_dot && first.is_ascii_whitespace());
            self.at += length;
        }
    }

    fn word(&mut self, length: usize, after_dot: bool) -> Word {
        let start = self.at;
        self.at += length;
        Word {
            start,
            end: self.at,
            depth: self.depth,
            after_dot,
        }
    }
}

/// Length of quoted text with its quotes; a backslash escapes, a doubled quote is read as two quoted texts.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b if b == text[0] => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn line(text: &[u8]) -> usize {
    text.iter().position(|b| *b == b'\n').map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::Statement::{self, Insert, Other, Select};

    fn of(sql: &str) -> Statement {
        Statement::of(sql.as_bytes())
    }
    fn some(format: &str) -> Option<String> {
        Some(format.to_owned())
    }

    #[test]
    fn an_insert_is_split_before_its_format_and_after_one_line_end() {
        let sql = "INSERT INTO t (a, `format`) SETTINGS x = 'FORMAT y' FORMAT CSV\n1,2\n";
        let Insert { head, format, data } = of(sql) else {
            panic!("not an insert")
        };
        assert_eq!(&sql[..head], "INSERT INTO t (a, `format`) SETTINGS x = 'FORMAT y' ");
        assert_eq!(format, some("CSV"));
        assert_eq!(&sql[data..], "1,2\n");
    }

    #[test]
    fn a_quoted_table_does_not_hide_the_format() {
        let Insert { format, .. } = of("INSERT INTO `roster`(`user`) FORMAT RowBinaryWithNamesAndTypes") else {
            panic!("not an insert")
        };
        assert_eq!(format, some("RowBinaryWithNamesAndTypes"));
    }

    #[test]
    fn binary_data_may_begin_with_a_line_end_of_their_own() {
        let sql = "INSERT INTO t FORMAT RowBinary\n\n";
        let Insert { data, .. } = of(sql) else {
            panic!("not an insert")
        };
        assert_eq!(&sql[data..], "\n");
    }

    #[test]
    fn an_insert_without_format_or_with_bare_values_awaits_data() {
        assert_eq!(
            of("insert into t (a)"),
            Insert {
                head: 17,
                format: None,
                data: 17
            }
        );
        assert_eq!(
            of("/* x */ INSERT INTO t VALUES "),
            Insert {
                head: 22,
                format: some("Values"),
                data: 29
            }
        );
    }

    #[test]
    fn a_quoted_table_is_a_name_and_the_format_after_it_is_none() {
        for sql in [
            "INSERT INTO `t`(`a`) FORMAT CSV",
            "INSERT INTO `d`.`t` FORMAT CSV",
            "INSERT INTO \"t\" FORMAT CSV",
        ] {
            let Insert { format, .. } = of(sql) else {
                panic!("not an insert: {sql}")
            };
            assert_eq!(format, some("CSV"), "{sql}");
        }
    }

    #[test]
    fn inserts_the_engine_can_run_alone_are_left_to_it() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t (a) SELECT 1",
            "INSERT INTO format SELECT 1 FORMAT CSV",
            "INSERT INTO `t`(`a`) SELECT 1",
        ] {
            assert_eq!(of(sql), Other { format: None }, "{sql}");
        }
    }

    #[test]
    fn the_format_clause_is_told_from_columns_comments_and_text() {
        assert_eq!(
            of("-- FORMAT x\nSELECT 1 FORMAT JSON;"),
            Select { format: some("JSON") }
        );
        assert_eq!(
            of("SELECT 1 FORMAT JSON SETTINGS max_threads = 1"),
            Select { format: some("JSON") }
        );
        for sql in [
            "SELECT format FROM t",
            "SELECT 'FORMAT JSON'",
            "SELECT (SELECT 1 FORMAT JSON)",
            "SELECT t.format x",
        ] {
            assert_eq!(of(sql), Select { format: None }, "{sql}");
        }
        assert_eq!(of("SHOW TABLES FORMAT TSV"), Other { format: some("TSV") });
        assert_eq!(of(""), Other { format: None });
    }
}
