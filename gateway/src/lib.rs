//! The router: membership, relay, slip gate, mailboxes. It reads no body, knows no person, and vouches for nobody: members are
//! believed by their chain from the network's root alone.
//!
//! Edges ([`grpc`], [`cli`]) call use-cases, use-cases call [`store`]; a noun has the same file name in every layer.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gateway`] | the one struct of the process: open and serve |
//! | [`keys`] | the folders that `init` makes: root, registrar, gateway |
//! | [`invite`] | the token that lets one organisation join |
//! | [`membership`] | enrol, renew, publish a binding, list members, suspend |
//! | [`members`] | the verified members in memory |
//! | [`directory`] | publish a signed service |
//! | [`policy`] | the witness policy in force |
//! | [`log`] | the gateway's log as members and strangers read it |
//! | [`witnessing`] | which checkpoint is on offer, and which counts |
//! | [`member_logs`] | cosigning the logs of members |
//! | [`witness`] | a stand-alone witness, for another operator |
//! | [`changes`] | the poller that follows the change counter |
//! | [`issuing`] | certificates of members and of the gateway itself |
//! | [`relay`] | the stream of a node |
//! | [`gate`] | which envelope is taken |
//! | [`member_restore`] | a member that came back from a backup |
//! | [`restore`] | the gateway that came back from one: the next epoch of its log |
//! | [`stop`] | stopping a slip |
//! | [`budget`] | what a member may leave behind for nothing |
//! | [`bundles`] | members' recovery bundles |
//! | [`window`] | dropping what waited too long |
//! | [`audit`] | audit events with their salts |
//! | [`whole`] | whether the database fits its log |
//! | [`trail`] | a part of the log as a file that verifies offline |
//! | [`limits`] | every limit, with its reason |
//! | [`grpc`] | the edges of the services |
//! | `http` | the log in plain HTTPS, beside them |
//! | [`cli`] | the commands |

pub mod audit;
pub mod budget;
pub mod bundles;
pub mod changes;
pub mod cli;
pub mod directory;
pub mod gate;
pub mod gateway;
pub mod grpc;
mod http;
pub mod invite;
pub mod issuing;
pub mod keys;
pub mod limits;
pub mod log;
pub mod member_logs;
pub mod member_restore;
pub mod members;
pub mod membership;
pub mod policy;
pub mod relay;
pub mod restore;
pub mod stop;
pub mod store;
pub mod trail;
pub mod whole;
pub mod window;
pub mod witness;
pub mod witnessing;

pub use gateway::{Gateway, GatewayConfig, serve};
