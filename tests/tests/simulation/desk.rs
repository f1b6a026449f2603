//! What people of an organisation do at their node, through its use-cases. `run` calls it inside the node's host.
//! Every text that they write carries a mark by which it is found wherever it should not be.

use kith_node::grants::{self, Allowed, NewGrant};
use kith_node::messages::{self, Asking};
use kith_node::moves::{self, MoveError, NewMove};
use kith_node::node::Node;
use kith_node::parts::Parts;
use kith_node::persons::{self, NewPerson};
use kith_node::referrals::{self, NewReferral, SendError};
use kith_node::requests::Asked;
use kith_node::threads_view::{self, Opening, Visible, Which};
use kith_node::tokens::{Caller, Role};
use kith_node::withdrawals::{self, NewNarrowing, NewWithdrawal, Scope, WithdrawError};
use kith_proto::id::{GrantId, OrgId, PersonId, RequestId, ThreadId, TokenId};
use kith_proto::lifecycle::{Move, Reason, State};
use kith_proto::v1;
use kith_proto::words::{Category, Purpose};

/// Stands in every text that a person said or somebody wrote about them.
pub(crate) const MARK: &str = "Zqxjv";
/// How every telephone number begins.
pub(crate) const PHONE: &str = "07700 9009";
/// What is agreed at first: who they are, how to reach them, what they need.
pub(crate) const AGREED: [Category; 3] = [Category::Identity, Category::Contact, Category::Need];
/// What is left after narrowing.
pub(crate) const LEFT: [Category; 2] = [Category::Identity, Category::Contact];

/// A coordinator, who may do everything with threads.
fn coordinator() -> Caller {
    Caller {
        token_id: TokenId::from_bytes([7; 16]),
        roles: [Role::Coordinator, Role::Referrer].into_iter().collect(),
    }
}

/// One person's case as it was written down, so that the request can be made again.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) grant_id: GrantId,
    pub(crate) referral: NewReferral,
}

fn request(node: &Node) -> RequestId {
    RequestId::from_bytes(node.rng.bytes().unwrap())
}

fn part(category: Category, name: &str, value: String) -> v1::Part {
    let field = v1::Field {
        name: name.to_owned(),
        value,
    };
    v1::Part {
        category: category.number(),
        fields: vec![field],
    }
}

fn allowed(recipient: &OrgId, categories: &[Category]) -> Allowed {
    Allowed {
        recipient: recipient.clone(),
        categories: categories.iter().copied().collect(),
        purposes: vec![Purpose::PeerSupport],
        progress: true,
    }
}

/// Records a person and their consent for one recipient.
pub(crate) async fn agree(node: &Node, recipient: OrgId, number: usize) -> Case {
    let record = vec![
        part(
            Category::Identity,
            "preferred_name",
            format!("{MARK} the {number}th"),
        ),
        part(Category::Contact, "safe_phone", format!("{PHONE}{number:02}")),
        part(
            Category::Need,
            "in_their_words",
            format!("company for {MARK} {number}"),
        ),
        part(Category::Health, "summary", format!("{MARK} is tired")),
    ];
    let new = NewPerson {
        request_id: request(node),
        parts: Parts::parse(record).unwrap(),
    };
    let person = persons::create(node, &coordinator(), &new).await.unwrap();
    let person_id = PersonId::try_from(person.person_id.as_slice()).unwrap();
    let statement = grants::statement_text("", "en").unwrap();
    let capture = v1::Capture {
        given_by: v1::GivenBy::Person.into(),
        given_how: v1::GivenHow::InPerson.into(),
        language: "en".into(),
        interpreter: v1::Interpreter::None.into(),
        read_aloud: true,
        understood: format!("{MARK} {number}: they may ring me"),
        statement_id: statement.statement_id,
        statement_language: statement.language,
        text_hash: statement.text_hash,
    };
    let new = NewGrant {
        request_id: request(node),
        person_id,
        capture,
        allowed: vec![allowed(&recipient, &AGREED)],
        lawful_basis: v1::LawfulBasis::Consent,
        expires_at_ms: 0,
    };
    let grant = grants::record(node, &coordinator(), &new).await.unwrap();
    let grant_id = GrantId::try_from(grant.grant_id.as_slice()).unwrap();
    let referral = NewReferral {
        request_id: request(node),
        person_id,
        grant_id,
        recipient,
        purpose: Purpose::PeerSupport,
        parts: Parts::default(),
        categories: AGREED.into_iter().collect(),
        answer_by_ms: 0,
    };
    Case { grant_id, referral }
}

