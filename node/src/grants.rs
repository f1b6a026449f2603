//! Consent as the person gave it: the statement, the record of a grant, its slips.
//! Called by the gRPC edge; sending and withdrawals read what is written here.
//! Never issues a slip to an organisation that the grant does not name, never one that outlives the grant.

mod record;
mod review;
mod shown;
mod statement;
mod stop;
mod trail;

use kith_proto::id::{GrantId, OrgId, PersonId, RequestId, SlipId};
use kith_proto::permits::{CategorySet, MemberState};
use kith_proto::problem::Problem;
use kith_proto::sign::SigningFailed;
use kith_proto::slip::{
    SLIP_LIFE_MS_MAX, SignedSlip, Slip, SlipError, person_commitment, stop_hash, stop_secret_of,
};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};
use kith_service::rng::RandomFailed;
use kith_service::status::Failure;
use kith_service::store::{StoreError, Tx};
use prost::Message as _;

use crate::audit;
use crate::content::{ContentError, HoldingKeys, PREPARED_MAX, Place, Section};
use crate::node::Node;
use crate::parts::text_fault;
use crate::persons::{self, PersonError};
use crate::requests::{self, Asked};
use crate::store;
use crate::store::content::{ContentKind, NewContent};
use crate::store::counter::Counter;
use crate::store::grant::{GrantRecord, GrantState};
use crate::store::holding::{Holding, HoldingKind};
use crate::store::person::Person;
use crate::store::slip::{SlipRow, SlipSide};
use crate::tokens::Caller;

pub use record::consent_record;
pub use review::{DEMO_REVIEWER, NewReview, REVIEWER_BYTES_MAX, ReviewError, review, reviewed_statement};
pub use shown::{Page, get, list};
pub use statement::{STATEMENT, is_in_language, text as statement_text};
pub use stop::{by_stop_seed, stop_code};

/// How long a grant holds when nobody chose: 90 days.
pub const GRANT_LIFE_MS_DEFAULT: i64 = 90 * 24 * 60 * 60 * 1000;
/// Most recipients of one grant: as many as can be named to a person in one talk.
pub const RECIPIENTS_MAX: usize = 20;
/// Longest record of what the person understood, in bytes.
pub const UNDERSTOOD_BYTES_MAX: usize = 2 << 10;

/// A grant to record.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// Whose.
    pub person_id: PersonId,
    /// How consent was captured.
    pub capture: v1::Capture,
    /// What was allowed, once for each recipient.
    pub allowed: Vec<Allowed>,
    /// The basis that this organisation relies on.
    pub lawful_basis: v1::LawfulBasis,
    /// When it ends, ms UTC; 0 for [`GRANT_LIFE_MS_DEFAULT`] from now.
    pub expires_at_ms: i64,
}

/// What the person allowed one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The recipient.
    pub recipient: OrgId,
    /// The parts that may be shared; `progress` has its own field.
    pub categories: CategorySet,
    /// What for; at least one.
    pub purposes: Vec<Purpose>,
    /// Whether words about how it goes may flow.
    pub progress: bool,
}

/// Why a grant was not recorded or shown, by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A field is wrong: its name, its problem and a sentence.
    #[error("{field} is wrong")]
    Field {
        /// The field's name in the request.
        field: &'static str,
        /// The problem.
        problem: Problem,
        /// What is wrong, for whoever filled it in.
        sentence: &'static str,
    },
    /// Nobody of this organisation stands for the consent text yet: an admin reviews it.
    #[error("the consent text was not reviewed")]
    Unreviewed,
    /// No such grant or person, or not this caller's.
    #[error("no such grant")]
    NotFound,
    /// A recipient is no member of the network.
    #[error("a recipient is no member of the network")]
    NotAMember,
    /// What persons answer.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// What slips answer.
    #[error(transparent)]
    Slip(#[from] SlipError),
}

impl GrantError {
    /// The problem code.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Field { problem, .. } => *problem,
            Self::Unreviewed => Problem::Invalid,
            Self::NotFound => Problem::NotFound,
            Self::NotAMember => Problem::NotAMember,
            Self::Person(error) => error.problem(),
            Self::Slip(error) => error.problem(),
        }
    }

    /// What the edge answers.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Field {
                field,
                problem,
                sentence,
            } => Failure::new(*problem).with_field(*field, *sentence),
            Self::Unreviewed => Failure::new(Problem::Invalid).with_field(
                "capture.text_hash",
                "Nobody at your organisation has reviewed this consent text yet. Ask your admin to read it and run \
                 `kith-node statement review`.",
            ),
            Self::Person(error) => error.failure(),
            _ => Failure::new(self.problem()),
        }
    }
}

