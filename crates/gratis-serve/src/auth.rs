//! Bearer tokens, compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Failure, FailureKind};

/// The secret that requests must carry. Only its hash is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token in the text of a token file, without the white space around it; `None` if there is
    /// none.
    pub fn read(text: &str) -> Option<Self> {
        let token = text.trim();
        (!token.is_empty()).then(|| Self(Sha256::digest(token.as_bytes()).into()))
    }

    /// Checks the header `Authorization` of a request.
    ///
    /// # Errors
    /// [`FailureKind::Unauthorised`].
    pub(crate) fn check(&self, header: Option<&[u8]>) -> Result<(), Failure> {
        let refused = |message| Err(Failure::new(FailureKind::Unauthorised, message));
        let Some(header) = header else {
            return refused("the request has no `Authorization: Bearer TOKEN`");
        };
        let (scheme, token) = header.split_at(header.len().min(7));
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return refused("the scheme of `Authorization` must be `Bearer`");
        }
        let given: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        // Hashes have one length, and the comparison takes the same time for any of them.
        if bool::from(given.ct_eq(&self.0)) {
            Ok(())
        } else {
            refused("the token is not the right one")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_accepted() {
        let token = Token::read(" secret\n").expect("a token");
        assert!(token.check(Some(b"Bearer secret")).is_ok());
        assert!(token.check(Some(b"bearer  secret ")).is_ok());
        for header in
            [&b"Bearer secre"[..], b"Bearer secrets", b"Bearer ", b"Basic secret", b"secret", b""]
        {
            let failure = token.check(Some(header)).expect_err("refused");
            assert_eq!(failure.kind(), FailureKind::Unauthorised);
        }
        assert!(token.check(None).is_err());
        assert!(Token::read(" \n").is_none());
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
