//! Names and ids of a network: its domain-like name, member slugs, addresses, and 128-bit ids.
//! Every layer parses text and bytes through here, once, at its edge; random bytes are arguments.
//! Never accept a second spelling of one name, and never make an id from anything about a person.

use data_encoding::HEXLOWER;
use std::fmt;
use std::str::FromStr;

/// Longest network name, in bytes.
pub const NETWORK_NAME_BYTES_MAX: usize = 63;
/// Shortest organisation id, in bytes.
pub const ORG_ID_BYTES_MIN: usize = 3;
/// Longest organisation id, in bytes.
pub const ORG_ID_BYTES_MAX: usize = 40;

/// Why a name or id was not taken, by what the caller can do; carries no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Something is missing: ask for the rest.
    #[error("too short")]
    TooShort,
    /// Something is too much: shorten it.
    #[error("too long")]
    TooLong,
    /// A character that this name never has (upper case, space, accent): retype it.
    #[error("has a character that is not allowed here")]
    Character,
    /// Right characters, wrong arrangement (no dot, no `@`, hyphen at an end or doubled): correct it.
    #[error("is not arranged as it should be")]
    Shape,
}

/// A network's name: lower-case labels `[a-z0-9-]` with at least one dot, at most 63 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as written on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = IdError;

    /// Parses the exact spelling; no trimming, no lower-casing.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::TooShort);
        }
        if text.len() > NETWORK_NAME_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        if !text.bytes().all(|b| b == b'.' || is_slug_byte(b)) {
            return Err(IdError::Character);
        }
        let label_ok = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-');
        if !text.contains('.') || !text.split('.').all(label_ok) {
            return Err(IdError::Shape);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member's id: a slug `[a-z][a-z0-9-]{1,38}[a-z0-9]` without a double hyphen, 3 to 40 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgId(String);

impl OrgId {
    /// The slug as written on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OrgId {
    type Err = IdError;

    /// Parses the exact spelling; no trimming, no lower-casing.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() < ORG_ID_BYTES_MIN {
            return Err(IdError::TooShort);
        }
        if text.len() > ORG_ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        if !text.bytes().all(is_slug_byte) {
            return Err(IdError::Character);
        }
        let first_is_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !first_is_letter || text.ends_with('-') || text.contains("--") {
            return Err(IdError::Shape);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member within its network, written `org@network`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The member.
    pub org: OrgId,
    /// The network it is a member of.
    pub network: NetworkName,
}

impl FromStr for Address {
    type Err = IdError;

    /// Parses `org@network`; the error is the first part's that fails, or `Shape` without exactly one `@`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (org, network) = text.split_once('@').ok_or(IdError::Shape)?;
        if network.contains('@') {
            return Err(IdError::Shape);
        }
        Ok(Self {
            org: org.parse()?,
            network: network.parse()?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.org, self.network)
    }
}

const fn is_slug_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

/// Writes one 128-bit id type; `shown` or `hidden` says whether `Debug` prints the value.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $debug:ident,)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes the id of 16 bytes, random ones drawn by the caller.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes as written on the wire.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Writes 32 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                ids!(@debug $debug, self, f, stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Parses exactly 32 lower-case hexadecimal digits.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            /// Takes exactly 16 bytes, as they came off the wire.
            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                exactly_16(bytes).map(Self)
            }
        }
    )+ };
    (@debug shown, $self:ident, $f:ident, $name:expr) => { write!($f, "{}({})", $name, $self) };
    (@debug hidden, $self:ident, $f:ident, $name:expr) => { write!($f, "{}(..)", $name) };
}

ids! {
    /// One envelope; also the idempotency key of its submission.
    EnvelopeId shown,
    /// One referral's thread, on both nodes; its first 40 bits give the human code.
    ThreadId shown,
    /// One slip: random for each grant and recipient, so that two slips of a person cannot be linked.
    SlipId shown,
    /// One grant, on the node that captured it; never crosses the wire in clear.
    GrantId hidden,
    /// One person at one node; never network-wide, so `Debug` does not print it.
    PersonId hidden,
    /// One event of a thread.
    EventId shown,
    /// One invite to join.
    InviteId shown,
    /// One write, chosen by the caller; a repeat gets the first answer.
    RequestId shown,
    /// One message of a thread.
    MessageId shown,
    /// One withdrawal of consent.
    WithdrawalId shown,
    /// One token of a node's own organisation; never the token itself.
    TokenId shown,
    /// One body of content at one node that is erased as one; never crosses the wire.
    HoldingId shown,
}

