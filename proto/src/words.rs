//! The closed word lists of a network: kinds of organisation and envelope, categories, purposes.
//! Every layer uses these; the text is what SQL, logs and screens write, the number is the one in `kith/v1/*.proto`.
//! Never add a kind for enforcement, nor a category for immigration status: their absence is the design.

/// Writes a closed enumeration with its text and wire number, and both ways of parsing it.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as SQL, logs and the command line write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The number on the wire (0 is `UNSPECIFIED` and never a value).
            pub const fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::words::UnknownWord(stringify!($name))),
                }
            }
        }

        impl TryFrom<i32> for $name {
            type Error = $crate::words::UnknownWord;
            fn try_from(number: i32) -> Result<Self, Self::Error> {
                match number {
                    $($number => Ok(Self::$variant),)+
                    _ => Err($crate::words::UnknownWord(stringify!($name))),
                }
            }
        }
    };
}
pub(crate) use words;

/// A text or number outside a closed list; carries the list's name only, as the value may be personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the words for {0}")]
pub struct UnknownWord(pub &'static str);

words! {
    /// What sort of body a member is. Statutory first, then community; none for enforcement.
    OrganisationKind {
        /// General practice.
        Gp = 1 "gp",
        /// Hospital or community health trust.
        Hospital = 2 "hospital",
        /// School or college.
        School = 3 "school",
        /// Local council's support services.
        Council = 4 "council",
        /// Settlement or resettlement service.
        Settlement = 5 "settlement",
        /// Peer group.
        PeerGroup = 6 "peer_group",
        /// Faith group.
        FaithGroup = 7 "faith_group",
        /// Charity.
        Charity = 8 "charity",
        /// A community leader.
        CommunityLeader = 9 "community_leader",
    }
}

words! {
    /// What an envelope carries (design, section 5, table of kinds).
    EnvelopeKind {
        /// A closed form asked without personal data.
        Question = 1 "question",
        /// Its closed answer.
        Answer = 2 "answer",
        /// The ask and the agreed categories.
        Referral = 3 "referral",
        /// One lifecycle move; with category `progress` also words.
        Event = 4 "event",
        /// Conversation on the thread.
        Message = 5 "message",
        /// One chunk of an attachment.
        Blob = 6 "blob",
        /// The person takes consent back.
        Withdrawal = 7 "withdrawal",
        /// What the recipient did about it.
        WithdrawalProof = 8 "withdrawal_proof",
        /// Who opened the record, daily, for the person to see.
        AccessReport = 9 "access_report",
        /// Safeguarding without consent, under a disclosure note.
        Disclosure = 10 "disclosure",
    }
}

words! {
    /// One part of a referral that consent can allow or leave out.
    Category {
        /// Preferred name and how to address the person.
        Identity = 1 "identity",
        /// How to reach the person safely.
        Contact = 2 "contact",
        /// Languages, interpreter, reading.
        Communication = 3 "communication",
        /// What would help, in their words.
        Need = 4 "need",
        /// Health.
        Health = 5 "health",
        /// Family.
        Family = 6 "family",
        /// Education.
        Education = 7 "education",
        /// Practical circumstances.
        Practical = 8 "practical",
        /// Words about how it goes, flowing back.
        Progress = 9 "progress",
    }
}

words! {
    /// Why something is shared.
    Purpose {
        /// Health or social care.
        Care = 1 "care",
        /// Support by peers.
        PeerSupport = 2 "peer_support",
        /// Settling in.
        Settlement = 3 "settlement",
        /// Education.
        Education = 4 "education",
        /// Practical help.
        PracticalHelp = 5 "practical_help",
    }
}
