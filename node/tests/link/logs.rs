//! The small gateway's log: true as long as a story does not make it lie. A leaf for each binding that is listed.
//! Never anything but lists in memory; roots and proofs are made from all leaves each time.

use std::collections::{BTreeMap, BTreeSet};

use kith_proto::log::checkpoint::Checkpoint;
use kith_proto::log::note::NoteSignature;
use kith_proto::log::origin::Keeper;
use kith_proto::log::policy::WitnessPolicy;
use kith_proto::log::proof::Plan;
use kith_proto::log::tree::{Hash, Node, TreeHead, head_of};
use kith_proto::log::witness::{AddCheckpoint, WitnessRefusal, write_answer};
use kith_proto::sign::{PublicKey, SigningKey};
use kith_proto::trail::{Code, Event, Leaf};
use kith_proto::trust::binding_hash;
use kith_proto::v1;
use kith_proto::v1::add_checkpoint_response::Outcome;
use kith_proto::v1::log_service_server::LogService;
use kith_service::status::status;
use tonic::{Request, Response, Status};

use crate::gateway::{Inner, T0};
use crate::services::Service;

/// The log, and what a story has turned in it.
pub(crate) struct Logs {
    /// Its epoch, and the root's word for it.
    pub(crate) epoch: u64,
    pub(crate) word: Option<v1::Signed>,
    /// The entries, as they are shown.
    pub(crate) entries: Vec<v1::LogEntry>,
    logged: BTreeSet<[u8; 32]>,
    /// Lists bindings without leaves.
    pub(crate) is_held: bool,
    /// Shows no more of its log than this.
    pub(crate) shown: Option<u64>,
    /// The roots that it signs, where they are not those of the entries.
    pub(crate) roots: BTreeMap<u64, Hash>,
    /// The policy's number, its threshold, and its witnesses.
    pub(crate) policy: (u64, u32, Vec<(String, PublicKey)>),
    /// Cosignatures, by the size that they are for.
    pub(crate) cosignatures: Vec<(u64, NoteSignature)>,
    /// What it has cosigned of its members' logs, by origin.
    pub(crate) cosigned: BTreeMap<String, TreeHead>,
    /// Refuses to cosign anything of its members for now.
    pub(crate) cosigns_nothing: bool,
    /// How often it was asked to.
    pub(crate) asked: u32,
    /// How often it was asked where its own log stands.
    pub(crate) looked: u32,
}

impl Default for Logs {
    fn default() -> Self {
        let mut logs = Self {
            epoch: 1,
            word: None,
            entries: Vec::new(),
            logged: BTreeSet::new(),
            is_held: false,
            shown: None,
            roots: BTreeMap::new(),
            policy: (1, 0, Vec::new()),
            cosignatures: Vec::new(),
            cosigned: BTreeMap::new(),
            cosigns_nothing: false,
            asked: 0,
            looked: 0,
        };
        logs.append(&Event::new(Code::EpochOpened, T0).number("number", 1));
        logs
    }
}

impl Logs {
    /// Appends a leaf; opened only where it is of the key log.
    pub(crate) fn append(&mut self, event: &Event) {
        let salt = [u8::try_from(self.entries.len() % 251).unwrap(); 16];
        let leaf = Leaf::new(event.code(), &salt, event.preimage());
        let is_open = event.code().is_of_key_log();
        self.entries.push(v1::LogEntry {
            entry: leaf.to_string(),
            salt: if is_open { salt.to_vec() } else { Vec::new() },
            preimage: if is_open {
                event.preimage().to_owned()
            } else {
                String::new()
            },
        });
    }

    /// Appends the leaf of a binding.
    pub(crate) fn bind(&mut self, org: &str, number: i64, hash: [u8; 32]) {
        let code = if number == 1 {
            Code::MemberJoined
        } else {
            Code::BindingPublished
        };
        let event = Event::new(code, T0).org("organisation", &org.parse().unwrap());
        self.append(&event.number("number", number).hash("binding", &hash));
        self.logged.insert(hash);
    }

