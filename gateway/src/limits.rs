//! Every limit of the gateway, each with the reason for its value. Used by the edges and the use-cases.
//! A queue, page, body or retry without a constant here is a mistake.

/// Most members of one network: a region's organisations with room; each costs about 10 KiB of memory.
pub const MEMBERS_MAX: usize = 500;
/// Longest address of the gateway: what an invite carries.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// How long the issuing certificate and the root's statement over the gateway's keys hold: five years, the life of a machine.
pub const ISSUER_LIFE_MS: i64 = 5 * 365 * 24 * 60 * 60 * 1000;
/// How long a registrar may admit members: a year.
pub const REGISTRAR_LIFE_MS: i64 = 365 * 24 * 60 * 60 * 1000;
/// Most HTTP/2 streams of one connection: a node needs one long stream and a few short calls.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 32;
/// Most anonymous calls (enrol, renew, stop) at work at once: each costs a few signature checks and one transaction, under
/// 5 ms; above it the caller is told to come back.
pub const ANONYMOUS_IN_FLIGHT_MAX: usize = 64;
/// When a caller that was turned away may come back.
pub const BUSY_RETRY_AFTER_MS: i64 = 1_000;
/// Longest enrolment or renewal message: three statements of 4 KiB with their signatures and a certificate request of 8 KiB.
pub const ENROLMENT_BYTES_MAX: usize = 32 * 1024;
/// Longest message of the stop page: two fields of at most 32 bytes.
pub const STOP_BYTES_MAX: usize = 1024;
/// Longest message of the relay: one envelope of 1 MiB, or 64 small ones of 1 MiB together, with their order lines and a margin.
pub const RELAY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most members on one page of the list.
pub const MEMBERS_PAGE_MAX: usize = 100;
/// Members on a page when the caller names no size.
pub const MEMBERS_PAGE_DEFAULT: usize = 50;
/// Most bytes of a page of members, when it has more than one: half of what a client takes by default (4 MiB).
pub const MEMBERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How often the change counter is read: four times within the second in which a suspension must act.
pub const CHANGES_POLL_MS: u64 = 250;
/// How often the folder and the store are looked at for a new witness policy: "within seconds", at the cost of one row and one file.
pub const POLICY_POLL_MS: u64 = 1_000;
/// How long a member's certificate lives: 7 days; it is renewed at half its life.
pub const CERTIFICATE_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How far a renewal's time may be from the gateway's: beyond it the node's clock is off.
pub const RENEWAL_SKEW_MS: i64 = 60 * 60 * 1000;
/// How long tasks may take to end after the wish to stop.
pub const SHUTDOWN_MS: u64 = 10_000;

// The relay.

