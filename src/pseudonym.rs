//! Keyed hashing of user ids, so that no clear id enters event storage (product.md, Privacy).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The first 128 bits of HMAC-SHA-256(secret, user id).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym(pub [u8; 16]);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is remembered of an erased user: leads to the pseudonym only for who holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tombstone(pub [u8; 16]);

/// Turns user ids into pseudonyms under one secret.
#[derive(Clone)]
pub struct Pseudonymizer {
    keyed: Hmac<Sha256>,
}

impl Pseudonymizer {
    pub fn new(secret: &[u8]) -> Self {
        Self {
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"),
        }
    }

    /// The same id and secret always give the same pseudonym, whatever the system.
    pub fn pseudonym(&self, user_id: &str) -> Pseudonym {
        Pseudonym(self.hash(&[user_id.as_bytes()]))
    }

    pub fn tombstone(&self, user: Pseudonym) -> Tombstone {
        // No user id holds a zero byte, so that no pseudonym is a tombstone.
        Tombstone(self.hash(&[b"erased\0", &user.0]))
    }

    /// By what the secret is recognised, without telling it.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.hash(&[b"secret\0"])
    }

    fn hash(&self, pieces: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.keyed.clone();
        for piece in pieces {
            mac.update(piece);
        }
        let digest = mac.finalize().into_bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_head_of_hmac_sha_256() {
        // RFC 4231, test case 2.
        let pseudonym = Pseudonymizer::new(b"Jefe").pseudonym("what do ya want for nothing?");
        assert_eq!(pseudonym.to_string(), "5bdcc146bf60754e6a042426089575c7");
    }
}
