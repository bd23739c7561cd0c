//! The secret that a bearer token is, and what is kept of it.

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// What tokens of this installation begin with, so that they are recognised in a leak, and are not taken for a JWT.
const PREFIX: &str = "uptake_";

/// A new token: 256 random bits.
pub fn make() -> Result<String, rand::rand_core::OsError> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes)?;
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{PREFIX}{random}"))
}

/// Whether a text may be a token of this installation.
pub fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// What is stored and compared. One round of SHA-256 is enough: nobody finds 256 random bits by trying, which is what the slow
/// hashes for passwords defend against, and each request would pay for a slow one.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_their_hash_is_that_of_the_standard() {
        let (one, two) = (make().unwrap(), make().unwrap());
        assert!(one != two && is_ours(&one) && one.len() == PREFIX.len() + 64);
        // FIPS 180-2, appendix B.1.
        let abc = u128::from_be_bytes(hash("abc")[..16].try_into().unwrap());
        assert_eq!(abc, 0xba7816bf_8f01cfea_414140de_5dae2223);
    }
}
