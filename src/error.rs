//! The one distinction that every caller needs: whose mistake it was.

/// Something the user gave is wrong: a config key, a file, an argument. The message names the place, the value and what
/// was expected. On the command line it ends with exit code 2; everything else that fails ends with 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(String);

impl BadInput {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