fn parse_hex(text: &str) -> Result<[u8; 16], IdError> {
    if !text.is_ascii() {
        return Err(IdError::Character);
    }
    if text.len() != 32 {
        return Err(if text.len() < 32 {
            IdError::TooShort
        } else {
            IdError::TooLong
        });
    }
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| IdError::Character)?;
    exactly_16(&bytes)
}

fn exactly_16(bytes: &[u8]) -> Result<[u8; 16], IdError> {
    <[u8; 16]>::try_from(bytes).map_err(|_| {
        if bytes.len() < 16 {
            IdError::TooShort
        } else {
            IdError::TooLong
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(text: &str) -> Result<OrgId, IdError> {
        text.parse()
    }

    fn network(text: &str) -> Result<NetworkName, IdError> {
        text.parse()
    }

    #[test]
    fn org_ids_are_slugs() {
        for good in ["riverside-gp", "abc", "a-1", &format!("a{}", "b".repeat(39))] {
            assert_eq!(org(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(41);
        let table = [
            ("", IdError::TooShort),
            ("ab", IdError::TooShort),
            (&long, IdError::TooLong),
            ("River", IdError::Character),
            ("rivér", IdError::Character),
            ("a b", IdError::Character),
            ("1st", IdError::Shape),
            ("-ab", IdError::Shape),
            ("ab-", IdError::Shape),
            ("a--b", IdError::Shape),
        ];
        for (bad, why) in table {
            assert_eq!(org(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn network_names_are_like_domains() {
        for good in [
            "lune-valley.example",
            "a.b",
            "1.2",
            &format!("{}.bc", "a".repeat(60)),
        ] {
            assert_eq!(network(good).unwrap().to_string(), good);
        }
        let long = format!("{}.bc", "a".repeat(61));
        let table = [
            ("", IdError::TooShort),
            (&long, IdError::TooLong),
            ("Lune.example", IdError::Character),
            ("lune_valley.example", IdError::Character),
            ("localhost", IdError::Shape),
            (".example", IdError::Shape),
            ("lune.", IdError::Shape),
            ("a..b", IdError::Shape),
            ("-a.b", IdError::Shape),
            ("a-.b", IdError::Shape),
        ];
        for (bad, why) in table {
            assert_eq!(network(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn addresses_round_trip() {
        let text = "riverside-gp@lune-valley.example";
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        for bad in [
            "riverside-gp",
            "a@b@c.d",
            "abc@d.e@f",
            "@lune.example",
            "abc@",
            "abc@localhost",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_round_trip_as_text_and_bytes() {
        let id = ThreadId::from_bytes(std::array::from_fn(|i| i as u8 * 17));
        let text = id.to_string();
        assert_eq!(text, "00112233445566778899aabbccddeeff");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(ThreadId::try_from(id.as_bytes().as_slice()), Ok(id));
        assert_eq!(text.to_uppercase().parse::<ThreadId>(), Err(IdError::Character));
        assert_eq!("00".parse::<ThreadId>(), Err(IdError::TooShort));
        assert_eq!("0".repeat(33).parse::<ThreadId>(), Err(IdError::TooLong));
        assert_eq!("é".repeat(16).parse::<ThreadId>(), Err(IdError::Character));
        assert_eq!(SlipId::try_from([0_u8; 15].as_slice()), Err(IdError::TooShort));
        assert_eq!(SlipId::try_from([0_u8; 17].as_slice()), Err(IdError::TooLong));
    }

    #[test]
    fn debug_never_prints_a_person() {
        assert_eq!(format!("{:?}", PersonId::from_bytes([7; 16])), "PersonId(..)");
        assert_eq!(format!("{:?}", GrantId::from_bytes([7; 16])), "GrantId(..)");
        assert!(format!("{:?}", SlipId::from_bytes([7; 16])).contains("0707"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_refused_or_parsed_to_itself(text in "(?s).{0,80}|[a-z0-9.@-]{0,80}") {
            if let Ok(id) = org(&text) {
                proptest::prop_assert_eq!(id.to_string(), text.clone());
            }
            if let Ok(name) = network(&text) {
                proptest::prop_assert_eq!(name.to_string(), text.clone());
            }
            if let Ok(address) = text.parse::<Address>() {
                proptest::prop_assert_eq!(address.to_string(), text.clone());
            }
            if let Ok(id) = text.parse::<ThreadId>() {
                proptest::prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
