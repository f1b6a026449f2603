//! Content at rest: nothing readable is stored, a destroyed key opens nothing, an epoch passes.

use kith_proto::id::{HoldingId, ThreadId};
use kith_proto::problem::Problem;
use kith_proto::words::Category;
use kith_service::store::Tx;

use super::provider;
use crate::audit::Code;
use crate::content::{Content, ContentError, Section, rotate_epoch};
use crate::grants;
use crate::outbox;
use crate::persons::{self, PersonError};
use crate::referrals;
use crate::store::counter::Counter;
use crate::store::holding::HoldingKind;
use crate::store::{holding, referral_content};
use crate::tests::fixture::{Place, Story, part};
use kith_service::rng::Rng;

/// A name and words that stand nowhere else.
const CANARY: &str = "Zebibaqqcanary";

async fn holdings(story: &Story) -> Vec<HoldingId> {
    let ids = story
        .bytes("SELECT holding_id AS b FROM holding ORDER BY kind")
        .await;
    ids.iter()
        .map(|id| HoldingId::from_bytes(id.as_slice().try_into().unwrap()))
        .collect()
}

async fn holding_of(story: &Story, id: HoldingId) -> holding::Holding {
    let get = |mut tx: Tx| async move { holding::get(&mut tx, id).await };
    story.node.store.read("holding", get).await.unwrap().unwrap()
}

/// A person with the canary, granted and referred.
async fn referred(place: Place) -> (Story, kith_proto::id::PersonId) {
    let story = Story::begin(place).await;
    let parts = vec![
        part(
            Category::Identity,
            &[("preferred_name", CANARY), ("other_names", CANARY)],
        ),
        part(Category::Need, &[("in_their_words", CANARY)]),
    ];
    let person = story.person(parts).await;
    let mut new = story.new_grant(person, vec![crate::tests::fixture::allowed("womens-circle")]);
    new.capture.understood = CANARY.into();
    let grant = grants::record(&story.node, &story.caller, &new)
        .await
        .unwrap()
        .grant_id;
    let grant = kith_proto::id::GrantId::try_from(grant.as_slice()).unwrap();
    let sent = referrals::send(&story.node, &story.caller, story.referral(person, grant)).await;
    sent.unwrap();
    persons::list(&story.node, &story.caller, "zebiba", (None, 5))
        .await
        .unwrap();
    persons::get(&story.node, &story.caller, &person).await.unwrap();
    (story, person)
}

/// Everything that is stored: the files of SQLite with their log, or every value of every table of PostgreSQL.
async fn stored(story: &Story) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(story.place.data().path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            found.push(std::fs::read(path).unwrap());
        }
    }
    let Some(url) = &story.place.store_url else {
        assert!(found.iter().any(|file| file.starts_with(b"SQLite format 3")));
        return found;
    };
    use sqlx::{Connection as _, Row as _};
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    let tables = "SELECT CAST(tablename AS TEXT) AS t FROM pg_catalog.pg_tables WHERE schemaname = 'public'";
    let tables = sqlx::query(tables).fetch_all(&mut connection).await.unwrap();
    assert!(tables.len() > 15);
    for table in tables.iter().map(|row| row.get::<String, _>("t")) {
        let rows = sqlx::AssertSqlSafe(format!("SELECT CAST(x AS TEXT) AS t FROM {table} x"));
        for row in sqlx::query(rows).fetch_all(&mut connection).await.unwrap() {
            found.push(row.get::<String, _>("t").into_bytes());
        }
    }
    found
}

#[tokio::test]
async fn no_name_or_word_is_readable_in_what_is_stored() {
    let (story, _) = referred(provider().await).await;
    let stored = stored(&story).await;
    let hex = data_encoding::HEXLOWER.encode(CANARY.as_bytes());
    // What is known to be there is found, so the search can find.
    let seen = |needle: &[u8]| {
        stored
            .iter()
            .any(|value| value.windows(needle.len()).any(|w| w == needle))
    };
    assert!(seen(b"womens-circle") && seen(b"envelope_sent"));
    for needle in [
        CANARY.as_bytes(),
        hex.as_bytes(),
        CANARY.to_lowercase().as_bytes(),
    ] {
        assert!(!seen(needle));
    }
    assert!(!format!("{:?} {:?}", story.node.names, story.node.content).contains(CANARY));
}

