//! No proof at all but where a request comes from.

use model::scheme::Network;

use crate::{BadSignature, Delivery, Raw, Which};

impl Delivery<Raw> {
    /// Checks that the sender's address is of one of these networks. Whose address is not known is refused.
    ///
    /// # Errors
    /// When it is of none.
    pub fn check_networks(&self, networks: &[Network]) -> Result<Which, BadSignature> {
        match self.from() {
            None => Err(BadSignature::NoAddress),
            Some(from) if networks.iter().any(|network| network.contains(from)) => {
                Ok(Which::Current)
            }
            Some(_) => Err(BadSignature::Address),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::DateTime;
    use http::HeaderMap;

    use super::*;

    #[test]
    fn only_listed_networks_are_accepted() {
        let networks: Vec<Network> = ["192.0.2.0/24", "2001:db8::/32"]
            .map(|network| network.parse().expect("a network"))
            .into();
        let check = |from: Option<&str>| {
            Delivery::new(HeaderMap::new(), Bytes::new(), DateTime::UNIX_EPOCH)
                .coming_from(from.map(|from| from.parse().expect("an address")))
                .check_networks(&networks)
        };
        assert_eq!(check(Some("192.0.2.7")), Ok(Which::Current));
        assert_eq!(check(Some("::ffff:192.0.2.7")), Ok(Which::Current));
        assert_eq!(check(Some("2001:db8::7")), Ok(Which::Current));
        assert_eq!(check(Some("198.51.100.7")), Err(BadSignature::Address));
        assert_eq!(check(None), Err(BadSignature::NoAddress));
    }
}