macro_rules! through_person {
    ($($error:ty),+) => { $(
        impl From<$error> for GrantError {
            fn from(error: $error) -> Self {
                Self::Person(error.into())
            }
        }
    )+ };
}
through_person!(StoreError, ContentError, RandomFailed, requests::RepeatError);

impl From<SigningFailed> for GrantError {
    fn from(_: SigningFailed) -> Self {
        Self::Slip(SlipError::Library)
    }
}

/// Records a grant and issues one slip for each recipient. The stop seed in the answer is for the person's sheet.
pub async fn record(
    node: &Node,
    caller: &Caller,
    new: &NewGrant,
) -> Result<v1::RecordGrantResponse, GrantError> {
    let mut again = 1..PREPARED_MAX;
    loop {
        match record_once(node, caller, new).await {
            Err(GrantError::Person(error)) if error.is_overtaken() && again.next().is_some() => {}
            done => return done,
        }
    }
}

async fn record_once(
    node: &Node,
    caller: &Caller,
    new: &NewGrant,
) -> Result<v1::RecordGrantResponse, GrantError> {
    let now_ms = node.now_ms();
    let asked = Asked::new("record_grant", new.request_id, &request(new));
    // A repeat is not judged anew: the day that was named may have passed since.
    if let Some(mut first) = first_answer(node, &asked).await? {
        let (_, own) = person_with_keys(node, caller, new).await?;
        first.stop_seed = stop_seed(node, &own, &first.grant_id).await?;
        return Ok(first);
    }
    let expires_at_ms = check(node, new, now_ms)?;
    let (person, own) = person_with_keys(node, caller, new).await?;
    let made = make(node, new, (&person, &own), (now_ms, expires_at_ms))?;
    let events = trail::events(caller, (&made.grant, &made.slips), now_ms);
    // The seed is never among the stored answers: a repeat reads it from where it is sealed.
    let kept = v1::RecordGrantResponse {
        grant_id: made.grant.grant_id.as_bytes().to_vec(),
        expires_at_ms,
        stop_seed: Vec::new(),
    };
    let (asked, made, kept, events) = (&asked, &made, &kept, &events);
    let write = |mut tx: Tx| async move {
        let mut counter = Counter::lock(&mut tx).await?;
        if let Some(first) = requests::first_answer(&mut tx, asked).await? {
            return Ok::<_, GrantError>(first);
        }
        if !review::is_reviewed(&mut tx, &node.membership.network, &new.capture).await? {
            return Err(GrantError::Unreviewed);
        }
        store::content::insert(&mut tx, std::slice::from_ref(&made.capture)).await?;
        store::grant::insert(&mut tx, &made.grant).await?;
        let newest = node.content.newest_under(&counter)?;
        if !store::holding::insert(&mut tx, newest, &made.holdings).await? {
            return Err(ContentError::Overtaken.into());
        }
        store::slip::insert(&mut tx, &made.slips).await?;
        requests::keep(&mut tx, asked, kept, now_ms).await?;
        audit::insert(&mut tx, &mut counter, &node.rng, events).await?;
        counter.save(&mut tx).await?;
        Ok(kept.clone())
    };
    let mut answer = node.store.tx("record grant", write).await?;
    answer.stop_seed = stop_seed(node, &own, &answer.grant_id).await?;
    Ok(answer)
}

/// What this request was answered, if it came before.
async fn first_answer(node: &Node, asked: &Asked) -> Result<Option<v1::RecordGrantResponse>, GrantError> {
    let look = |mut tx: Tx| async move { requests::first_answer(&mut tx, asked).await };
    Ok(node.store.read("look at grant", look).await?)
}

async fn person_with_keys(
    node: &Node,
    caller: &Caller,
    new: &NewGrant,
) -> Result<(Person, HoldingKeys), GrantError> {
    let person = persons::find(node, caller, &new.person_id).await?;
    let own = persons::holding_keys(node, person.holding_id).await?;
    Ok((person, own))
}

