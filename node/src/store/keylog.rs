//! What this node holds of the gateway's log: how far it was followed and believed, and the opened leaves of its key log.
//! Called by the link's follower, by the members' copy at start, and by whoever gives a binding's proof to others.
//! Never moves backwards: a smaller size is not written over a larger one, and of two epochs the higher is followed.

use kith_proto::id::OrgId;
use kith_proto::log::leaf_proof::LeafProof;
use kith_proto::log::note::Note;
use kith_proto::log::tree::{Frontier, Hash};
use kith_proto::trail::Code;
use kith_service::store::{Insert, Row, StoreError, Tx, bytes, column, query};

use super::{stored, word, word_or_null};
use crate::keylog::{Held, KeyLeaf, Mark};

const TABLE: &str = "keylog";
const LEAVES: &str = "keylog_leaf";

const HELD: &str = "SELECT epoch, followed_size, followed_frontier, followed, followed_at_ms, believed_size, \
    believed_frontier, believed, believed_at_ms FROM keylog ORDER BY epoch DESC LIMIT 1";

/// Where the newest epoch stands; `None` before the first checkpoint.
pub async fn held(tx: &mut Tx) -> Result<Option<Held>, StoreError> {
    let row = tx.one(query(HELD)).await?;
    row.map(|row| read_held(&row)).transpose()
}

fn read_held(row: &Row) -> Result<Held, StoreError> {
    let corrupt = |column| StoreError::Corrupt { table: TABLE, column };
    let number = |name| -> Result<u64, StoreError> {
        let number: i64 = column(row, TABLE, name)?;
        u64::try_from(number).map_err(|_| corrupt(name))
    };
    let frontier = |size: u64, name| -> Result<Frontier, StoreError> {
        let hashes: Vec<u8> = column(row, TABLE, name)?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        let whole = rest.is_empty();
        let hashes = hashes.iter().copied().map(Hash).collect();
        let frontier = Frontier::new(size, hashes).map_err(|_| corrupt(name))?;
        if whole { Ok(frontier) } else { Err(corrupt(name)) }
    };
    let note = |name| -> Result<Option<Note>, StoreError> {
        let bytes: Option<Vec<u8>> = column(row, TABLE, name)?;
        let read = bytes.map(|bytes| Note::parse(&bytes)).transpose();
        read.map_err(|_| corrupt(name))
    };
    let believed = match note("believed")? {
        None => None,
        Some(note) => Some(Mark {
            frontier: frontier(number("believed_size")?, "believed_frontier")?,
            note,
            at_ms: column(row, TABLE, "believed_at_ms")?,
        }),
    };
    Ok(Held {
        epoch: number("epoch")?,
        followed: Mark {
            frontier: frontier(number("followed_size")?, "followed_frontier")?,
            note: note("followed")?.ok_or(corrupt("followed"))?,
            at_ms: column(row, TABLE, "followed_at_ms")?,
        },
        believed,
    })
}

/// Which epoch is followed: the highest of the root's words, or the first.
const EPOCH: &str = "SELECT COALESCE(MAX(epoch), 1) AS epoch FROM log_epoch_word";
const PUT_EPOCH: &str = "INSERT INTO log_epoch_word (epoch, signed, taken_up_at_ms) SELECT $1, $2, $3 \
    WHERE NOT EXISTS (SELECT 1 FROM log_epoch_word WHERE epoch >= $1) ON CONFLICT (epoch) DO NOTHING";

/// The epoch of the gateway's log that is followed, from 1.
pub async fn epoch(tx: &mut Tx) -> Result<u64, StoreError> {
    let row = tx.one(query(EPOCH)).await?;
    let epoch: i64 = row.map_or(Ok(1), |row| column(&row, "log_epoch_word", "epoch"))?;
    Ok(epoch.unsigned_abs())
}

/// Keeps the root's word for a later epoch, which the caller has verified; `false`, and nothing written, where one as high is kept.
pub async fn put_epoch(tx: &mut Tx, epoch: u64, signed: Vec<u8>, at_ms: i64) -> Result<bool, StoreError> {
    let put = query(PUT_EPOCH).bind(stored(epoch)).bind(signed);
    Ok(tx.run(put.bind(at_ms)).await? == 1)
}