/// Envelopes and withheld lines of one stream without an answer: four times what keeps the take door busy (256), and at most a
/// few MiB of referrals. What a node is told in `GatewayHello`.
pub const SUBMISSIONS_IN_FLIGHT_MAX: usize = 1024;
/// Most envelopes in one submission.
pub const SUBMISSION_ENVELOPES_MAX: usize = 64;
/// Most bytes of envelopes in one submission of more than one.
pub const SUBMISSION_BYTES_MAX: usize = 1 << 20;
/// Most open streams, those without a hello yet included: one a member, and as many again while broken ones are found out.
pub const STREAMS_MAX: usize = 2 * MEMBERS_MAX;
/// Most open streams of one member: the one at work, and those that broke or have not said hello yet. Only a hundred members together
/// can take all places.
pub const STREAMS_PER_MEMBER_MAX: usize = 8;
/// Rows that one member may leave in an hour and that serve nobody: of lines refused or withheld (outcome, tombstone, audit event), of
/// lines for somebody who is no member, of slips shown by lines that were not taken, of lines repeated in an order batch that is kept,
/// of stops of slips where it is no party, of renewals. A node checks before it sends, and leaves a few a day; a hostile one leaves
/// some 3 MiB an hour until its operator is asked or it is suspended.
pub const IDLE_ROWS_PER_HOUR_MAX: usize = 2_000;
/// Rows above it that only withdrawals, their proofs and stops may use.
pub const IDLE_ROWS_RESERVE: usize = 2_000;
/// Frames that one stream may send in a second; above it the gateway reads no further until the second is over. Twenty times
/// what a node at full load sends.
pub const FRAMES_PER_SECOND: u32 = 5_000;
/// Frames made and not yet taken by the connection, per stream; at most 2 MiB each, then the stream waits for its node.
pub const FRAMES_OUT_MAX: usize = 4;
/// How long a node may take to say hello, in ms.
pub const HELLO_MS_MAX: u64 = 10_000;
/// Members of a hello's `received` list, at most.
pub const HELLO_PAIRS_MAX: usize = 2 * MEMBERS_MAX;
/// Submissions that wait in a stream for the take door, and receipts for the settle door.
pub const DOOR_WAITING_MAX: usize = 256;
/// Envelope lines that a stream hands to the take door at once.
pub const TAKE_LINES_MAX: usize = 256;
/// Submissions of one take transaction, over all streams: with 64 small envelopes each, 4,096 rows a table.
pub const TAKE_ROWS_MAX: usize = 64;
/// Receipts of one settle transaction, over all streams.
pub const SETTLE_ROWS_MAX: usize = 256;
/// Rows of one read of a mailbox.
pub const DELIVERY_ROWS_MAX: usize = 128;
/// Bytes of envelopes in one read of a mailbox and one `Delivery`; the last envelope may stand over it.
pub const DELIVERY_BYTES_MAX: i64 = 1 << 20;
/// Delivered envelopes of one stream without a receipt.
pub const DELIVERY_IN_FLIGHT_MAX: usize = 1024;
/// Notices of one read.
pub const NOTICES_MAX: usize = 64;
/// How often a stream looks into its mailbox without having been woken, in ms: another replica may have filled it.
pub const DELIVERY_POLL_MS: u64 = 2_000;
/// Bytes waiting for one member, from all senders: a month of a busy hospital's mail.
pub const MAILBOX_BYTES_MAX: i64 = 256 << 20;
/// Bytes waiting for one member from one sender: four senders must act together to fill a mailbox.
pub const PAIR_BYTES_MAX: i64 = 64 << 20;
/// Bytes above both limits that only withdrawals and their proofs may use.
pub const MAILBOX_RESERVE_BYTES: i64 = 16 << 20;
/// Questions and answers of one pair on one day (UTC).
pub const FORMS_PER_DAY_MAX: i64 = 20;
/// When an envelope may come again that found the mailbox full, or a library failing.
pub const MAILBOX_FULL_RETRY_MS: i64 = 5_000;
/// When an envelope may come again whose sealing key is stale: as soon as it is sealed anew.
pub const STALE_KEY_RETRY_MS: i64 = 1;
/// When a line may come again that stood behind one that was not taken: whatever that one's wait is.
pub const BEHIND_RETRY_MS: i64 = 1;
/// Wait for mail to a member that a restored gateway does not know: one that joined after the backup enrols again when it attaches.
pub const RETURNING_RETRY_MS: i64 = 60_000;
/// How far ahead of the gateway a sender's clock may be.
pub const CLOCK_AHEAD_MS_MAX: i64 = 60 * 60 * 1000;
/// How long mail waits for its recipient: the mailbox window of 30 days.
pub const MAILBOX_WINDOW_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How long an envelope's id and outcome are kept: twice the mailbox window.
pub const TAKEN_MS_MAX: i64 = 2 * MAILBOX_WINDOW_MS;
/// How long a delivered envelope's id and outcome are kept.
pub const DELIVERED_MS_MAX: i64 = MAILBOX_WINDOW_MS;
/// How often mailboxes are swept: mail that expires is dropped within ten minutes, or when it would be delivered.
pub const SWEEP_EVERY_MS: u64 = 10 * 60 * 1000;
/// Rows of one transaction of the sweeper: short enough not to hold up the doors.
pub const SWEEP_ROWS_MAX: usize = 256;

// Members that come back.

/// Restores of one member in a day: one, and a few more where the first went wrong; each has every other member offer again.
pub const RESTORES_PER_DAY_MAX: i64 = 8;
/// How long a restored member's mail is waited for: as long as senders keep what they sent.
pub const RESTORE_MS_MAX: i64 = MAILBOX_WINDOW_MS;
/// Longest request of a restored node: 4,096 envelopes of some 60 bytes and a position of some 110 bytes for each member.
pub const RESTORE_BYTES_MAX: usize = 512 * 1024;
/// Queued envelopes of one request.
pub const RESTORE_QUEUED_MAX: usize = 4096;
/// Answered envelopes, or stops, of one message.
pub const RESTORE_PAGE: usize = 1024;
/// When a new line of a pair may come that is being offered again: its sender offers what is missing first.
pub const REOFFER_RETRY_MS: i64 = 2_000;
/// How long a sender may hold the wish to offer again and offer nothing of it: one that can has done so within minutes, and a weekend
/// may lie between. One that cannot, as it came back from a backup too, says so; one of a version that cannot say it sends nothing new to the
/// pair's recipient until then.
pub const REOFFER_STALLED_MS: i64 = 3 * 24 * 60 * 60 * 1000;
/// Tombstones for what never came, of one transaction of the sweeper.
pub const REOFFER_ROWS_MAX: usize = 1024;
// Recovery bundles; one may have `kith_proto::recovery::BUNDLE_BYTES_MAX`, 256 MiB.