/// What one grant becomes.
struct Made {
    grant: GrantRecord,
    capture: store::content::Content,
    holdings: Vec<Holding>,
    slips: Vec<SlipRow>,
}

fn make(
    node: &Node,
    new: &NewGrant,
    (person, own): (&Person, &HoldingKeys),
    (now_ms, expires_at_ms): (i64, i64),
) -> Result<Made, GrantError> {
    let grant_id = GrantId::from_bytes(node.rng.bytes()?);
    let seed: [u8; 16] = node.rng.bytes()?;
    let capture = NewContent {
        owner_id: *grant_id.as_bytes(),
        content_id: *grant_id.as_bytes(),
        section: Section::Record,
        kind: ContentKind::GrantCapture,
        at_ms: now_ms,
    };
    let mut made = Made {
        grant: GrantRecord {
            grant_id,
            person_id: person.person_id,
            state: GrantState::Live,
            lawful_basis: new.lawful_basis as i32,
            given_at_ms: now_ms,
            expires_at_ms,
            ended_at_ms: None,
            stop_seed: own.seal(&node.rng, Section::Record, &seed_place(grant_id), &seed)?,
        },
        capture: capture.seal(own, &node.rng, &new.capture.encode_to_vec())?,
        holdings: Vec::new(),
        slips: Vec::new(),
    };
    for allowed in &new.allowed {
        let (holding, slip) = slip(node, (person, &made.grant, &seed), allowed)?;
        made.holdings.push(holding);
        made.slips.push(slip);
    }
    Ok(made)
}

/// Issues one slip, with the holding of what will be kept under it here.
fn slip(
    node: &Node,
    (person, grant, seed): (&Person, &GrantRecord, &[u8; 16]),
    allowed: &Allowed,
) -> Result<(Holding, SlipRow), GrantError> {
    let id = SlipId::from_bytes(node.rng.bytes()?);
    let salt: [u8; 32] = node.rng.bytes()?;
    let mut purposes = allowed.purposes.clone();
    purposes.sort_unstable();
    let wire = v1::Slip {
        slip_id: id.as_bytes().to_vec(),
        network: node.membership.network.to_string(),
        from: node.organisation().to_string(),
        to: allowed.recipient.to_string(),
        purposes: purposes.iter().map(|p| p.number()).collect(),
        categories: allowed.categories.iter().map(Category::number).collect(),
        issued_at_ms: grant.given_at_ms,
        expires_at_ms: grant.expires_at_ms,
        progress: allowed.progress,
        person_commitment: person_commitment(&salt, &person.person_id).to_vec(),
        stop_hash: stop_hash(&stop_secret_of(seed, &id)).to_vec(),
    };
    let slip = Slip::parse(&wire)?;
    let signed = SignedSlip::issue(&slip, &node.keys.signing)?;
    let sections = sections(&slip);
    let (holding, _) = node.content.new_holding(HoldingKind::Slip, Some(id), sections)?;
    let row = SlipRow::new(&slip, signed, SlipSide::Captured, holding.holding_id);
    Ok((
        holding,
        SlipRow {
            grant_id: Some(grant.grant_id),
            person_salt: Some(salt),
            ..row
        },
    ))
}

/// What a slip's holding has keys for: the categories that may be shared, `progress` if it may flow, the record.
pub fn sections(slip: &Slip) -> Vec<Section> {
    let allowed = slip.terms(false).allowed();
    allowed
        .iter()
        .map(Section::Category)
        .chain([Section::Record])
        .collect()
}

/// Reads the seed of a grant's stop secrets where it is sealed.
async fn stop_seed(node: &Node, own: &HoldingKeys, grant_id: &[u8]) -> Result<Vec<u8>, GrantError> {
    let corrupt = StoreError::Corrupt {
        table: "request",
        column: "answer",
    };
    let grant_id = GrantId::try_from(grant_id).map_err(|_| corrupt)?;
    let find = |mut tx: Tx| async move { store::grant::find(&mut tx, &[grant_id]).await };
    let grant = node
        .store
        .read("stop seed", find)
        .await?
        .pop()
        .ok_or(GrantError::NotFound)?;
    Ok(own.open(Section::Record, &seed_place(grant_id), &grant.stop_seed)?)
}

const fn seed_place(grant_id: GrantId) -> Place {
    Place {
        table: "grant_record",
        row: *grant_id.as_bytes(),
        column: "stop_seed",
    }
}