#[tokio::test]
async fn a_destroyed_key_makes_its_content_unreadable_and_no_other() {
    let (story, person) = referred(provider().await).await;
    let ids = holdings(&story).await;
    let (own, slip) = (ids[0], ids[1]);
    let destroy = |mut tx: Tx| async move { holding::destroy(&mut tx, &[slip], 1).await };
    assert_eq!(story.node.store.tx("destroy", destroy).await, Ok(1));
    assert_eq!(story.node.store.tx("destroy", destroy).await, Ok(0));
    let gone = holding_of(&story, slip).await;
    assert_eq!(
        story.node.content.unwrap(&gone).map(drop),
        Err(ContentError::Erased)
    );
    assert_eq!(ContentError::Erased.problem(), Problem::ConsentWithdrawn);
    assert!(
        persons::get(&story.node, &story.caller, &person).await.is_ok(),
        "the own record is another holding"
    );
    assert_eq!(
        rotate_epoch(&story.node).await.unwrap(),
        1,
        "a destroyed holding is not wrapped again"
    );

    let destroy = |mut tx: Tx| async move { holding::destroy(&mut tx, &[own], 1).await };
    assert_eq!(story.node.store.tx("destroy", destroy).await, Ok(1));
    let answer = persons::get(&story.node, &story.caller, &person).await;
    assert_eq!(answer, Err(PersonError::Content(ContentError::Erased)));
    let story = story.reopen().await;
    assert!(
        story.node.names.find("", None, (None, 5)).is_empty(),
        "an erased name is in no index"
    );
}

#[tokio::test]
async fn sealed_words_that_were_moved_to_another_row_do_not_open() {
    let (story, person) = referred(provider().await).await;
    let second = story.grant(person).await;
    let first = story
        .bytes("SELECT grant_id AS b FROM grant_record ORDER BY given_at_ms, grant_id")
        .await;
    assert_eq!(first.len(), 2);
    grants::get(&story.node, &story.caller, &second).await.unwrap();
    const MOVE: &str = "UPDATE content SET sealed = (SELECT o.sealed FROM content o WHERE o.kind = 'grant_capture' AND \
         o.owner_id <> content.owner_id) WHERE owner_id = (SELECT o.owner_id FROM content o WHERE \
         o.kind = 'grant_capture' ORDER BY o.owner_id DESC LIMIT 1)";
    assert_eq!(story.change(MOVE).await, 1);
    let opened = first.iter().max().unwrap().as_slice();
    let opened = kith_proto::id::GrantId::try_from(opened).unwrap();
    let moved = grants::get(&story.node, &story.caller, &opened)
        .await
        .unwrap_err();
    assert_eq!(moved, ContentError::Foreign.into());
}

#[tokio::test]
async fn narrowing_takes_one_section_and_leaves_the_rest() {
    let (story, _) = referred(provider().await).await;
    let slip = holdings(&story).await[1];
    let before = holding_of(&story, slip).await;
    let need = Section::Category(Category::Need);
    let keep: Vec<Section> = Section::all().filter(|section| *section != need).collect();
    let narrowed = story.node.content.narrowed(&before, &keep).unwrap();
    let row = &narrowed;
    let content = &story.node.content;
    let replace = |mut tx: Tx| async move {
        let newest = content.newest_under(&Counter::lock(&mut tx).await?)?;
        Ok::<_, PersonError>(holding::replace_keys(&mut tx, newest, std::slice::from_ref(row)).await?)
    };
    assert_eq!(story.node.store.tx("narrow", replace).await, Ok(true));
    let after = holding_of(&story, slip).await;
    let (old, new) = (before.keys.unwrap(), after.keys.clone().unwrap());
    assert!(
        old.0 != new.0,
        "the holding's key is a new one, so that the old page opens nothing"
    );
    let keys = story.node.content.unwrap(&after).unwrap();
    let owners = story.bytes("SELECT thread_id AS b FROM referral").await;
    let owner: [u8; 16] = owners[0].as_slice().try_into().unwrap();
    let thread_id = &ThreadId::from_bytes(owner);
    let row = |mut tx: Tx| async move { referral_content::find(&mut tx, thread_id).await };
    let row = story.node.store.read("content", row).await.unwrap().unwrap();
    let said = row.open(&keys).unwrap();
    let left: Vec<i32> = said.parts.iter().map(|part| part.category).collect();
    assert_eq!(left, [Category::Identity.number()]);
    assert!(said.erased && said.consent.is_some());
}