/// Longest message of their service: a chunk of 768 KiB and its frame.
pub const BUNDLE_MESSAGE_BYTES_MAX: usize = BUNDLE_CHUNK_BYTES_MAX + 1024;
/// Longest chunk.
pub const BUNDLE_CHUNK_BYTES_MAX: usize = 768 << 10;
/// Most uploads at once, one of each member: each writes through the one writer of the store.
pub const BUNDLES_IN_FLIGHT_MAX: usize = 16;
/// Most bundles that are given at once, one of each organisation: places of their own, as each may take an hour.
pub const BUNDLE_FETCHES_MAX: usize = 16;
/// Most uploads of a member in an hour, and as many fetches: a node gives one a day, and again each ten minutes when that failed.
pub const BUNDLES_PER_HOUR_MAX: u32 = 12;
/// Most bundles that are kept of a member, each fetched by another secret.
pub const BUNDLES_KEPT_MAX: usize = 3;
/// How long at least a bundle is kept after one of another secret took its place, in ms: a day to find out that a thief left that.
pub const BUNDLE_REPLACED_MS: i64 = 24 * 60 * 60 * 1000;
/// How old it must be as well before it goes, in ms: two days, by which erasure must reach it.
pub const BUNDLE_KEPT_MS: i64 = 2 * 24 * 60 * 60 * 1000;
/// How long one message may take, in ms: a chunk over a line of 20 KiB a second, with a margin.
pub const BUNDLE_MESSAGE_MS_MAX: u64 = 60_000;
/// How long a whole bundle may take, in ms: 256 MiB over a line of 75 KiB a second.
pub const BUNDLE_MS_MAX: u64 = 60 * 60 * 1000;
/// How long chunks of an upload that was cut off are kept: a day. The next upload of the same member deletes them before.
pub const BUNDLE_UNFINISHED_MS_MAX: i64 = 24 * 60 * 60 * 1000;

// The log.

/// How often it is looked whether a checkpoint is to be offered: a leaf is to count within seconds, and each offer costs every witness
/// a signature and a transaction.
pub const OFFER_EVERY_MS: u64 = 1_000;
/// How long a checkpoint stays on offer without counting while the log grows: a witness that is reached at all has answered by then.
pub const OFFER_MS_MAX: u64 = 5_000;
/// Longest message of the log's service: the longest request of a witness, and its frame.
pub const LOG_BYTES_MAX: usize = kith_proto::log::witness::ADD_CHECKPOINT_BYTES_MAX + 1024;
/// Most entries of one page.
pub const ENTRIES_PAGE_MAX: usize = 4096;
/// Entries of a page when the caller names no count.
pub const ENTRIES_PAGE_DEFAULT: usize = 1024;
/// Bytes after which a page of entries ends: half of what a client takes by default (4 MiB); the last bundle may stand over it by its
/// 256 entries with preimages of some 300 bytes each.
pub const ENTRIES_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most proofs of one answer: each is at most 40 hashes.
pub const PROOFS_MAX: usize = 256;
/// Most epochs of one member's log that the gateway puts down: a new one begins only when a node comes back from a backup.
pub const EPOCHS_PER_MEMBER_MAX: usize = 64;
/// Longest time for an answer over plain HTTPS.
pub const HTTP_MS_MAX: u64 = 10_000;
/// How long a full tile may be kept by whoever fetched it: a year, as it never changes.
pub const TILE_KEPT_S: u32 = 365 * 24 * 60 * 60;
/// Most logs that one stand-alone witness knows: networks of a country, with their later epochs.
pub const WITNESS_LOGS_MAX: usize = 1_000;
/// Longest time for one question to a witness, connecting included.
pub const WITNESS_MS_MAX: u64 = 10_000;
/// How long the gateway waits before it asks a witness again that could not be reached or refused.
pub const WITNESS_RETRY_MS: u64 = 5_000;
