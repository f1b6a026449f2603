//! The one table that says whether an envelope may pass: by kind, direction, slip, members, header and time.
//! The sender's node, the gateway and the recipient's node call `permits` with what each has verified itself.
//! It must never read a clock, touch a store, look at a body, or grow a way around a refusal.
//!
//! ```text
//! kind               needs        way      may declare             expired or      suspended
//!                                                                  withdrawn slip  member
//! question, answer   membership   either   nothing                 no slip needed  refused
//! referral           live slip    forward  what the slip allows    refused         refused
//! message, blob      live slip    either   what the slip allows    refused         refused
//! event with words   live slip    either   progress, if it flows   refused         refused
//! access_report      live slip    either   nothing                 refused         refused
//! event, bare        known slip   either   nothing                 passes          passes
//! withdrawal, proof  known slip   either   nothing                 passes          passes
//! disclosure         signed note  either   anything                no slip needed  refused
//! ```
//!
//! What no row lifts: both are members, and they differ; wherever a slip is needed, its two parties are the
//! header's two.
//! The first failing check names the refusal, in this order: shape, membership, suspension, note or slip,
//! parties, withdrawal, expiry, direction, categories.

use std::fmt;

use crate::words::{Category, EnvelopeKind, Purpose};

/// A set of categories, one bit each, at the category's wire number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CategorySet(u16);

impl CategorySet {
    /// The set with nothing in it.
    pub const EMPTY: Self = Self(0);

    fn bit(category: Category) -> u16 {
        1 << category.number()
    }

    /// Adds one category; adding it again changes nothing.
    pub fn insert(&mut self, category: Category) {
        self.0 |= Self::bit(category);
    }

    /// Says whether the category is in the set.
    pub fn contains(self, category: Category) -> bool {
        self.0 & Self::bit(category) != 0
    }

    /// Says whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Says whether every category of this set is also in the other.
    pub fn is_subset(self, other: Self) -> bool {
        self.missing_from(other).is_empty()
    }

    /// Gives the categories of this set that the other lacks.
    pub fn missing_from(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Walks the categories in wire order.
    pub fn iter(self) -> impl Iterator<Item = Category> {
        Category::ALL
            .iter()
            .copied()
            .filter(move |category| self.contains(*category))
    }
}

impl FromIterator<Category> for CategorySet {
    fn from_iter<I: IntoIterator<Item = Category>>(categories: I) -> Self {
        let mut set = Self::EMPTY;
        categories.into_iter().for_each(|category| set.insert(category));
        set
    }
}

impl fmt::Display for CategorySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, category) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{category}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CategorySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// Which way an envelope goes along its slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the capturing member to the slip's other party.
    Forward,
    /// From the other party to the capturing member.
    Back,
}

impl Direction {
    /// Finds the direction from slip and header; `None` if their two parties differ as sets.
    pub fn of(slip: &SlipTerms<'_>, header: Header<'_>) -> Option<Self> {
        if (header.from, header.to) == (slip.from, slip.to) {
            Some(Self::Forward)
        } else if (header.from, header.to) == (slip.to, slip.from) {
            Some(Self::Back)
        } else {
            None
        }
    }
}

/// Where a slip stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlipState {
    /// No such slip is held here.
    Unknown,
    /// It allows what its terms say.
    Live,
    /// Its time has come.
    Expired,
    /// It was taken back; this outweighs expiry.
    Withdrawn,
}

impl SlipState {
    /// Finds the state; a slip is expired from the very millisecond of its expiry on.
    pub fn of(slip: Option<&SlipTerms<'_>>, now_ms: i64) -> Self {
        match slip {
            None => Self::Unknown,
            Some(terms) if terms.withdrawn => Self::Withdrawn,
            Some(terms) if now_ms >= terms.expires_at_ms => Self::Expired,
            Some(_) => Self::Live,
        }
    }
}

/// Where an organisation stands in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It takes part.
    Active,
    /// It is a member that may only end things.
    Suspended,
    /// It never joined, or it left.
    NotMember,
}