    /// A leaf for each binding of a chain that has none, unless they are held back.
    pub(crate) fn list(&mut self, org: &str, chain: &v1::BindingChain) {
        for (binding, number) in chain.bindings.iter().zip(1..) {
            let hash = binding_hash(binding);
            if !self.is_held && !self.logged.contains(&hash) {
                self.bind(org, number, hash);
            }
        }
    }

    /// Begins anew with a leaf for each binding of these members, as a gateway does that came back from a backup.
    pub(crate) fn begin_epoch(&mut self, epoch: u64, members: &BTreeMap<String, v1::Member>) {
        self.epoch = epoch;
        self.entries.clear();
        self.logged.clear();
        self.cosignatures.clear();
        self.roots.clear();
        self.append(&Event::new(Code::EpochOpened, T0).number("epoch", epoch.cast_signed()));
        for (org, member) in members {
            self.list(org, &member.chain.clone().unwrap());
        }
    }

    fn hashes(&self, size: u64) -> Vec<Hash> {
        let some = self.entries.iter().zip(0..size);
        some.map(|(entry, _)| Hash::of_leaf(entry.entry.as_bytes()))
            .collect()
    }

    /// The size that is shown.
    pub(crate) fn size(&self) -> u64 {
        self.shown.unwrap_or(self.entries.len() as u64)
    }

    /// The signed note of a size, with the cosignatures for it.
    pub(crate) fn note(&self, inner: &Inner, size: u64) -> String {
        let mut head = head_of(self.hashes(size)).unwrap();
        if let Some(root) = self.roots.get(&size) {
            head.root = *root;
        }
        let origin = Keeper::Gateway.origin(&inner.network, self.epoch);
        let checkpoint = Checkpoint::new(&origin, head).unwrap();
        let mut lines = vec![checkpoint.sign(&inner.receipts).unwrap()];
        let of_size = self.cosignatures.iter().filter(|(of, _)| *of == size);
        lines.extend(of_size.map(|(_, line)| line.clone()));
        checkpoint.note(lines).unwrap().to_string()
    }

    /// Cosigns the tree of a size as a witness.
    pub(crate) fn cosign(&mut self, inner: &Inner, size: u64, (name, key): (&str, &SigningKey)) {
        let head = head_of(self.hashes(size)).unwrap();
        let checkpoint = Checkpoint::new(&Keeper::Gateway.origin(&inner.network, self.epoch), head).unwrap();
        let line = checkpoint
            .cosign(&name.parse().unwrap(), key, 1_800_000_000)
            .unwrap();
        self.cosignatures.push((size, line));
    }