const PUT: &str = "INSERT INTO keylog (epoch, followed_size, followed_frontier, followed, followed_at_ms, believed_size, \
    believed_frontier, believed, believed_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
    ON CONFLICT (epoch) DO UPDATE SET followed_size = excluded.followed_size, \
    followed_frontier = excluded.followed_frontier, followed = excluded.followed, followed_at_ms = excluded.followed_at_ms, \
    believed_size = excluded.believed_size, believed_frontier = excluded.believed_frontier, believed = excluded.believed, \
    believed_at_ms = excluded.believed_at_ms WHERE keylog.followed_size <= excluded.followed_size \
    AND keylog.believed_size <= excluded.believed_size";

/// Writes where an epoch stands; `false`, and nothing written, where the store is further.
pub async fn put(tx: &mut Tx, held: &Held) -> Result<bool, StoreError> {
    let hashes = |mark: &Mark| -> Vec<u8> {
        let hashes = mark.frontier.hashes().iter();
        hashes.flat_map(|hash| hash.0).collect()
    };
    let (followed, believed) = (&held.followed, held.believed.as_ref());
    let put = query(PUT)
        .bind(stored(held.epoch))
        .bind(stored(followed.frontier.size()))
        .bind(hashes(followed))
        .bind(followed.note.to_string().into_bytes())
        .bind(followed.at_ms);
    let put = put
        .bind(stored(believed.map_or(0, |mark| mark.frontier.size())))
        .bind(believed.map(hashes).unwrap_or_default())
        .bind(believed.map(|mark| mark.note.to_string().into_bytes()))
        .bind(believed.map_or(0, |mark| mark.at_ms));
    Ok(tx.run(put).await? == 1)
}

static LEAF: Insert = Insert::into(
    "INSERT INTO keylog_leaf (number, epoch, code, organisation, binding, salt, preimage)",
    7,
    "ON CONFLICT (epoch, number) DO NOTHING",
);

/// Writes leaves of an epoch; those that stand already stay as they are.
pub async fn put_leaves(tx: &mut Tx, epoch: u64, leaves: &[KeyLeaf]) -> Result<(), StoreError> {
    let put = LEAF.rows(tx, leaves, |q, leaf| {
        q.bind(stored(leaf.number))
            .bind(stored(epoch))
            .bind(leaf.code.as_str())
            .bind(leaf.organisation.as_ref().map(|org| org.as_str().to_owned()))
            .bind(leaf.binding.map(|hash| hash.to_vec()))
            .bind(leaf.salt.to_vec())
            .bind(leaf.preimage.as_bytes().to_vec())
    });
    put.await.map(drop)
}

const BELIEVED: &str = "SELECT leaf.organisation, leaf.binding FROM keylog_leaf leaf JOIN keylog held ON held.epoch = leaf.epoch \
    WHERE leaf.binding IS NOT NULL AND leaf.organisation IS NOT NULL AND leaf.number >= $1 AND leaf.number < held.believed_size \
    AND leaf.epoch = (SELECT COALESCE(MAX(epoch), 1) FROM log_epoch_word) ORDER BY leaf.number";

/// The bindings that are believed, of leaves of the epoch that is followed, from this number on: each by its member and hash.
pub async fn believed(tx: &mut Tx, from: u64) -> Result<Vec<(OrgId, [u8; 32])>, StoreError> {
    let rows = tx.all(query(BELIEVED).bind(stored(from))).await?;
    let read = |row: &Row| Ok((word(row, LEAVES, "organisation")?, bytes(row, LEAVES, "binding")?));
    rows.iter().map(read).collect()
}

macro_rules! leaves {
    ($rest:literal) => {
        concat!(
            "SELECT number, code, organisation, binding, salt, preimage, proof FROM keylog_leaf ",
            $rest
        )
    };
}

const UNPROVEN: &str = leaves!("WHERE epoch = $1 AND number < $2 AND proof IS NULL ORDER BY number LIMIT $3");

/// The first leaves below this size that have no proof yet.
pub async fn unproven(tx: &mut Tx, epoch: u64, size: u64, limit: i64) -> Result<Vec<KeyLeaf>, StoreError> {
    let asked = query(UNPROVEN).bind(stored(epoch)).bind(stored(size));
    let rows = tx.all(asked.bind(limit)).await?;
    rows.iter().map(read_leaf).collect()
}

