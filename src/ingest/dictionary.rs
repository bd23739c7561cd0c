//! A column of texts that repeat: ClickHouse's `LowCardinality(String)`.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Version of the format: the texts come with each block.
const VERSION: u64 = 1;
/// The texts come with this block, and belong to no other.
const OWN_TEXTS: u64 = 0x600;

/// Every text once, and for each row the number of its text.
#[derive(Default)]
pub struct Dictionary {
    /// One after the other, each with its length before it.
    texts: Vec<u8>,
    /// Where each text begins and ends in `texts`.
    spans: Vec<(usize, usize)>,
    index: HashTable<u32>,
    rows: Vec<u32>,
}

impl Dictionary {
    pub fn with_room(rows: usize) -> Self {
        Self {
            rows: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    /// Gives the bytes that it took.
    pub fn push(&mut self, text: &str) -> usize {
        let before = self.texts.len();
        let number = match self.rows.last() {
            Some(&last) if is_same(self.text(last), text.as_bytes()) => last,
            _ => self.number(text),
        };
        self.rows.push(number);
        size_of::<u32>() + self.texts.len() - before
    }

    pub fn push_many(&mut self, text: &str, rows: usize) {
        let number = self.number(text);
        self.rows.resize(self.rows.len() + rows, number);
    }

    fn text(&self, number: u32) -> &[u8] {
        let (from, to) = self.spans[number as usize];
        &self.texts[from..to]
    }

    /// A batch has fewer texts than 32 bits can count.
    fn number(&mut self, text: &str) -> u32 {
        let hash = xxh3_64(text.as_bytes());
        if let Some(&number) = self
            .index
            .find(hash, |&number| is_same(self.text(number), text.as_bytes()))
        {
            return number;
        }
        let number = self.spans.len() as u32;
        varint(&mut self.texts, text.len());
        let from = self.texts.len();
        self.texts.extend_from_slice(text.as_bytes());
        self.spans.push((from, self.texts.len()));
        let Self {
            texts, spans, index, ..
        } = self;
        index.insert_unique(hash, number, |&number| {
            let (from, to) = spans[number as usize];
            xxh3_64(&texts[from..to])
        });
        number
    }

    /// The column in ClickHouse's Native format, with the narrowest numbers that will do.
    pub fn into_column(self) -> Vec<u8> {
        let (width, numbers): (u64, Vec<u8>) = match self.spans.len() {
            ..=0x100 => (0, self.rows.iter().map(|&number| number as u8).collect()),
            0x101..=0x1_0000 => (
                1,
                self.rows
                    .iter()
                    .flat_map(|&number| (number as u16).to_le_bytes())
                    .collect(),
            ),
            _ => (2, self.rows.iter().flat_map(|&number| number.to_le_bytes()).collect()),
        };
        let heads = [VERSION, OWN_TEXTS | width, self.spans.len() as u64];
        let mut column: Vec<u8> = heads.into_iter().flat_map(u64::to_le_bytes).collect();
        column.extend(self.texts);
        column.extend((self.rows.len() as u64).to_le_bytes());
        column.extend(numbers);
        column
    }
}

/// As `==`, without the call that costs more than the comparison: most texts are short.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let same_words = || a_words.iter().zip(b_words).all(|(a, b)| a == b);
    a.len() == b.len() && same_words() && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

/// LEB128.
pub fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
