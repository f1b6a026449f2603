//! The handlers of `ReferralService`: sending, lists, opening, moves, messages; the two streams start here.
//! Called by tonic behind the guard.
//! It must never decide what a thread's state or a grant allows: the use-cases do.

use super::bulk::sent_wire;
use super::page::{List, number, token};
use super::parse::{Fields, OPENING_REASON_BYTES_MAX, SHORT_TEXT_BYTES_MAX, WORDS_BYTES_MAX};
use super::{Edge, bulk, listed, refused, reply, split, visible, watch};
use crate::messages::{self, Asking};
use crate::moves::{self, MoveError, NewMove};
use crate::referrals::{self, NewReferral};
use crate::requests::Asked;
use crate::threads::Side;
use crate::threads_view::{self, ListAsked, Opening, Which};
use crate::tokens::Caller;
use kith_proto::human_code::HumanCode;
use kith_proto::lifecycle::{Move, Reason, Refused, State};
use kith_proto::problem::Problem;
use kith_proto::v1;
use kith_proto::v1::referral_service_server::ReferralService;
use kith_service::status::{Failure, status};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl ReferralService for Edge {
    type SendReferralsStream = ReceiverStream<Result<v1::SendReferralsResponse, Status>>;
    type WatchReferralsStream = ReceiverStream<Result<v1::WatchReferralsResponse, Status>>;

    async fn send_referral(
        &self,
        request: Request<v1::SendReferralRequest>,
    ) -> Result<Response<v1::SendReferralResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("SendReferral", send_one(self, &caller, asked).await)
    }

    async fn send_referrals(
        &self,
        request: Request<Streaming<v1::SendReferralsRequest>>,
    ) -> Result<Response<Self::SendReferralsStream>, Status> {
        let (caller, requests) = split(request)?;
        Ok(Response::new(ReceiverStream::new(bulk::start(
            self, caller, requests,
        ))))
    }

    async fn get_referral(
        &self,
        request: Request<v1::GetReferralRequest>,
    ) -> Result<Response<v1::GetReferralResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("GetReferral", open(self, &caller, asked).await)
    }

    async fn list_referrals(
        &self,
        request: Request<v1::ListReferralsRequest>,
    ) -> Result<Response<v1::ListReferralsResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("ListReferrals", list(self, &caller, asked).await)
    }

    async fn move_referral(
        &self,
        request: Request<v1::MoveReferralRequest>,
    ) -> Result<Response<v1::MoveReferralResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("MoveReferral", make_move(self, &caller, asked).await)
    }

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let (caller, asked) = split(request)?;
        reply("SendMessage", message(self, &caller, asked).await)
    }

    async fn watch_referrals(
        &self,
        request: Request<v1::WatchReferralsRequest>,
    ) -> Result<Response<Self::WatchReferralsStream>, Status> {
        let (caller, asked) = split(request)?;
        let mut fields = Fields::new();
        let after = fields.page_key(("cursor", &asked.cursor), List::Changes, number);
        let after = after.map(Option::unwrap_or_default);
        let after = fields.finish(after).map_err(status)?;
        let watched = watch::start(self, &caller, after).await;
        watched
            .map(|changes| Response::new(ReceiverStream::new(changes)))
            .map_err(status)
    }
}

/// Reads one referral to send. Takes the parts over as they came; nothing of the content is copied.
pub(crate) fn parse_send(request_id: &[u8], asked: v1::SendReferralRequest) -> Result<NewReferral, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", request_id);
    let person_id = fields.id("person_id", &asked.person_id);
    let grant_id = fields.id("grant_id", &asked.grant_id);
    let recipient = fields.org("recipient", &asked.recipient);
    let purpose = fields.word("purpose", asked.purpose);
    let categories = fields.categories("categories", &asked.categories, 0);
    let answer_by_ms = fields.time_ms("answer_by_ms", asked.answer_by_ms);
    if asked.parts.is_empty() && asked.categories.is_empty() {
        fields.refuse(
            Problem::Invalid,
            "parts",
            "A referral has something in it: parts, or categories of the record.",
        );
    }
    let parts = fields.parts(asked.parts);
    let referral = || {
        Some(NewReferral {
            request_id: request_id?,
            person_id: person_id?,
            grant_id: grant_id?,
            recipient: recipient?,
            purpose: purpose?,
            parts: parts?,
            categories: categories?,
            answer_by_ms: answer_by_ms?,
        })
    };
    fields.finish(referral())
}

async fn send_one(
    edge: &Edge,
    caller: &Caller,
    mut asked: v1::SendReferralRequest,
) -> Result<v1::SendReferralResponse, Failure> {
    let id = std::mem::take(&mut asked.request_id);
    let referral = parse_send(&id, asked)?;
    let sent = referrals::send(&edge.node, caller, referral).await;
    sent.map(|sent| sent_wire(&sent))
        .map_err(|error| refused(error.failure(), &error))
}

