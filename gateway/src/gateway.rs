//! The one struct of the process. [`crate::cli`] and the demo open it and serve; every use-case takes it as an argument.
//! No global stands beside it; time, randomness and the listener are handed in.

use crate::keys::{GatewayKeys, KeyError};
use crate::members::{KnownMember, Members};
use crate::{changes, grpc, store};
use kith_proto::id::{NetworkName, OrgId};
use kith_proto::permits::MemberState;
use kith_proto::problem::Problem;
use kith_proto::sign::PublicKey;
use kith_service::clock::Clock;
use kith_service::rng::Rng;
use kith_service::shutdown::Shutdown;
use kith_service::store::{Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a gateway keeps its keys and its rows.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The folder `gateway` that `init` made.
    pub data_dir: PathBuf,
    /// `sqlite:///path` or `postgres://…`.
    pub store_url: String,
}

/// A gateway, shared as `Arc`.
pub struct Gateway {
    /// The network it routes for.
    pub network: NetworkName,
    /// The network's root; every member is verified from it.
    pub root: PublicKey,
    /// What it speaks with: issuing certificate, signing key, and the root's statement over them.
    pub keys: GatewayKeys,
    /// Its rows.
    pub store: Store,
    /// Its time.
    pub clock: Clock,
    /// Its randomness.
    pub rng: Rng,
    /// The verified members.
    pub members: Members,
}
