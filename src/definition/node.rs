//! YAML (or JSON, its subset) with the place of every value, so that all that is wrong in a text can be told at once.
//!
//! Deserialising straight into the definition's types would stop at the first problem.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::error::Problems;

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    at: Location,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

/// Reads a leaf: the typed value, or what was expected.
pub type Leaf<T> = fn(&Node) -> Result<T, String>;

impl Node {
    /// A syntax error becomes the only problem.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Problems> {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let mut problems = Problems::new(origin);
            let line = error.location().map_or(0, |at| at.line());
            let shown = text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
            let place = error
                .location()
                .map_or_else(|| "the text".to_owned(), |at| place(at, ""));
            let expected = match error.without_snippet() {
                serde_saphyr::Error::DuplicateMappingKey { .. } => "each key once".to_owned(),
                error => format!("YAML or JSON ({error})"),
            };
            problems.push(place, shown.trim(), expected);
            problems
        })
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub fn bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Map(entries) => format!("a mapping of {}", entries.len()),
        }
    }
}

/// A value of the text together with its path from the root, which may be absent.
#[derive(Clone)]
pub struct Cursor<'n> {
    path: String,
    /// Where a missing value should have stood: its parent.
    parent: Location,
    node: Option<&'n Node>,
}

impl<'n> Cursor<'n> {
    pub fn root(node: &'n Node) -> Self {
        Self {
            path: String::new(),
            parent: node.at,
            node: Some(node),
        }
    }

    /// Whether something other than null stands here.
    pub fn is_given(&self) -> bool {
        self.node.is_some_and(|node| !matches!(node.value, Value::Null))
    }

    /// Whether nothing, or a list without items, stands here.
    pub fn is_empty_list(&self) -> bool {
        !self.is_given() || matches!(self.node, Some(Node { value: Value::List(items), .. }) if items.is_empty())
    }

    pub fn place(&self) -> String {
        place(self.node.map_or(self.parent, |node| node.at), &self.path)
    }

    /// Notes that the value here is not what it should be.
    pub fn refuse(&self, problems: &mut Problems, expected: impl Into<String>) {
        let value = self.node.map_or_else(|| "(missing)".to_owned(), Node::shown);
        problems.push(self.place(), &value, expected);
    }

    /// The entries named `keys`, in that order, of the mapping that stands here. Other keys are problems; so is
    /// something that is no mapping, whose entries are then all absent *and* not to be complained about: `None`.
    pub fn entries<const N: usize>(&self, problems: &mut Problems, keys: [&str; N]) -> Option<[Cursor<'n>; N]> {
        let Some(Node {
            value: Value::Map(entries),
            at,
        }) = self.node
        else {
            self.refuse(problems, format!("a mapping with {}", keys.join(", ")));
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !keys.contains(&key.value.as_str())) {
            let path = join(&self.path, &key.value);
            problems.push(
                place(key.referenced, &path),
                &key.value,
                format!("one of the keys {}", keys.join(", ")),
            );
        }
        Some(keys.map(|wanted| {
            Cursor {
                path: join(&self.path, wanted),
                parent: *at,
                node: entries
                    .iter()
                    .find(|(key, _)| key.value == wanted)
                    .map(|(_, node)| node),
            }
        }))
    }

    /// The items of the list that stands here; nothing here is an empty list.
    pub fn items(&self, problems: &mut Problems) -> Vec<Cursor<'n>> {
        match self.node {
            Some(Node {
                value: Value::List(items),
                at,
            }) => {
                let item = |(i, node)| Cursor {
                    path: format!("{}[{i}]", self.path),
                    parent: *at,
                    node: Some(node),
                };
                items.iter().enumerate().map(item).collect()
            }
            _ if !self.is_given() => Vec::new(),
            _ => {
                self.refuse(problems, "a list");
                Vec::new()
            }
        }
    }

    /// The leaf that must stand here.
    pub fn required<T>(&self, problems: &mut Problems, read: Leaf<T>) -> Option<T> {
        // The expectation is told by the reader, whatever else stands here.
        let nothing = Node {
            at: self.parent,
            value: Value::Null,
        };
        read(self.node.unwrap_or(&nothing))
            .map_err(|expected| self.refuse(problems, expected))
            .ok()
    }

    /// The leaf that may stand here; `None` also when it is not what it should be.
    pub fn optional<T>(&self, problems: &mut Problems, read: Leaf<T>) -> Option<T> {
        if self.is_given() {
            self.required(problems, read)
        } else {
            None
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn place(at: Location, path: &str) -> String {
    let position = format!("line {}, column {}", at.line(), at.column());
    if path.is_empty() {
        position
    } else {
        format!("{position} ({path})")
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            at: spanned.referenced,
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value as f64))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Value::Map(map))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}
