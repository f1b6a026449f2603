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
/// Most services that one member publishes.
pub const SERVICES_PER_MEMBER_MAX: i64 = 100;
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
/// How long a member's certificate lives: 7 days; it is renewed at half its life.
pub const CERTIFICATE_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How far a renewal's time may be from the gateway's: beyond it the node's clock is off.
pub const RENEWAL_SKEW_MS: i64 = 60 * 60 * 1000;
/// How long tasks may take to end after the wish to stop.
pub const SHUTDOWN_MS: u64 = 10_000;
