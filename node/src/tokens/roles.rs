//! Roles within one organisation, and sets of them. Called by tokens and the gRPC role table.
//! Never a role that skips consent: there is none.

use std::fmt;
use std::str::FromStr;

use kith_proto::words::UnknownWord;

/// What somebody of the organisation does (design, section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Own persons, sending, own threads.
    Referrer,
    /// Every person and thread of the organisation.
    Coordinator,
    /// Trails and proofs, lists without content.
    Auditor,
    /// Members, tokens, services, settings; no content.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Referrer, Self::Coordinator, Self::Auditor, Self::Admin];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Referrer => "referrer",
            Self::Coordinator => "coordinator",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownWord("Role"))
    }
}

/// The roles of one token: a volunteer is often admin and coordinator at once.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Whether this role is among them.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role.bit()))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, role) in self.iter().enumerate() {
            write!(f, "{}{role}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

impl FromStr for Roles {
    type Err = UnknownWord;

    /// Reads the words with a space between.
    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        text.split(' ').map(str::parse::<Role>).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_round_trip_in_one_spelling() {
        for bits in 1..16_u8 {
            let roles: Roles = Role::ALL
                .into_iter()
                .filter(|role| bits & role.bit() != 0)
                .collect();
            assert_eq!(roles.to_string().parse(), Ok(roles));
            assert_eq!(roles.iter().count(), bits.count_ones() as usize);
        }
        assert!("".parse::<Roles>().is_err() && "admin,auditor".parse::<Roles>().is_err());
        let both: Roles = [Role::Admin, Role::Coordinator].into_iter().collect();
        assert_eq!(both.to_string(), "coordinator admin");
        assert!(both.contains(Role::Admin) && !both.contains(Role::Auditor));
    }
}
