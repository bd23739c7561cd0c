//! Reading a log, CSV or NDJSON, record by record, from any position.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use csv::ByteRecord;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::error::{BadInput, told_json};

const BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// With a header line
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// What a column of the log is used for; the discriminant is its place in [`Columns`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Feature,
    Time,
    Session,
    Unit,
}

/// The names of the columns used, by [`Role`].
pub type Columns = [Option<String>; 5];

/// The end of what was read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub byte: u64,
    /// Lines before `byte`.
    pub lines: u64,
    /// Records before `byte`; the header is none.
    pub records: u64,
}

/// What the next record is.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    End,
    /// Its values are there for the asking.
    Record,
    /// What was expected instead.
    Malformed(String),
}

/// A log that is being read.
pub struct Log {
    source: Source,
    position: Position,
    scratch: Vec<u8>,
}

enum Source {
    Csv {
        reader: csv::Reader<File>,
        record: ByteRecord,
        fields: usize,
        /// The column of each role.
        wanted: [Option<usize>; 5],
    },
    Ndjson {
        reader: BufReader<File>,
        line: Vec<u8>,
        names: Columns,
        values: [Option<String>; 5],
    },
}

impl Log {
    /// Opens the file and, for CSV, finds the columns in its header.
    pub fn open(path: &Path, format: Format, delimiter: u8, columns: &Columns) -> anyhow::Result<Self> {
        let cannot = |e: std::io::Error| BadInput::new(format!("{}: cannot be read: {e}", path.display()));
        let file = File::open(path).map_err(cannot)?;
        let mut log = Self {
            source: match format {
                Format::Csv => open_csv(file, delimiter, columns, path)?,
                Format::Ndjson => Source::Ndjson {
                    reader: BufReader::with_capacity(BUFFER_BYTES, file),
                    line: Vec::new(),
                    names: columns.clone(),
                    values: Default::default(),
                },
            },
            position: Position::default(),
            scratch: Vec::new(),
        };
        log.note_position();
        Ok(log)
    }

    /// Reads on to `position`, which was taken from a log of the same file. A CSV reader that is put there instead would
    /// take a byte order mark at the start of the next record for that of the file, and leave it out.
    pub fn skip_to(&mut self, position: Position) -> anyhow::Result<()> {
        while self.position.records < position.records && self.advance()? != Next::End {}
        Ok(())
    }

    /// Reads the next record. Blank lines are no records.
    pub fn advance(&mut self) -> anyhow::Result<Next> {
        let next = match &mut self.source {
            Source::Csv {
                reader, record, fields, ..
            } => {
                if !reader.read_byte_record(record).context("reading the log")? {
                    return Ok(Next::End);
                }
                if record.len() == *fields {
                    Next::Record
                } else {
                    Next::Malformed(format!("{fields} fields, as in the header (it has {})", record.len()))
                }
            }
            Source::Ndjson {
                reader,
                line,
                names,
                values,
            } => loop {
                line.clear();
                let read = reader.read_until(b'\n', line).context("reading the log")?;
                if read == 0 {
                    return Ok(Next::End);
                }
                self.position.byte += read as u64;
                self.position.lines += 1;
                line.truncate(line.trim_ascii_end().len());
                if !line.is_empty() {
                    break pick(line, names, values).map_or_else(
                        |e| Next::Malformed(format!("a JSON object ({})", told_json(&e))),
                        |()| Next::Record,
                    );
                }
            },
        };
        self.position.records += 1;
        self.note_position();
        Ok(next)
    }

    fn note_position(&mut self) {
        if let Source::Csv { reader, .. } = &self.source {
            self.position.byte = reader.position().byte();
            self.position.lines = reader.position().line() - 1;
        }
    }

    /// The end of the current record.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The line on which the current record begins, from 1.
    pub fn line(&self) -> u64 {
        match &self.source {
            Source::Csv { reader, record, .. } => record
                .position()
                .map_or(0, |before| before.line() + line_ends(reader.get_ref(), before.byte())),
            Source::Ndjson { .. } => self.position.lines,
        }
    }

