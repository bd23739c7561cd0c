//! How far an import has come, kept over a stop.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::log::Position;

/// Everything up to here has been acknowledged by Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub position: Position,
    /// Over the ids of all records up to here, so that a file that was rewritten is not mistaken for one that has grown.
    pub chain: u64,
}

impl Mark {
    /// The mark after one more record.
    pub fn after(&mut self, id: u128, position: Position) {
        self.chain = xxh3_64_with_seed(&id.to_le_bytes(), self.chain);
        self.position = position;
    }
}

/// The file that keeps the mark of one log sent to one topic.
pub struct StateFile(PathBuf);

impl StateFile {
    /// `identity`: what makes two imports the same one.
    pub fn new(data_dir: &Path, identity: &[&str]) -> Self {
        let key = xxh3_128(identity.join("\0").as_bytes());
        Self(data_dir.join("import").join(format!("{key:032x}.json")))
    }

    /// `None`: nothing was sent yet, or what was written cannot be understood, which only costs sending again.
    pub fn load(&self) -> Option<Mark> {
        serde_json::from_slice(&std::fs::read(&self.0).ok()?).ok()
    }

    /// Whole or not at all.
    pub fn save(&self, mark: &Mark) -> anyhow::Result<()> {
        let written = || -> std::io::Result<()> {
            if let Some(directory) = self.0.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let beside = self.0.with_extension("new");
            std::fs::write(&beside, serde_json::to_vec(mark)?)?;
            std::fs::rename(&beside, &self.0)
        };
        written().with_context(|| format!("keeping the state of the import in {}", self.0.display()))
    }
}