/// Sends the referral of a case; once more for the same case is a repeat.
pub(crate) async fn refer(node: &Node, case: &Case) -> Result<ThreadId, SendError> {
    let sent = referrals::send(node, &coordinator(), case.referral.clone()).await?;
    Ok(sent.thread_id)
}

/// Makes a move, with words where the lifecycle lets a move have some.
pub(crate) async fn make(node: &Node, thread_id: ThreadId, mv: Move) -> Result<State, MoveError> {
    let request_id = request(node);
    let wire = v1::MoveReferralRequest {
        request_id: request_id.as_bytes().to_vec(),
        thread_id: thread_id.as_bytes().to_vec(),
        r#move: mv.number(),
        ..v1::MoveReferralRequest::default()
    };
    let new = NewMove {
        asked: Asked::new("move_referral", request_id, &wire),
        caller: coordinator(),
        thread_id,
        mv,
        reason: Some(Reason::Other),
        words: match mv {
            Move::RequestInfo | Move::AnswerInfo => format!("{MARK}, which day?"),
            _ => String::new(),
        },
    };
    let moved = moves::move_referral(node, &new).await?;
    Ok(State::try_from(moved.state).unwrap())
}

/// The moves that are open to this side of a thread now; none where there is no such thread.
pub(crate) async fn open_moves(node: &Node, thread_id: ThreadId) -> Vec<Move> {
    let opened = threads_view::open(node, &opening(thread_id)).await;
    let numbers = opened.map(|thread| thread.moves).unwrap_or_default();
    numbers
        .into_iter()
        .map(|number| Move::try_from(number).unwrap())
        .collect()
}

/// A coordinator's wish to open a thread.
pub(crate) fn opening(thread_id: ThreadId) -> Opening {
    Opening {
        caller: coordinator(),
        visible: Visible::All,
        which: Which::Thread(thread_id),
    }
}

/// Sends a message on a thread; gives its id.
pub(crate) async fn say(node: &Node, thread_id: ThreadId) -> Result<Vec<u8>, MoveError> {
    let request_id = request(node);
    let wire = v1::SendMessageRequest {
        request_id: request_id.as_bytes().to_vec(),
        thread_id: thread_id.as_bytes().to_vec(),
        ..v1::SendMessageRequest::default()
    };
    let new = Asking {
        asked: Asked::new("send_message", request_id, &wire),
        caller: coordinator(),
        thread_id,
        words: format!("{MARK} comes on Tuesday"),
    };
    Ok(messages::send(node, &new).await?.message_id)
}

/// Takes a whole consent back at the node that captured it.
pub(crate) async fn withdraw(node: &Node, grant_id: GrantId) -> Result<(), WithdrawError> {
    let request_id = request(node);
    let wire = v1::WithdrawGrantRequest {
        request_id: request_id.as_bytes().to_vec(),
        grant_id: grant_id.as_bytes().to_vec(),
        ..v1::WithdrawGrantRequest::default()
    };
    let new = NewWithdrawal {
        asked: Asked::new("withdraw_grant", request_id, &wire),
        caller: coordinator(),
        grant_id,
        scope: Scope::Consent,
        invalidated: false,
    };
    withdrawals::withdraw(node, &new).await.map(drop)
}

/// Leaves the need out of a consent.
pub(crate) async fn narrow(node: &Node, case: &Case) -> Result<(), WithdrawError> {
    let request_id = request(node);
    let wire = v1::NarrowGrantRequest {
        request_id: request_id.as_bytes().to_vec(),
        grant_id: case.grant_id.as_bytes().to_vec(),
        ..v1::NarrowGrantRequest::default()
    };
    let new = NewNarrowing {
        asked: Asked::new("narrow_grant", request_id, &wire),
        caller: coordinator(),
        grant_id: case.grant_id,
        allowed: vec![allowed(&case.referral.recipient, &LEFT)],
    };
    withdrawals::narrow(node, &new).await.map(drop)
}
