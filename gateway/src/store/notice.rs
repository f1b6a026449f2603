//! Frames kept for a node until it says that it holds them: recipient receipts, stops, drops. Written in the transaction of what
//! they tell; numbered per node in the order of commits. Never deletes one that the node has not confirmed.

use std::collections::BTreeMap;

use kith_proto::id::OrgId;
use kith_proto::v1;

use kith_service::store::{Insert, StoreError, Tx, WithRows, column, query};
use prost::Message as _;

use super::pair::{org, stored};

/// What a notice says.
pub type Frame = v1::attach_response::Frame;

static NUMBER: WithRows = WithRows::new(
    "WITH v(organisation, number) AS (VALUES",
    2,
    "INSERT INTO notice_counter (organisation, number) \
     SELECT DISTINCT v.organisation, v.number FROM v WHERE 1 = 1 ORDER BY 1 \
     ON CONFLICT (organisation) DO UPDATE SET number = notice_counter.number + excluded.number \
     RETURNING organisation, number",
);
static INSERT: Insert = Insert::into("INSERT INTO notice (organisation, number, frame)", 3, "");

/// Keeps the frames for their nodes, in the order given. Holds each node's counter until the commit.
pub async fn insert(tx: &mut Tx, frames: BTreeMap<OrgId, Vec<Frame>>) -> Result<(), StoreError> {
    let counts: Vec<(&OrgId, i64)> = frames
        .iter()
        .filter(|(_, frames)| !frames.is_empty())
        .map(|(member, frames)| (member, i64::try_from(frames.len()).unwrap_or(i64::MAX)))
        .collect();
    let mut lasts: BTreeMap<OrgId, i64> = BTreeMap::new();
    let rows = NUMBER
        .all(tx, &counts, |query, (member, count)| {
            query.bind(member.as_str().to_owned()).bind(*count)
        })
        .await?;
    for row in &rows {
        let member = org(row, "notice_counter", "organisation")?;
        lasts.insert(member, column(row, "notice_counter", "number")?);
    }
    let mut notices = Vec::new();
    for (member, frames) in frames {
        let last = lasts.get(&member).copied().unwrap_or_default();
        let count = i64::try_from(frames.len()).unwrap_or(i64::MAX);
        for (number, frame) in (last - count + 1..).zip(frames) {
            let response = v1::AttachResponse {
                frame: Some(frame),
                notice_number: number.unsigned_abs(),
            };
            notices.push((member.clone(), number, response.encode_to_vec()));
        }
    }
    INSERT
        .rows(tx, &notices, |query, (member, number, frame)| {
            query
                .bind(member.as_str().to_owned())
                .bind(*number)
                .bind(frame.clone())
        })
        .await
        .map(drop)
}

const AFTER: &str =
    "SELECT number, frame FROM notice WHERE organisation = $1 AND number > $2 ORDER BY number LIMIT $3";

/// The next notices of a node after a number, at most `rows_max`, as they go onto the stream.
pub async fn after(
    tx: &mut Tx,
    member: &OrgId,
    number: u64,
    rows_max: usize,
) -> Result<Vec<v1::AttachResponse>, StoreError> {
    let select = query(AFTER)
        .bind(member.as_str().to_owned())
        .bind(stored(number))
        .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
    let rows = tx.all(select).await?;
    rows.iter()
        .map(|row| {
            let frame: Vec<u8> = column(row, "notice", "frame")?;
            v1::AttachResponse::decode(frame.as_slice()).map_err(|_| StoreError::Corrupt {
                table: "notice",
                column: "frame",
            })
        })
        .collect()
}

const HELD: &str = "DELETE FROM notice WHERE organisation = $1 AND number <= $2";

/// Forgets the notices that a node holds.
pub async fn held(tx: &mut Tx, member: &OrgId, number: u64) -> Result<(), StoreError> {
    let delete = query(HELD).bind(member.as_str().to_owned()).bind(stored(number));
    tx.run(delete).await.map(drop)
}
