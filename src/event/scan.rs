//! The quick reading of a structured-mode message: only what most messages look like, objects of texts without escapes, and
//! texts alone. Whatever is different is left to `serde_json`, which also finds what is wrong.

use std::borrow::Cow;

use super::{Attributes, FeatureClick, Login};

/// What was read, not validated yet.
pub(super) struct Scanned<'a> {
    pub attributes: Attributes<'a>,
    pub data: Data<'a>,
}

/// The fields of `data` that matter for the quick types.
#[derive(Default)]
pub(super) struct Data<'a> {
    system: Option<&'a str>,
    outcome: Option<&'a str>,
    method: Option<&'a str>,
    feature: Option<&'a str>,
    element: Option<&'a str>,
    session: Option<&'a str>,
}

impl<'a> Data<'a> {
    /// `None`: a field is missing.
    pub fn feature_click(&self) -> Option<FeatureClick<'a>> {
        Some(FeatureClick {
            system: Cow::Borrowed(self.system?),
            feature: Cow::Borrowed(self.feature?),
            session: self.session.map(Cow::Borrowed),
            element: self.element.map(Cow::Borrowed),
        })
    }

    /// `None`: a field is missing.
    pub fn login(&self) -> Option<Login<'a>> {
        Some(Login {
            system: Cow::Borrowed(self.system?),
            outcome: Cow::Borrowed(self.outcome?),
            session: self.session.map(Cow::Borrowed),
            method: self.method.map(Cow::Borrowed),
        })
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "system" => &mut self.system,
            "feature" => &mut self.feature,
            "session" => &mut self.session,
            "element" => &mut self.element,
            "outcome" => &mut self.outcome,
            "method" => &mut self.method,
            _ => return None,
        })
    }
}

/// `None`: not as quick as that.
pub(super) fn structured(text: &str) -> Option<Scanned<'_>> {
    let mut scanned = Scanned {
        attributes: Attributes::default(),
        data: Data::default(),
    };
    let mut at = Scanner { text, at: 0 };
    let mut has_data = false;
    at.object(|at, name| {
        if name == "data" {
            let first = !std::mem::replace(&mut has_data, true);
            return first.then(|| {
                at.object(|at, name| {
                    let text = at.text()?;
                    scanned
                        .data
                        .field(name)
                        .is_none_or(|field| field.replace(text).is_none())
                        .then_some(())
                })
            })?;
        }
        let text = at.text()?;
        let a = &mut scanned.attributes;
        let field = match name {
            "specversion" => &mut a.specversion,
            "id" => &mut a.id,
            "source" => &mut a.source,
            "type" => &mut a.kind,
            "subject" => &mut a.subject,
            "time" => &mut a.time,
            _ => return Some(()),
        };
        // Twice is an error.
        field.replace(text).is_none().then_some(())
    })?;
    at.space();
    (has_data && at.at == text.len()).then_some(scanned)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += 1;
        found.then_some(())
    }

    /// An object; `value` reads the value of each name.
    fn object(&mut self, mut value: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            value(self, name)?;
            self.space();
            let end = self.peek();
            self.at += 1;
            match end {
                Some(b',') => {}
                Some(b'}') => return Some(()),
                _ => return None,
            }
        }
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let from = self.at;
        let to = from + plain(&self.text.as_bytes()[from..]);
        self.at = to + 1;
        (self.text.as_bytes().get(to) == Some(&b'"')).then(|| &self.text[from..to])
    }
}

/// How many bytes come before the first quote, backslash or control character: eight are looked at at once.
fn plain(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::MAX / 0xff;
    let less = |word: u64, than: u64| word.wrapping_sub(EACH * than) & !word;
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let special =
            less(word ^ (EACH * u64::from(b'"')), 1) | less(word ^ (EACH * u64::from(b'\\')), 1) | less(word, 0x20);
        // The lowest bit is right; those above it may come from a borrow.
        let special = special & (EACH << 7);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    at + bytes[at..].iter().position(special).unwrap_or(bytes.len() - at)
}