/// The standing of both ends of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    /// The standing of the header's `from`.
    pub from: MemberState,
    /// The standing of the header's `to`.
    pub to: MemberState,
}

/// The two organisations that an envelope's head names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The slug of the organisation that sends it.
    pub from: &'a str,
    /// The slug of the organisation that it is for.
    pub to: &'a str,
}

/// What an envelope asks to carry.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its kind.
    pub kind: EnvelopeKind,
    /// The categories that its head declares.
    pub declared: &'a CategorySet,
    /// Whether an `EVENT` is a lifecycle code without words; ignored for every other kind.
    pub bare: bool,
    /// Whether a disclosure note is there whose signature and approvals the caller has verified.
    pub disclosure_note: bool,
}

/// What a slip allows, read from one whose signature the caller has verified.
#[derive(Clone, Copy, Debug)]
pub struct SlipTerms<'a> {
    /// The slug of the capturing member.
    pub from: &'a str,
    /// The slug of the other party.
    pub to: &'a str,
    /// What it may be used for; with none, it consents to nothing.
    pub purposes: &'a [Purpose],
    /// What may be shared; `progress` counts only by the field of that name.
    pub categories: CategorySet,
    /// The first millisecond (UTC) at which it no longer holds.
    pub expires_at_ms: i64,
    /// Whether `progress` may flow.
    pub progress: bool,
    /// Whether it was taken back.
    pub withdrawn: bool,
}

impl SlipTerms<'_> {
    /// Gives what may be declared under the slip: its categories, and `progress` exactly if it may flow.
    pub fn allowed(&self) -> CategorySet {
        let others = self
            .categories
            .iter()
            .filter(|category| *category != Category::Progress);
        others
            .chain(self.progress.then_some(Category::Progress))
            .collect()
    }
}

/// Why an envelope may not pass, told apart by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Ask the person for consent.
    #[error("no consent covers this")]
    ConsentMissing,
    /// Ask the person to renew it.
    #[error("the consent has expired")]
    ConsentExpired,
    /// Stop; the person took it back.
    #[error("the consent was withdrawn")]
    ConsentWithdrawn,
    /// Choose the party that the slip names, or send the referral from the side that captured consent.
    #[error("the consent does not allow sending this to that recipient")]
    RecipientNotAllowed,
    /// Leave these categories out, or ask the person for them.
    #[error("not allowed: {0}")]
    CategoryNotAllowed(CategorySet),
    /// Choose another organisation, or join.
    #[error("not a member of the network")]
    NotAMember,
    /// Wait for the suspension to end.
    #[error("a member is suspended")]
    MemberSuspended,
    /// Get the disclosure note signed.
    #[error("a disclosure needs a signed note")]
    DisclosureNoteMissing,
    /// Repair the program that made the envelope.
    #[error("the envelope contradicts itself")]
    Invalid,
}

impl Refusal {
    /// Gives the problem code that every API answers with.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ConsentMissing => "consent_missing",
            Self::ConsentExpired => "consent_expired",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::RecipientNotAllowed => "recipient_not_allowed",
            Self::CategoryNotAllowed(_) => "category_not_allowed",
            Self::NotAMember => "not_a_member",
            Self::MemberSuspended => "member_suspended",
            Self::DisclosureNoteMissing => "disclosure_note_missing",
            Self::Invalid => "invalid",
        }
    }
}

/// What must stand behind an envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Membership,
    Note,
    LiveSlip,
    /// Also expired, withdrawn, or between suspended members: these only ever end things.
    KnownSlip,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Either,
    Forward,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Declares {
    Nothing,
    BySlip,
    Progress,
    Anything,
}