async fn open(
    edge: &Edge,
    caller: &Caller,
    asked: v1::GetReferralRequest,
) -> Result<v1::GetReferralResponse, Failure> {
    let mut fields = Fields::new();
    let which = which(&mut fields, &asked);
    let reason = fields.text("opening_reason", asked.opening_reason, OPENING_REASON_BYTES_MAX);
    let (which, _reason) = fields.finish(which.zip(reason))?;
    let opening = Opening {
        caller: *caller,
        visible: visible(caller),
        which,
    };
    let thread = threads_view::open(&edge.node, &opening)
        .await
        .map_err(|error| refused(error.problem().into(), &error))?;
    Ok(v1::GetReferralResponse { thread: Some(thread) })
}

fn which(fields: &mut Fields, asked: &v1::GetReferralRequest) -> Option<Which> {
    match (asked.thread_id.is_empty(), asked.code.is_empty()) {
        (false, true) => fields.id("thread_id", &asked.thread_id).map(Which::Thread),
        (true, false) => {
            match HumanCode::parse(asked.code.get(..SHORT_TEXT_BYTES_MAX).unwrap_or(&asked.code)) {
                Ok(code) => Some(Which::Code(code)),
                Err(_) => {
                    let sentence =
                        "This is not a code. A code looks like K7M2-9QXD-44; a letter or digit may be wrong.";
                    fields.refuse(Problem::Invalid, "code", sentence);
                    None
                }
            }
        }
        _ => {
            fields.refuse(
                Problem::Invalid,
                "thread_id",
                "Give either the thread's id or its code.",
            );
            None
        }
    }
}

async fn list(
    edge: &Edge,
    caller: &Caller,
    asked: v1::ListReferralsRequest,
) -> Result<v1::ListReferralsResponse, Failure> {
    let mut fields = Fields::new();
    let side = match v1::Side::try_from(asked.side) {
        Ok(v1::Side::Sent) => Some(Side::Sent),
        Ok(v1::Side::Inbox) => Some(Side::Inbox),
        _ => {
            fields.refuse(
                Problem::Invalid,
                "side",
                "Say which list: what was sent, or the inbox.",
            );
            None
        }
    };
    let states = fields.word_list::<State>("states", &asked.states, 0);
    let page_size = fields.page_size(asked.page_size);
    let pages = if side == Some(Side::Inbox) {
        List::Inbox
    } else {
        List::Sent
    };
    let before = fields.page_key(("page_token", &asked.page_token), pages, number);
    let wanted = || {
        Some(ListAsked {
            caller: *caller,
            side: side?,
            states: states?,
            page_size: page_size?,
            before: before?,
        })
    };
    let wanted = fields.finish(wanted())?;
    let page = threads_view::list(&edge.node, listed(caller), &wanted).await;
    let page = page.map_err(|error| refused(error.problem().into(), &error))?;
    Ok(v1::ListReferralsResponse {
        referrals: page.lines,
        next_page_token: page
            .next
            .map_or(String::new(), |place| token(pages, &place.to_be_bytes())),
    })
}

async fn make_move(
    edge: &Edge,
    caller: &Caller,
    asked: v1::MoveReferralRequest,
) -> Result<v1::MoveReferralResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("move_referral", id, &asked));
    let thread_id = fields.id("thread_id", &asked.thread_id);
    let mv = fields.word::<Move>("move", asked.r#move);
    let reason = fields.word_if_any::<Reason>("reason", asked.reason);
    if let (Some(mv), Some(Some(reason))) = (mv, reason)
        && mv.needs_reason()
        && !mv.reasons().contains(&reason)
    {
        let sentence = "This reason does not fit this step. Choose another.";
        fields.refuse(Problem::Invalid, "reason", sentence);
    }
    let words = fields.text("words", asked.words, WORDS_BYTES_MAX);
    let new = || {
        Some(NewMove {
            asked: body?,
            caller: *caller,
            thread_id: thread_id?,
            mv: mv?,
            reason: reason?,
            words: words?,
        })
    };
    let new = fields.finish(new())?;
    let moved = moves::move_referral(&edge.node, &new).await;
    moved.map_err(|error| refused(move_failure(&error), &error))
}

/// What a refused move answers: with the field, where one field would mend it.
fn move_failure(error: &MoveError) -> Failure {
    let failure = Failure::new(error.problem());
    match error {
        MoveError::Refused(Refused::ReasonMissing) => {
            failure.with_field("reason", "This step needs a reason. Choose one.")
        }
        MoveError::Outbox(error) => error.failure(),
        MoveError::Words => failure.with_field("words", "The words are missing or too long."),
        MoveError::Number(found) => failure.with_field("words", found.explain()),
        _ => failure,
    }
}

async fn message(
    edge: &Edge,
    caller: &Caller,
    asked: v1::SendMessageRequest,
) -> Result<v1::SendMessageResponse, Failure> {
    let mut fields = Fields::new();
    let request_id = fields.id("request_id", &asked.request_id);
    let body = request_id.map(|id| Asked::new("send_message", id, &asked));
    let thread_id = fields.id("thread_id", &asked.thread_id);
    let words = fields.text_needed("words", asked.words, WORDS_BYTES_MAX);
    let new = || {
        Some(Asking {
            asked: body?,
            caller: *caller,
            thread_id: thread_id?,
            words: words?,
        })
    };
    let new = fields.finish(new())?;
    let sent = messages::send(&edge.node, &new).await;
    sent.map_err(|error| refused(move_failure(&error), &error))
}
