//! Keyed hashing of user ids, so that no clear id enters event storage (product.md, Privacy).
//!
//! A secret is a line of text, and one more for each time that it was rotated. The first line makes the pseudonyms, each further one enciphers
//! them anew. So who rotates needs no ids: what is stored is enciphered once more (`store::rotation`), and who knows only the former lines can
//! compute nothing that is stored now.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The first 128 bits of HMAC-SHA-256(first line of the secret, user id), enciphered by AES-256 under each further line.
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
    /// Of the further lines.
    ciphers: Vec<Aes256>,
}

impl Pseudonymizer {
    pub fn new(secret: &[u8]) -> Self {
        let (first, further) = match secret.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&secret[..end], &secret[end + 1..]),
            None => (secret, &[][..]),
        };
        let further = further.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Self {
            keyed: keyed(first),
            ciphers: further.map(cipher).collect(),
        }
    }

    /// The same id and secret always give the same pseudonym, whatever the system.
    pub fn pseudonym(&self, user_id: &str) -> Pseudonym {
        Pseudonym(self.encipher(self.hash(&[user_id.as_bytes()])))
    }

    pub fn tombstone(&self, user: Pseudonym) -> Tombstone {
        let made_first = self.decipher(user.0);
        // No user id holds a zero byte, so that no pseudonym is a tombstone.
        Tombstone(self.encipher(self.hash(&[b"erased\0", &made_first])))
    }

    /// By what the secret is recognised, without telling it.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.encipher(self.hash(&[b"secret\0"]))
    }

    /// Under the secret without its last line; None where it has only one.
    pub fn before_rotation(&self) -> Option<Self> {
        let mut before = self.clone();
        before.ciphers.pop().map(|_| before)
    }

    /// What a pseudonym or tombstone of [`Self::before_rotation`] is now.
    pub fn rotated(&self, before: [u8; 16]) -> [u8; 16] {
        let last = self.ciphers.last();
        last.map_or(before, |cipher| encipher(before, cipher))
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

    fn encipher(&self, hash: [u8; 16]) -> [u8; 16] {
        self.ciphers.iter().fold(hash, encipher)
    }

    fn decipher(&self, stored: [u8; 16]) -> [u8; 16] {
        self.ciphers.iter().rev().fold(stored, |stored, cipher| {
            let mut block = stored.into();
            cipher.decrypt_block(&mut block);
            block.into()
        })
    }
}

fn encipher(hash: [u8; 16], cipher: &Aes256) -> [u8; 16] {
    let mut block = hash.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

fn keyed(line: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(line).expect("HMAC takes a key of any length")
}

fn cipher(line: &[u8]) -> Aes256 {
    Aes256::new(&keyed(line).chain_update(b"rotation\0").finalize().into_bytes())
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

    #[test]
    fn each_further_line_enciphers_what_the_lines_before_it_made() {
        let (one, two, three) = (b"one".as_slice(), b"one\ntwo".as_slice(), b"one\ntwo\nthree".as_slice());
        let [one, two, three] = [one, two, three].map(Pseudonymizer::new);
        let made = [&one, &two, &three].map(|made_by| made_by.pseudonym("u-1"));
        assert!(made[0] != made[1] && made[1] != made[2] && made[0] != made[2]);
        for (before, after) in [(&one, &two), (&two, &three)] {
            let user = before.pseudonym("u-1");
            assert_eq!(after.rotated(user.0), after.pseudonym("u-1").0);
            let erased = [before, after].map(|made_by| made_by.tombstone(made_by.pseudonym("u-1")));
            assert_eq!(after.rotated(erased[0].0), erased[1].0);
            assert_eq!(after.before_rotation().unwrap().pseudonym("u-1"), user);
            assert_ne!(before.fingerprint(), after.fingerprint());
        }
        assert!(one.before_rotation().is_none());
        assert_ne!(Pseudonymizer::new(b"one\nzwei").pseudonym("u-1"), made[1]);
    }
}
