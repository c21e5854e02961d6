//! Keyed hashes of values.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::values::lower;

/// The key of hashes.
#[derive(Clone)]
pub(super) struct HashKey(Hmac<Sha256>);

impl HashKey {
    pub(super) fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("any length is a key"))
    }

    /// A random key, the same as long as the process runs.
    pub(super) fn of_this_process() -> Self {
        static KEY: OnceLock<String> = OnceLock::new();
        let random = || {
            let state = RandomState::new();
            (0..4_u8).map(|part| format!("{:016x}", state.hash_one(part))).collect()
        };
        Self::new(KEY.get_or_init(random))
    }

    /// `hmac-` and 32 hex digits. Case does not count, since it does not in addresses.
    pub(super) fn hash(&self, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(lower(value).as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("hmac-{hex}")
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_hmac_sha_256() {
        // printf ada@example.com | openssl dgst -sha256 -hmac 0123456789abcdef | cut -c1-32
        let key = HashKey::new("0123456789abcdef");
        assert_eq!(key.hash("Ada@example.com"), key.hash("ada@EXAMPLE.com"));
        assert_eq!(key.hash("ada@example.com"), "hmac-512383176ce1b4c279ee430548cf07ec");
        assert_ne!(key.hash("ada@example.com"), HashKey::new("fedcba9876543210").hash("ada@example.com"));
        assert_eq!(format!("{key:?}"), "***");
        assert_eq!(key.hash("Émile"), key.hash("éMILE"));
    }
}
