//! Rows of members. Called by the membership use-cases and the poller.
//! A row is not believed until its chain has been verified: see [`crate::changes`].

use crate::members::Standing;
use kith_proto::id::{InviteId, OrgId};
use kith_proto::v1;
use kith_proto::words::OrganisationKind;
use kith_service::store::{Row, StoreError, Tx, bytes, column, query};
use prost::Message as _;

const TABLE: &str = "member";

/// A member as stored.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// Its id.
    pub org: OrgId,
    /// What sort of body it is.
    pub kind: OrganisationKind,
    /// Its display name.
    pub name: String,
    /// Active or suspended.
    pub state: Standing,
    /// Its chain, unverified.
    pub chain: v1::BindingChain,
    /// The invite it joined with.
    pub invite_id: InviteId,
    /// SHA-256 of the TLS key it enrolled with; after a re-key, that of the certificate given last.
    pub tls_key_hash: [u8; 32],
    /// When it joined.
    pub joined_at_ms: i64,
    /// The change counter of its last change.
    pub changed: i64,
    /// How many bindings its chain had when its keys were last reported lost; read only, written by [`super::lost`].
    pub lost_bindings: Option<i64>,
}

impl TryFrom<Row> for MemberRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt { table: TABLE, column };
        let text = |name| column::<String>(&row, TABLE, name);
        let chain: Vec<u8> = column(&row, TABLE, "chain")?;
        Ok(Self {
            org: text("organisation")?
                .parse()
                .map_err(|_| corrupt("organisation"))?,
            kind: text("kind")?.parse().map_err(|_| corrupt("kind"))?,
            name: text("name")?,
            state: Standing::parse(&text("state")?).ok_or(corrupt("state"))?,
            chain: v1::BindingChain::decode(chain.as_slice()).map_err(|_| corrupt("chain"))?,
            invite_id: InviteId::from_bytes(bytes(&row, TABLE, "invite_id")?),
            tls_key_hash: bytes(&row, TABLE, "tls_key_hash")?,
            joined_at_ms: column(&row, TABLE, "joined_at_ms")?,
            changed: column(&row, TABLE, "changed")?,
            lost_bindings: column(&row, TABLE, "lost_bindings")?,
        })
    }
}

const INSERT: &str = "INSERT INTO member \
    (organisation, kind, name, state, chain, invite_id, tls_key_hash, joined_at_ms, changed) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Inserts a new member; [`StoreError::Unique`] when the organisation or the invite is taken.
pub async fn insert(tx: &mut Tx, row: &MemberRow) -> Result<(), StoreError> {
    let insert = query(INSERT)
        .bind(row.org.as_str().to_owned())
        .bind(row.kind.as_str())
        .bind(row.name.clone())
        .bind(row.state.as_str())
        .bind(row.chain.encode_to_vec())
        .bind(row.invite_id.as_bytes().to_vec())
        .bind(row.tls_key_hash.to_vec())
        .bind(row.joined_at_ms)
        .bind(row.changed);
    tx.run(insert).await?;
    Ok(())
}

const BY_ORG: &str = "SELECT member.organisation AS organisation, kind, name, state, chain, invite_id, tls_key_hash, joined_at_ms, changed, \
    lost_keys.bindings AS lost_bindings FROM member LEFT JOIN lost_keys ON lost_keys.organisation = member.organisation WHERE member.organisation = $1";

/// Returns one member.
pub async fn by_org(tx: &mut Tx, org: &OrgId) -> Result<Option<MemberRow>, StoreError> {
    let row = tx.one(query(BY_ORG).bind(org.as_str().to_owned())).await?;
    row.map(MemberRow::try_from).transpose()
}

const BY_INVITE: &str = "SELECT member.organisation AS organisation, kind, name, state, chain, invite_id, tls_key_hash, joined_at_ms, changed, \
    lost_keys.bindings AS lost_bindings FROM member LEFT JOIN lost_keys ON lost_keys.organisation = member.organisation WHERE invite_id = $1";

/// Returns the member that joined with this invite.
pub async fn by_invite(tx: &mut Tx, invite_id: InviteId) -> Result<Option<MemberRow>, StoreError> {
    let row = tx
        .one(query(BY_INVITE).bind(invite_id.as_bytes().to_vec()))
        .await?;
    row.map(MemberRow::try_from).transpose()
}

const CHANGED: &str = "SELECT member.organisation AS organisation, kind, name, state, chain, invite_id, tls_key_hash, joined_at_ms, changed, \
    lost_keys.bindings AS lost_bindings FROM member LEFT JOIN lost_keys ON lost_keys.organisation = member.organisation WHERE changed > $1 ORDER BY changed LIMIT $2";

/// Returns at most `limit` members that changed after the cursor, in the order of their last change.
pub async fn changed_after(tx: &mut Tx, cursor: i64, limit: usize) -> Result<Vec<MemberRow>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.all(query(CHANGED).bind(cursor).bind(limit)).await?;
    rows.into_iter().map(MemberRow::try_from).collect()
}

const COUNT: &str = "SELECT COUNT(*) AS members FROM member";

/// Counts the members.
pub async fn count(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = tx.one(query(COUNT)).await?;
    row.map_or(Ok(0), |row| column(&row, TABLE, "members"))
}

const SET_CHAIN: &str = "UPDATE member SET chain = $1, changed = $2 WHERE organisation = $3 AND changed = $4";

/// Replaces a member's chain, unless the row has changed since it was read; says whether it did.
pub async fn set_chain(
    tx: &mut Tx,
    read: &MemberRow,
    chain: &v1::BindingChain,
    changed: i64,
) -> Result<bool, StoreError> {
    let update = query(SET_CHAIN)
        .bind(chain.encode_to_vec())
        .bind(changed)
        .bind(read.org.as_str().to_owned())
        .bind(read.changed);
    Ok(tx.run(update).await? == 1)
}

const SET_TLS_KEY: &str = "UPDATE member SET tls_key_hash = $1 WHERE organisation = $2";

/// Names the TLS key of a member's re-key or of a renewal after it, so that only its owner may repeat it and only it counts.
pub async fn set_tls_key(tx: &mut Tx, org: &OrgId, tls_key_hash: &[u8; 32]) -> Result<(), StoreError> {
    let set = query(SET_TLS_KEY)
        .bind(tls_key_hash.to_vec())
        .bind(org.as_str().to_owned());
    tx.run(set).await.map(drop)
}

const SET_STATE: &str = "UPDATE member SET state = $1, changed = $2 WHERE organisation = $3 AND state <> $1";

/// Sets a member's state; says whether it was another before.
pub async fn set_state(tx: &mut Tx, org: &OrgId, state: Standing, changed: i64) -> Result<bool, StoreError> {
    let update = query(SET_STATE)
        .bind(state.as_str())
        .bind(changed)
        .bind(org.as_str().to_owned());
    Ok(tx.run(update).await? == 1)
}

const TOUCH: &str = "UPDATE member SET changed = $1 WHERE organisation = $2";

/// Marks a member as changed, because something listed with it did.
pub async fn touch(tx: &mut Tx, org: &OrgId, changed: i64) -> Result<(), StoreError> {
    let update = query(TOUCH).bind(changed).bind(org.as_str().to_owned());
    tx.run(update).await?;
    Ok(())
}