/// Checks what no parser of single fields can; gives the time at which the grant ends.
fn check(node: &Node, new: &NewGrant, now_ms: i64) -> Result<i64, GrantError> {
    let wrong = |field, sentence| GrantError::Field {
        field,
        problem: Problem::Invalid,
        sentence,
    };
    check_capture(&new.capture)?;
    if new.lawful_basis == v1::LawfulBasis::Unspecified {
        return Err(wrong(
            "lawful_basis",
            "Say which lawful basis your organisation relies on.",
        ));
    }
    if new.allowed.is_empty() || new.allowed.len() > RECIPIENTS_MAX {
        return Err(wrong(
            "allowed",
            "Name at least one organisation, and at most 20.",
        ));
    }
    for (place, allowed) in new.allowed.iter().enumerate() {
        if allowed.categories.is_empty() || allowed.categories.contains(Category::Progress) {
            return Err(wrong(
                "allowed.categories",
                "Name at least one part to share; progress has a field of its own.",
            ));
        }
        if allowed.purposes.is_empty() {
            return Err(wrong("allowed.purposes", "Say what it may be used for."));
        }
        if new
            .allowed
            .iter()
            .take(place)
            .any(|earlier| earlier.recipient == allowed.recipient)
        {
            return Err(wrong("allowed", "Each organisation is named once."));
        }
        if allowed.recipient == *node.organisation() {
            return Err(wrong(
                "allowed",
                "Your own organisation needs no consent to be told what you know.",
            ));
        }
        if node.members.state_of(&allowed.recipient) == MemberState::NotMember {
            return Err(GrantError::NotAMember);
        }
    }
    match new.expires_at_ms {
        0 => Ok(now_ms.saturating_add(GRANT_LIFE_MS_DEFAULT)),
        at_ms if at_ms <= now_ms => Err(wrong("expires_at_ms", "This day has passed.")),
        at_ms if at_ms - now_ms > SLIP_LIFE_MS_MAX => Err(wrong(
            "expires_at_ms",
            "Consent ends after twelve months at the latest.",
        )),
        at_ms => Ok(at_ms),
    }
}

fn check_capture(capture: &v1::Capture) -> Result<(), GrantError> {
    let wrong = |field, sentence| GrantError::Field {
        field,
        problem: Problem::Invalid,
        sentence,
    };
    if capture.given_by() == v1::GivenBy::Unspecified {
        return Err(wrong("capture.given_by", "Say who gave consent."));
    }
    if capture.given_how() == v1::GivenHow::Unspecified {
        return Err(wrong("capture.given_how", "Say how the talk was held."));
    }
    if capture.interpreter() == v1::Interpreter::Unspecified {
        return Err(wrong(
            "capture.interpreter",
            "Say who interpreted, or that nobody did.",
        ));
    }
    if !statement::is_known(capture) {
        return Err(wrong(
            "capture.text_hash",
            "This is not a consent text that this node has; fetch it again.",
        ));
    }
    if statement::primary(&capture.language).is_empty() {
        return Err(wrong(
            "capture.language",
            "Say in which language the person heard it.",
        ));
    }
    let translated = !is_in_language(&capture.statement_language, &capture.language);
    if translated && capture.interpreter() == v1::Interpreter::None {
        return Err(wrong(
            "capture.interpreter",
            "The text is in another language: say who interpreted it.",
        ));
    }
    match text_fault(&capture.understood, UNDERSTOOD_BYTES_MAX) {
        Some((problem, sentence)) => Err(GrantError::Field {
            field: "capture.understood",
            problem,
            sentence,
        }),
        None => Ok(()),
    }
}

/// The request in one form, for its hash.
fn request(new: &NewGrant) -> v1::RecordGrantRequest {
    let allowed = |allowed: &Allowed| v1::Allowed {
        recipient: allowed.recipient.to_string(),
        categories: allowed.categories.iter().map(Category::number).collect(),
        purposes: allowed.purposes.iter().map(|p| p.number()).collect(),
        progress: allowed.progress,
    };
    v1::RecordGrantRequest {
        request_id: Vec::new(),
        person_id: new.person_id.as_bytes().to_vec(),
        capture: Some(new.capture.clone()),
        allowed: new.allowed.iter().map(allowed).collect(),
        lawful_basis: new.lawful_basis as i32,
        expires_at_ms: new.expires_at_ms,
    }
}
