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
    let mut at = Scanner::new(text);
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
    /// Where the block begins that `specials` is about.
    block: usize,
    /// The quotes, backslashes and control characters of one block, the lowest bit for its first byte.
    specials: u64,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            block: 0,
            specials: specials_at(text.as_bytes(), 0),
        }
    }

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
        let to = self.special();
        self.at = to + 1;
        (self.text.as_bytes().get(to) == Some(&b'"')).then(|| &self.text[from..to])
    }

    /// Where the first quote, backslash or control character from `at` on stands; past the end when there is none.
    fn special(&mut self) -> usize {
        loop {
            let passed = self.at.saturating_sub(self.block);
            let ahead = u64::MAX.checked_shl(passed as u32).unwrap_or(0) & self.specials;
            if ahead != 0 {
                return self.block + ahead.trailing_zeros() as usize;
            }
            self.block += BLOCK;
            self.specials = specials_at(self.text.as_bytes(), self.block);
        }
    }
}

const BLOCK: usize = 64;

/// What is behind the end counts as special.
fn specials_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(block) => specials(block),
        None => {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            specials(&block)
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn specials(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    let (parts, []) = block.as_chunks::<16>() else {
        unreachable!("a block is a multiple of 16 bytes")
    };
    let part = |bytes: &[u8; 16]| {
        // SAFETY: every x86-64 has SSE2, and 16 bytes are read of as many.
        unsafe {
            let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
            let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
            let is_control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), is_control)) as u64
        }
    };
    parts.iter().rev().fold(0, |found, bytes| found << 16 | part(bytes))
}

#[cfg(not(target_arch = "x86_64"))]
fn specials(block: &[u8; BLOCK]) -> u64 {
    let is_special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    let bits = block.iter().rev().map(|byte| u64::from(is_special(byte)));
    bits.fold(0, |found, bit| found << 1 | bit)
}
