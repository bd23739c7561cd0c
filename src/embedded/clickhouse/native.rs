//! Native blocks for clients that state a `client_protocol_version`, as Grafana's data source does.
//!
//! The engine writes blocks for version 0. From version 1 on, a block begins with its block info; from 54454 on, each column
//! says before its data whether its serialization is a custom one (never, here). To know where a column's data end, their
//! lengths are read; nothing is decoded.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::DbError;

const CUSTOM_SERIALIZATION: u64 = 54454;
/// Field 1: overflows (no); field 2: bucket number (-1, none); end.
const BLOCK_INFO: [u8; 8] = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];

/// Whole blocks for version 0, rewritten for `version`.
pub fn for_version(blocks: &Bytes, version: u64) -> Result<Bytes, DbError> {
    if version == 0 {
        return Ok(blocks.clone());
    }
    let mut out = BytesMut::with_capacity(blocks.len() + 64);
    let mut reader = Reader { bytes: blocks, at: 0 };
    while reader.at < blocks.len() {
        let start = reader.at;
        let (columns, rows) = (reader.number()?, reader.number()?);
        out.extend_from_slice(&BLOCK_INFO);
        out.extend_from_slice(&blocks[start..reader.at]);
        for _ in 0..columns {
            let start = reader.at;
            reader.text()?;
            let kind = String::from_utf8_lossy(reader.text()?).into_owned();
            out.extend_from_slice(&blocks[start..reader.at]);
            if version >= CUSTOM_SERIALIZATION {
                out.put_u8(0);
            }
            let start = reader.at;
            if rows > 0 {
                reader.skip_prefix(&kind)?;
                reader.skip(&kind, rows)?;
            }
            out.extend_from_slice(&blocks[start..reader.at]);
        }
    }
    Ok(out.freeze())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DbError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| DbError::of(33, "CANNOT_READ_ALL_DATA", "a Native block ended early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn items(&mut self, count: usize, width: usize) -> Result<(), DbError> {
        self.take(count.saturating_mul(width)).map(|_| ())
    }

    /// Unsigned LEB128.
    fn number(&mut self) -> Result<usize, DbError> {
        let mut value = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn text(&mut self) -> Result<&'a [u8], DbError> {
        let length = self.number()?;
        self.take(length)
    }

    fn u64(&mut self) -> Result<u64, DbError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// What stands once before a column's data: the version of each dictionary in it.
    fn skip_prefix(&mut self, kind: &str) -> Result<(), DbError> {
        match split(kind) {
            ("LowCardinality", _) => self.items(1, 8),
            ("Array" | "Nullable" | "Tuple" | "Map" | "Nested", arguments) => arguments
                .iter()
                .try_for_each(|argument| self.skip_prefix(unnamed(argument))),
            ("SimpleAggregateFunction", arguments) => self.skip_prefix(arguments.last().copied().unwrap_or_default()),
            _ => Ok(()),
        }
    }

    fn skip(&mut self, kind: &str, rows: usize) -> Result<(), DbError> {
        let unsupported = || DbError::not_implemented(&format!("type {kind} in Native with a client_protocol_version"));
        let (name, arguments) = split(kind);
        let first = arguments.first().copied().unwrap_or_default();
        match name {
            "String" => (0..rows).try_for_each(|_| self.text().map(|_| ())),
            "FixedString" => self.items(rows, first.parse().map_err(|_| unsupported())?),
            "Nullable" => {
                self.items(rows, 1)?;
                self.skip(first, rows)
            }
            "Array" | "Map" => {
                let mut count = 0;
                for _ in 0..rows {
                    count = self.u64()? as usize;
                }
                arguments.iter().try_for_each(|argument| self.skip(argument, count))
            }
            "Tuple" => arguments
                .iter()
                .try_for_each(|argument| self.skip(unnamed(argument), rows)),
            "SimpleAggregateFunction" => self.skip(arguments.last().copied().unwrap_or_default(), rows),
            "LowCardinality" => {
                let key = first
                    .strip_prefix("Nullable(")
                    .and_then(|key| key.strip_suffix(')'))
                    .unwrap_or(first);
                let mut done = 0;
                while done < rows {
                    let index_width = 1 << (self.u64()? & 0xff).min(3);
                    let keys = self.u64()? as usize;
                    self.skip(key, keys)?;
                    let indexes = self.u64()? as usize;
                    self.items(indexes, index_width)?;
                    done += indexes.max(1);
                }
                Ok(())
            }
            "Decimal" => self.items(
                rows,
                match first.parse::<u32>().map_err(|_| unsupported())? {
                    0..=9 => 4,
                    10..=18 => 8,
                    19..=38 => 16,
                    _ => 32,
                },
            ),
            "UInt8" | "Int8" | "Bool" | "Enum8" | "Nothing" => self.items(rows, 1),
            "UInt16" | "Int16" | "Enum16" | "Date" | "BFloat16" => self.items(rows, 2),
            "UInt32" | "Int32" | "Float32" | "Date32" | "DateTime" | "IPv4" | "Time" => self.items(rows, 4),
            "UInt64" | "Int64" | "Float64" | "DateTime64" | "Time64" => self.items(rows, 8),
            interval if interval.starts_with("Interval") => self.items(rows, 8),
            "UInt128" | "Int128" | "UUID" | "IPv6" => self.items(rows, 16),
            "UInt256" | "Int256" => self.items(rows, 32),
            _ => Err(unsupported()),
        }
    }
}