    /// The value of the current record, empty when it has none, or no such column was asked for. `Err`: not UTF-8.
    pub fn value(&self, role: Role) -> Result<&str, std::borrow::Cow<'_, str>> {
        match &self.source {
            Source::Csv { record, wanted, .. } => {
                let bytes = wanted[role as usize].and_then(|i| record.get(i)).unwrap_or_default();
                std::str::from_utf8(bytes)
                    .map(str::trim)
                    .map_err(|_| String::from_utf8_lossy(bytes))
            }
            Source::Ndjson { values, .. } => Ok(values[role as usize].as_deref().unwrap_or_default().trim()),
        }
    }

    /// A hash of the current record, its number and `seed`: the same for the same record at the same place.
    pub fn hash(&mut self, seed: u64) -> u128 {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.position.records.to_le_bytes());
        match &self.source {
            Source::Csv { record, .. } => {
                for field in record {
                    self.scratch.extend_from_slice(&(field.len() as u32).to_le_bytes());
                    self.scratch.extend_from_slice(field);
                }
            }
            Source::Ndjson { line, .. } => self.scratch.extend_from_slice(line),
        }
        xxh3_128_with_seed(&self.scratch, seed)
    }

    /// The current record as text, for messages.
    pub fn shown(&self) -> String {
        match &self.source {
            Source::Csv { record, .. } => record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(","),
            Source::Ndjson { line, .. } => String::from_utf8_lossy(line).into_owned(),
        }
    }
}

fn open_csv(file: File, delimiter: u8, columns: &Columns, path: &Path) -> anyhow::Result<Source> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(file);
    let header = reader.byte_headers().context("reading the header")?.clone();
    let mut wanted = [None; 5];
    for (position, name) in wanted.iter_mut().zip(columns) {
        let Some(name) = name else { continue };
        let mut found = (0..header.len()).filter(|&i| header[i].trim_ascii() == name.as_bytes());
        *position = found.next();
        if position.is_none() || found.next().is_some() {
            let problem = if position.is_none() {
                "is not in the header"
            } else {
                "is there more than once"
            };
            let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
            let message = format!(
                "{}: line 1: column \"{name}\" {problem}: {}",
                path.display(),
                names.join(", ")
            );
            return Err(BadInput::new(message).into());
        }
    }
    Ok(Source::Csv {
        fields: header.len(),
        record: ByteRecord::new(),
        reader,
        wanted,
    })
}

/// How many lines end between `byte` and the next record: a CSV reader leaves it the `\n` of a `\r\n` and blank lines.
/// What cannot be read counts as none, as this is only asked for a message.
fn line_ends(file: &File, mut byte: u64) -> u64 {
    let mut ends = 0;
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = file.read_at(&mut buffer, byte) {
        let blank = buffer[..read].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        ends += buffer[..blank].iter().filter(|&&b| b == b'\n').count() as u64;
        if blank < read {
            break;
        }
        byte += read as u64;
    }
    ends
}

/// Takes the values of the keys `names` from a JSON object; the text of a value that is a string, number or boolean.
fn pick(line: &[u8], names: &Columns, values: &mut [Option<String>; 5]) -> serde_json::Result<()> {
    struct Picked<'a>(&'a Columns, &'a mut [Option<String>; 5]);
    impl<'de> Visitor<'de> for Picked<'_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<std::borrow::Cow<str>>()? {
                match self.0.iter().position(|name| name.as_deref() == Some(key.as_ref())) {
                    None => drop(map.next_value::<IgnoredAny>()?),
                    // One key may serve several roles.
                    Some(_) => {
                        let value: serde_json::Value = map.next_value()?;
                        let text = match value {
                            serde_json::Value::Null => None,
                            serde_json::Value::String(text) => Some(text),
                            serde_json::Value::Number(number) => Some(number.to_string()),
                            serde_json::Value::Bool(value) => Some(value.to_string()),
                            _ => return Err(A::Error::custom(format!("{key} is neither text nor number"))),
                        };
                        for (name, slot) in self.0.iter().zip(self.1.iter_mut()) {
                            if name.as_deref() == Some(key.as_ref()) {
                                slot.clone_from(&text);
                            }
                        }
                    }
                }
            }
            Ok(())
        }
    }
    values.fill(None);
    let mut json = serde_json::Deserializer::from_slice(line);
    json.deserialize_map(Picked(names, values))?;
    json.end()
}
