//! How far what is stored is from what must be.

/// Differences told one by one; the others are only counted.
const TOLD: usize = 20;

#[derive(Default)]
pub struct Differences {
    pub lost: u64,
    pub twice: u64,
    pub told: Vec<String>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.lost == 0 && self.twice == 0
    }

    pub fn lose(&mut self, count: u64, what: impl FnOnce() -> String) {
        self.lost += count;
        self.tell(what);
    }

    pub fn double(&mut self, count: u64, what: impl FnOnce() -> String) {
        self.twice += count;
        self.tell(what);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }
}