/// `Map(String, Array(UInt8))` to `Map` and its arguments.
fn split(kind: &str) -> (&str, Vec<&str>) {
    let Some((name, rest)) = kind.split_once('(') else {
        return (kind, Vec::new());
    };
    let inside = rest.strip_suffix(')').unwrap_or(rest);
    let (mut arguments, mut depth, mut start, mut quote, mut escaped) = (Vec::new(), 0, 0, None, false);
    for (at, character) in inside.char_indices() {
        match (quote, character) {
            _ if std::mem::take(&mut escaped) => {}
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '`') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 => {
                arguments.push(inside[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(inside[start..].trim());
    (name, arguments)
}

/// The type of a tuple's element, which may have a name before it.
fn unnamed(element: &str) -> &str {
    if let Some(rest) = element.strip_prefix('`') {
        return rest.split_once("` ").map_or(element, |(_, kind)| kind);
    }
    match element.split_once(' ') {
        Some((name, kind)) if !name.contains('(') => kind,
        _ => element,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_info_and_a_byte_for_each_column_are_put_in() {
        let block = Bytes::from_static(b"\x02\x01\x01a\x05UInt8\x07\x01b\x06String\x02xy");
        assert_eq!(for_version(&block, 0).unwrap(), block);
        let info = BLOCK_INFO.as_slice();
        assert_eq!(for_version(&block, 54405).unwrap(), [info, &block].concat());
        let newer = [info, b"\x02\x01\x01a\x05UInt8\0\x07\x01b\x06String\0\x02xy"].concat();
        assert_eq!(for_version(&block, 54454).unwrap(), newer);
        assert_eq!(for_version(&block.slice(..block.len() - 1), 1).unwrap_err().code, 33);
    }

    #[test]
    fn types_are_taken_apart_at_their_own_commas() {
        assert_eq!(
            split("Enum8('a,(' = 1, 'b\\'' = 2)"),
            ("Enum8", vec!["'a,(' = 1", "'b\\'' = 2"])
        );
        assert_eq!(split("Map(String, Tuple(a UInt8, b Decimal(9, 2)))").1.len(), 2);
        assert_eq!(unnamed("a Tuple(b UInt8)"), "Tuple(b UInt8)");
        assert_eq!(unnamed("DateTime64(3, 'UTC')"), "DateTime64(3, 'UTC')");
        assert_eq!(unnamed("`a b` Array(UInt8)"), "Array(UInt8)");
    }
}
