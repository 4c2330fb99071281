//! Who sent it: HMAC-SHA256 of the exact bytes, base64 with padding, by the app's client secret.
//!
//! Facts: the platform's documentation of webhook verification; `@shopify/shopify-api` behaves the same. After a rotation
//! the platform goes on signing with the oldest secret that is not revoked, up to an hour, so two are accepted.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// The secrets of an app, ready for use.
#[derive(Clone)]
pub struct SigningSecrets {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

impl SigningSecrets {
    /// The client secret, and the one before it while a rotation goes on.
    pub fn new(current: &str, previous: Option<&str>) -> Self {
        let key = |secret: &str| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Self { current: key(current), previous: previous.map(key) }
    }

    /// Whether one of the secrets signed `body`. Takes the same time whatever is wrong with the signature.
    pub fn signed(&self, body: &[u8], signature: &[u8]) -> bool {
        // 32 bytes have 44 characters, and decode to no other length.
        let mut tag = [0; 33];
        let Ok(length) = STANDARD.decode_slice(signature, &mut tag) else { return false };
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| hmac::verify(key, body, &tag[..length]).is_ok())
    }

    /// The signature of `body` by the current secret.
    pub fn sign(&self, body: &[u8]) -> String {
        STANDARD.encode(hmac::sign(&self.current, body))
    }
}

/// Whether a text has the form of a signature: 32 bytes in base64, which are 44 characters, the last of them padding.
pub(super) fn is_signature(text: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len() == 44 && text.ends_with(b"=") && text[..43].iter().all(is_base64)
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        r#"{"id":820982911946154508,"title":"Café \u0026 <b>\/x</b>","updated_at":"2021-12-31T19:00:00-05:00"}"#;
    const SIGNATURE: &str = "d3gNa/o1nVHekQaLgCuGAIweA3/dwH4yJMRCejRmjRY=";

    #[test]
    fn the_exact_bytes_are_signed() {
        let secrets = SigningSecrets::new("test-client-secret-0123456789", None);
        assert!(secrets.signed(BODY.as_bytes(), SIGNATURE.as_bytes()));
        assert_eq!(secrets.sign(BODY.as_bytes()), SIGNATURE);
        assert!(!secrets.signed(BODY.replace("\\/", "/").as_bytes(), SIGNATURE.as_bytes()));
    }

    #[test]
    fn during_a_rotation_both_secrets_sign() {
        let secrets = SigningSecrets::new("new", Some("test-client-secret-0123456789"));
        assert!(secrets.signed(BODY.as_bytes(), SIGNATURE.as_bytes()));
        assert!(secrets.signed(BODY.as_bytes(), SigningSecrets::new("new", None).sign(BODY.as_bytes()).as_bytes()));
        assert!(!SigningSecrets::new("new", None).signed(BODY.as_bytes(), SIGNATURE.as_bytes()));
    }

    #[test]
    fn only_the_standard_spelling_is_a_signature() {
        let secrets = SigningSecrets::new("test-client-secret-0123456789", None);
        let hex = "77780d6bfa359d51de91068b802b86008c1e037fddc07e3224c4427a34668d16";
        for wrong in ["", "=", "fake", hex, &SIGNATURE.replace('/', "_"), &SIGNATURE[..43], &format!("{SIGNATURE} ")] {
            assert!(!secrets.signed(BODY.as_bytes(), wrong.as_bytes()), "{wrong}");
        }
    }
}