#[tokio::test]
async fn a_new_epoch_ends_the_old_key_and_nothing_is_lost() {
    let (story, person) = referred(provider().await).await;
    let old_file = story.place.data().read("epoch").unwrap().unwrap();
    let old_rows: Vec<holding::Holding> = {
        let ids = holdings(&story).await;
        vec![holding_of(&story, ids[0]).await, holding_of(&story, ids[1]).await]
    };
    assert_eq!(rotate_epoch(&story.node).await.unwrap(), 2);
    let new_file = story.place.data().read("epoch").unwrap().unwrap();
    assert!(
        old_file != new_file
            && !new_file.windows(64).any(|w| old_file
                .windows(64)
                .any(|o| o == w && w.iter().all(u8::is_ascii_hexdigit)))
    );
    for old in &old_rows {
        let answer = story.node.content.unwrap(old).map(drop);
        assert_eq!(answer, Err(ContentError::Foreign), "an old page opens nothing");
    }
    persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(rotate_epoch(&story.node).await.unwrap(), 2);
    assert_eq!(story.trail(Code::KeyRotated).await, 2);
    let story = story.reopen().await;
    let shown = persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(shown.parts[0].fields[0].value, CANARY);
    let ids = holdings(&story).await;
    let keys = story
        .node
        .content
        .unwrap(&holding_of(&story, ids[1]).await)
        .unwrap();
    let threads = story.bytes("SELECT thread_id AS b FROM referral").await;
    let thread = kith_proto::id::ThreadId::try_from(threads[0].as_slice()).unwrap();
    let read = |mut tx| async move { outbox::standing(&mut tx, thread).await };
    let standing = story
        .node
        .store
        .read::<_, kith_service::store::StoreError, _, _>("standing", read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(standing.body(&keys).unwrap().person_id, person.as_bytes());
    let other = story
        .node
        .content
        .unwrap(&holding_of(&story, ids[0]).await)
        .unwrap();
    assert!(
        standing.body(&other).is_err(),
        "a body opens with its own keys only"
    );
}

#[tokio::test]
async fn a_holding_that_waited_through_a_rotation_is_not_written_with_the_key_that_is_gone() {
    let (story, person) = referred(provider().await).await;
    let content = &story.node.content;
    // Prepared, as by a request or a letter, and then overtaken before its transaction.
    let (late, _) = content
        .new_holding(HoldingKind::Own, None, Section::all())
        .unwrap();
    let slip = holdings(&story).await[1];
    let less = content.narrowed(&holding_of(&story, slip).await, &[Section::Record]);
    let less = less.unwrap();
    assert_eq!(rotate_epoch(&story.node).await.unwrap(), 2);
    let (late, less) = (&[late], &[less]);
    let write = |mut tx: Tx| async move {
        let counter = Counter::lock(&mut tx).await?;
        let newest = content.newest_under(&counter)?;
        let inserted = holding::insert(&mut tx, newest, late).await?;
        let replaced = holding::replace_keys(&mut tx, newest, less).await?;
        counter.save(&mut tx).await?;
        Ok::<_, PersonError>((inserted, replaced))
    };
    assert_eq!(story.node.store.tx("late", write).await, Ok((false, false)));
    assert_eq!(
        ContentError::Overtaken.problem(),
        Problem::Unavailable,
        "to be tried again"
    );
    assert_eq!(story.number("SELECT COUNT(*) AS n FROM holding").await, 2);
    let story = story.reopen().await;
    persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(rotate_epoch(&story.node).await.unwrap(), 2);
}

#[tokio::test]
async fn a_rotation_that_was_cut_short_is_finished() {
    let (story, person) = referred(provider().await).await;
    // A crash after the new key was written and before any holding was wrapped again: two keys in the file.
    let file = String::from_utf8(story.place.data().read("epoch").unwrap().unwrap()).unwrap();
    let second = format!(",{{\"number\":2,\"key\":\"{}\"}}]", "5a".repeat(32));
    let both = file.replace(']', &second);
    story.place.data().write("epoch", both.as_bytes()).unwrap();
    let story = story.reopen().await;
    persons::get(&story.node, &story.caller, &person).await.unwrap();
    assert_eq!(rotate_epoch(&story.node).await.unwrap(), 2);
    assert_eq!(
        story
            .number("SELECT CAST(MIN(epoch) AS BIGINT) AS n FROM holding")
            .await,
        2
    );
    let loaded = Content::load(&story.place.data(), Rng::system()).unwrap();
    let ids = holdings(&story).await;
    assert!(loaded.unwrap(&holding_of(&story, ids[0]).await).is_ok());
}

#[tokio::test]
async fn what_an_epoch_overtakes_is_prepared_anew() {
    let story = Story::begin(provider().await).await;
    // The key is prepared for the old epoch before the rotation begins the next one, and written after.
    let (person, rotated) = tokio::join!(
        story.person(vec![part(Category::Identity, &[("preferred_name", CANARY)])]),
        rotate_epoch(&story.node)
    );
    rotated.unwrap();
    let (_, rotated) = tokio::join!(story.grant(person), rotate_epoch(&story.node));
    rotated.unwrap();
    assert_eq!(story.number("SELECT MAX(epoch) AS n FROM holding").await, 3);
}