const OF_MEMBER: &str = leaves!(
    "WHERE organisation = $1 AND binding IS NOT NULL AND proof IS NOT NULL \
        AND epoch = (SELECT COALESCE(MAX(epoch), 1) FROM log_epoch_word) ORDER BY number"
);
const JOINING: &str = leaves!(
    "WHERE organisation = $1 AND code = 'member_joined' AND proof IS NOT NULL ORDER BY epoch DESC, number LIMIT 1"
);

/// The newest proven leaf of a member's joining, of whichever epoch: what a gateway that came back from a backup takes it again by.
pub async fn joining_of(tx: &mut Tx, org: &OrgId) -> Result<Option<(KeyLeaf, LeafProof)>, StoreError> {
    let row = tx.one(query(JOINING).bind(org.as_str().to_owned())).await?;
    row.map(|row| read_proven(&row)).transpose()
}

/// The leaves of a member's bindings in the epoch that is followed, each with its proof, in their order: what an export shows of its keys.
pub async fn bindings_of(tx: &mut Tx, org: &OrgId) -> Result<Vec<(KeyLeaf, LeafProof)>, StoreError> {
    let rows = tx.all(query(OF_MEMBER).bind(org.as_str().to_owned())).await?;
    rows.iter().map(read_proven).collect()
}

fn read_proven(row: &Row) -> Result<(KeyLeaf, LeafProof), StoreError> {
    let corrupt = StoreError::Corrupt {
        table: LEAVES,
        column: "proof",
    };
    let proof: Vec<u8> = column(row, LEAVES, "proof")?;
    let proof = String::from_utf8(proof).ok().and_then(|text| text.parse().ok());
    Ok((read_leaf(row)?, proof.ok_or(corrupt)?))
}

fn read_leaf(row: &Row) -> Result<KeyLeaf, StoreError> {
    let corrupt = |column| StoreError::Corrupt {
        table: LEAVES,
        column,
    };
    let number: i64 = column(row, LEAVES, "number")?;
    let preimage: Vec<u8> = column(row, LEAVES, "preimage")?;
    let binding: Option<Vec<u8>> = column(row, LEAVES, "binding")?;
    let binding = binding.map(|hash| hash.try_into().map_err(|_| corrupt("binding")));
    Ok(KeyLeaf {
        number: u64::try_from(number).map_err(|_| corrupt("number"))?,
        code: word(row, LEAVES, "code")?,
        organisation: word_or_null(row, LEAVES, "organisation")?,
        binding: binding.transpose()?,
        salt: bytes(row, LEAVES, "salt")?,
        preimage: String::from_utf8(preimage).map_err(|_| corrupt("preimage"))?,
    })
}

const PROVE: &str = "UPDATE keylog_leaf SET proof = $1 WHERE epoch = $2 AND number = $3";

/// Keeps a leaf's proof, which the caller has verified.
pub async fn put_proof(tx: &mut Tx, epoch: u64, proof: &LeafProof) -> Result<(), StoreError> {
    let put = query(PROVE)
        .bind(proof.to_string().into_bytes())
        .bind(stored(epoch));
    tx.run(put.bind(stored(proof.index()))).await.map(drop)
}

const STANDING: &str = "SELECT leaf.organisation, leaf.code FROM keylog_leaf leaf JOIN \
    (SELECT organisation, MAX(number) AS number FROM keylog_leaf WHERE epoch = $1 AND code IN ('member_suspended', 'member_resumed') \
    GROUP BY organisation) last ON last.number = leaf.number WHERE leaf.epoch = $1 AND leaf.organisation IS NOT NULL";

/// Every member that was ever suspended, and whether it is now, by the leaves that were followed.
pub async fn suspended(tx: &mut Tx, epoch: u64) -> Result<Vec<(OrgId, bool)>, StoreError> {
    let rows = tx.all(query(STANDING).bind(stored(epoch))).await?;
    let read = |row: &Row| {
        let code: Code = word(row, LEAVES, "code")?;
        Ok((word(row, LEAVES, "organisation")?, code == Code::MemberSuspended))
    };
    rows.iter().map(read).collect()
}
