//! The organisation: people, grants, referrals, directory copy, trail; gRPC for its systems and the link to the gateway.
//!
//! Three calls per side: edge → use-case → `store/`. Rules are in `kith-proto`, statements in `store/`, keys of content in
//! [`content`]. [`node::Node`] is the one struct that everything is handed.
//!
//! | module | what it does |
//! |---|---|
//! | [`node`] | the struct of a running node, and how it opens |
//! | [`keys`] | the data folder: membership, signing and sealing keys |
//! | [`content`] | content at rest: holding, category and epoch keys |
//! | [`keylog`] | the gateway's log as this node has followed it: whose keys may be believed |
//! | [`alarms`] | what must not be, was seen, and needs a person |
//! | [`members`] | the members of the network as verified |
//! | [`audit`] | the trail's events |
//! | [`tokens`] | who of the organisation may call |
//! | [`colleagues`] | who signs in to the workspace |
//! | [`passkeys`] | signing in with a device |
//! | [`requests`] | a repeat gets the first answer |
//! | [`parts`] | what a record or a referral may hold, checked |
//! | [`persons`] | records of people |
//! | [`grants`] | statements, grants and their slips |
//! | [`drafts`] | referrals that somebody is making, page by page |
//! | [`outbox`] | sealing an envelope and queueing it |
//! | [`referrals`] | sending referrals |
//! | [`moves`] | moves that people ask for, and messages |
//! | [`withdrawals`] | taking consent back, or narrowing it |
//! | [`timers`] | what only time brings |
//! | [`threads_view`] | lists, watch and opening of threads |
//! | [`access`] | openings for the person to see: noted, reported, taken |
//! | [`join`] | from an invite to a data folder |
//! | [`link`] | the stream to the gateway |
//! | [`receive`] | what other members sent |
//! | [`settle`] | what others said about envelopes of this node |
//! | [`recovery`] | the recovery sheet, bundles, and loading one |
//! | [`directory`] | publishing what this organisation offers |
//! | [`trail`] | reading, counting, checking and exporting the trail |
//! | [`restore`] | a node that comes back from a backup |
//! | [`returning`] | giving back to a member that came back how threads stand |
//! | [`threads`] | one thread and what a move makes of it |
//! | [`status`] | how a node is, for the command line |
//! | [`grpc`] | what the organisation's own systems call |
//! | [`web`] | the workspace of the organisation's own people |
//! | [`cli`] | what people type |
//! | [`serve`] | a running node: edge, link and timers together |

pub mod access;
pub mod alarms;
pub mod audit;
pub mod cli;
pub mod colleagues;
pub mod content;
mod cut;
pub mod directory;
pub mod drafts;
pub mod grants;
pub mod grpc;
pub mod join;
pub mod keylog;
pub mod keys;
pub mod link;
pub mod members;
pub mod messages;
pub mod moves;
pub mod node;
pub mod outbox;
pub mod parts;
pub mod passkeys;
pub mod persons;
pub mod receive;
pub mod recovery;
pub mod referrals;
pub mod rekey;
pub mod requests;
pub mod restore;
pub mod returning;
pub mod serve;
pub mod settle;
pub mod status;
pub mod store;
mod thread_set;
pub mod threads;
pub mod threads_view;
pub mod timers;
pub mod tokens;
pub mod trail;
pub mod web;
pub mod withdrawals;

#[cfg(test)]
pub(crate) mod tests;