/// The table: one row for each kind, two for `EVENT`.
const fn row(kind: EnvelopeKind, bare: bool) -> (Needs, Way, Declares) {
    use EnvelopeKind as Kind;
    match (kind, bare) {
        (Kind::Question | Kind::Answer, _) => (Needs::Membership, Way::Either, Declares::Nothing),
        (Kind::Referral, _) => (Needs::LiveSlip, Way::Forward, Declares::BySlip),
        (Kind::Message | Kind::Blob, _) => (Needs::LiveSlip, Way::Either, Declares::BySlip),
        (Kind::Event, false) => (Needs::LiveSlip, Way::Either, Declares::Progress),
        (Kind::AccessReport, _) => (Needs::LiveSlip, Way::Either, Declares::Nothing),
        (Kind::Event, true) => (Needs::KnownSlip, Way::Either, Declares::Nothing),
        (Kind::Withdrawal | Kind::WithdrawalProof, _) => (Needs::KnownSlip, Way::Either, Declares::Nothing),
        (Kind::Disclosure, _) => (Needs::Note, Way::Either, Declares::Anything),
    }
}

/// Says whether an envelope may pass now, and if not, why.
///
/// `slip` is `None` when the slip is unknown here, or when the envelope names none.
pub fn permits(
    asked: &Asked<'_>,
    header: Header<'_>,
    slip: Option<&SlipTerms<'_>>,
    members: Members,
    now_ms: i64,
) -> Result<(), Refusal> {
    let (needs, way, declares) = row(asked.kind, asked.bare);
    check_shape(asked, header)?;
    check_members(needs, members)?;
    let allowed = match needs {
        Needs::Membership => CategorySet::EMPTY,
        Needs::Note if asked.disclosure_note => CategorySet::EMPTY,
        Needs::Note => return Err(Refusal::DisclosureNoteMissing),
        Needs::LiveSlip | Needs::KnownSlip => check_slip(needs, way, header, slip, now_ms)?,
    };
    check_categories(declares, *asked.declared, allowed)
}

fn check_shape(asked: &Asked<'_>, header: Header<'_>) -> Result<(), Refusal> {
    let parties = !header.from.is_empty() && !header.to.is_empty() && header.from != header.to;
    // Words of an event are what `progress` declares: neither comes without the other.
    let words =
        asked.kind != EnvelopeKind::Event || asked.bare != asked.declared.contains(Category::Progress);
    if parties && words {
        Ok(())
    } else {
        Err(Refusal::Invalid)
    }
}

fn check_members(needs: Needs, members: Members) -> Result<(), Refusal> {
    let either = |state| members.from == state || members.to == state;
    if either(MemberState::NotMember) {
        Err(Refusal::NotAMember)
    } else if either(MemberState::Suspended) && needs != Needs::KnownSlip {
        Err(Refusal::MemberSuspended)
    } else {
        Ok(())
    }
}

/// Checks the slip for a kind that needs one, and gives what it allows to be declared.
fn check_slip(
    needs: Needs,
    way: Way,
    header: Header<'_>,
    slip: Option<&SlipTerms<'_>>,
    now_ms: i64,
) -> Result<CategorySet, Refusal> {
    let terms = slip.ok_or(Refusal::ConsentMissing)?;
    let direction = Direction::of(terms, header).ok_or(Refusal::RecipientNotAllowed)?;
    if needs == Needs::LiveSlip {
        match SlipState::of(slip, now_ms) {
            SlipState::Unknown => return Err(Refusal::ConsentMissing),
            SlipState::Withdrawn => return Err(Refusal::ConsentWithdrawn),
            SlipState::Expired => return Err(Refusal::ConsentExpired),
            SlipState::Live if terms.purposes.is_empty() => return Err(Refusal::ConsentMissing),
            SlipState::Live => {}
        }
    }
    if way == Way::Forward && direction == Direction::Back {
        return Err(Refusal::RecipientNotAllowed);
    }
    Ok(terms.allowed())
}

fn check_categories(declares: Declares, declared: CategorySet, allowed: CategorySet) -> Result<(), Refusal> {
    let allowed = match declares {
        Declares::Nothing => CategorySet::EMPTY,
        Declares::BySlip => allowed,
        Declares::Progress => allowed
            .iter()
            .filter(|category| *category == Category::Progress)
            .collect(),
        Declares::Anything => declared,
    };
    let missing = declared.missing_from(allowed);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Refusal::CategoryNotAllowed(missing))
    }
}

#[cfg(test)]
mod tests;