    /// The largest size with as many cosignatures as the policy asks for.
    fn counted(&self) -> Option<u64> {
        let needed = self.policy.1 as usize;
        let enough = |size: &u64| self.cosignatures.iter().filter(|(of, _)| of == size).count() >= needed;
        (0..=self.size()).rev().find(enough)
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Vec<u8>> {
        let hashes = self.hashes(size);
        let node = |node: Node| {
            let first = usize::try_from(node.index << node.level).unwrap();
            let leaves = hashes[first..first + (1 << node.level)].iter().copied();
            Ok::<_, Status>(head_of(leaves).unwrap().root)
        };
        let proof = Plan::inclusion(index, size).unwrap().hashes(node).unwrap();
        proof.iter().map(|hash| hash.0.to_vec()).collect()
    }
}

impl Inner {
    /// The root's policy in force.
    pub(crate) fn policy(&self) -> v1::Signed {
        let (number, threshold, witnesses) = self.logs.lock().unwrap().policy.clone();
        let witnesses = witnesses.into_iter().map(|(name, key)| v1::Witness {
            name,
            public_key: key.0.to_vec(),
        });
        let policy = v1::WitnessPolicy {
            network: self.network.to_string(),
            threshold,
            witnesses: witnesses.collect(),
            number,
            made_at_ms: T0,
            ..v1::WitnessPolicy::default()
        };
        WitnessPolicy::issue(&self.root, &policy).unwrap()
    }
}

#[tonic::async_trait]
impl LogService for Service {
    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let policy = Some(self.0.policy());
        let mut logs = self.0.logs.lock().unwrap();
        logs.looked += 1;
        let counted = logs.counted().map(|size| logs.note(&self.0, size));
        Ok(Response::new(v1::GetCheckpointResponse {
            offered: logs.note(&self.0, logs.size()),
            counted: counted.unwrap_or_default(),
            policy,
            epoch: logs.word.clone(),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let asked = request.into_inner();
        let logs = self.0.logs.lock().unwrap();
        let from = logs.entries.iter().skip(usize::try_from(asked.first).unwrap());
        // Pages of three, so that every story reads several.
        let entries = from.take((asked.count as usize).min(3)).cloned().collect();
        Ok(Response::new(v1::ListEntriesResponse { entries }))
    }

    async fn prove_leaves(
        &self,
        request: Request<v1::ProveLeavesRequest>,
    ) -> Result<Response<v1::ProveLeavesResponse>, Status> {
        let logs = self.0.logs.lock().unwrap();
        let problem = kith_proto::problem::Problem::WrongState;
        let size = logs.counted().ok_or_else(|| status(problem))?;
        let asked = request.into_inner();
        if asked.indexes.iter().any(|index| *index >= size) {
            return Err(status(kith_proto::problem::Problem::NotFound));
        }
        let leaves = asked.indexes.into_iter().map(|index| v1::LeafInclusion {
            index,
            hashes: logs.inclusion(index, size),
        });
        Ok(Response::new(v1::ProveLeavesResponse {
            counted: logs.note(&self.0, size),
            leaves: leaves.collect(),
        }))
    }

    async fn add_cosignature(
        &self,
        request: Request<v1::AddCosignatureRequest>,
    ) -> Result<Response<v1::AddCosignatureResponse>, Status> {
        let note = request.into_inner().note;
        let note = kith_proto::log::note::Note::parse(note.as_bytes()).unwrap();
        let head = *note.text().parse::<Checkpoint>().unwrap().head();
        let mut logs = self.0.logs.lock().unwrap();
        assert_eq!(head, head_of(logs.hashes(head.size)).unwrap());
        let line = note.signatures().last().unwrap().clone();
        logs.cosignatures.push((head.size, line));
        let counted = logs.counted() == Some(head.size);
        Ok(Response::new(v1::AddCosignatureResponse { counted }))
    }

    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let request: AddCheckpoint = request.into_inner().request.parse().unwrap();
        let (keeper, epoch) = Keeper::of_origin(request.claimed_origin(), &self.0.network).unwrap();
        let Keeper::Node(org) = &keeper else {
            panic!("the gateway's own log");
        };
        let chain = self.0.chain(org.as_str());
        let member = kith_proto::trust::verify_chain(
            &chain,
            &self.0.root.public(),
            &self.0.network,
            self.0.clock.now_ms(),
        );
        let key = member.unwrap().bindings.last().unwrap().signing_key;
        let keys = [keeper.log_key(&self.0.network, epoch, key)];
        let mut logs = self.0.logs.lock().unwrap();
        logs.asked += 1;
        if logs.cosigns_nothing {
            return Err(status(kith_proto::problem::Problem::Unavailable));
        }
        let last = logs.cosigned.get(request.claimed_origin());
        let outcome = match request.check(&keys, last) {
            Ok(checkpoint) => {
                logs.cosigned
                    .insert(checkpoint.origin().to_owned(), *checkpoint.head());
                let name = Keeper::Gateway.witness(&self.0.network);
                let line = checkpoint.cosign(&name, &self.0.receipts, 1_800_000_000).unwrap();
                Outcome::Cosignatures(write_answer(&[line]))
            }
            Err(WitnessRefusal::OtherSize { size }) => Outcome::HeldSize(size),
            Err(refused) => return Err(status(refused.problem())),
        };
        Ok(Response::new(v1::AddCheckpointResponse {
            outcome: Some(outcome),
        }))
    }
}
