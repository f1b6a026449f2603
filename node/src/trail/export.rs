//! Exports: the lines that a question means as one file, in Kith's own form with everything that proves it, as FHIR, or as a table.
//! Called by the gRPC edge, which streams what [`Export::next`] gives.
//! Never gives out a byte before the trail says who exported how much; a repeat adds nothing to it.
//!
//! The file of Kith's own form ends where the newest checkpoint does that the gateway has cosigned, because nothing after it could be
//! verified; while there is none, the newest that this node signed alone, and then its verifier says so. The other two forms carry
//! no proofs and every event up to the question.

use kith_proto::id::OrgId;
use kith_proto::trail::event::Told;
use kith_proto::trail::export::{EventLeaf, ExportWriter, FORMAT, Header, Line, LogCheckpoint, MemberChain};
use kith_proto::trail::key::ORGANISATIONS;
use kith_proto::trail::{csv, fhir};
use kith_proto::v1;
use kith_service::log::LogError;
use kith_service::log::append::Stored;
use kith_service::log::proofs::{Basis, Proofs};
use kith_service::store::Tx;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::network::{self, Proven};
use super::question::Question;
use super::walk::Walk;
use super::{Filter, TrailError};
use crate::audit::{self, Code};
use crate::node::Node;
use crate::requests::{self, Asked};
use crate::store::counter::Counter;
use crate::store::trail;
use crate::tokens::Caller;

/// Most events of one file: as many as fit the format's 256 MiB at 1.5 kB each.
const EVENTS_MAX: usize = 170_000;
/// Largest part of the file, in bytes: one message.
const PART_BYTES_MAX: usize = 256 * 1024;
/// Events that are read for one part: some 200 kB.
const STEP: usize = 128;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Kith's own, which verifies offline.
    Trail,
    /// FHIR `AuditEvent`s, one a line.
    Fhir,
    /// A table (RFC 4180).
    Csv,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trail => "trail",
            Self::Fhir => "fhir",
            Self::Csv => "csv",
        }
    }
}

/// What is to be exported.
#[derive(Clone, Debug)]
pub struct ExportAsked {
    /// The request.
    pub asked: Asked,
    /// Who asks.
    pub caller: Caller,
    /// Which lines.
    pub filter: Filter,
    /// How.
    pub form: Form,
}

/// As of when a file is: a repeat gets the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct AsOf {
    at_ms: i64,
    last: i64,
}

/// A file under way.
pub struct Export {
    form: Form,
    /// What is still to be written.
    numbers: VecDeque<i64>,
    proofs: Proofs,
    /// None once the end was written, or of another form.
    writer: Option<ExportWriter>,
    /// Lines that are ready.
    ready: VecDeque<String>,
    ended: bool,
}

/// What was looked up before a file is begun.
struct Gathered {
    as_of: AsOf,
    numbers: Vec<i64>,
    question: BTreeMap<String, String>,
    members: Vec<Proven>,
    proofs: Proofs,
}

impl Export {
    /// Looks up what belongs into the file, and commits that it was exported; a repeat of the same request writes nothing.
    /// [`TrailError::TooMuch`] over 170,000 events, [`TrailError::Repeat`] when the id came before with another question.
    pub async fn begin(node: &Node, asked: &ExportAsked) -> Result<Self, TrailError> {
        let read = |mut tx: Tx| async move { gather(&mut tx, node, asked).await };
        let mut gathered = node.store.read("gather export", read).await?;
        let noted = note(node, asked, &gathered).await?;
        if noted != gathered.as_of {
            // Another call with this id was first.
            gathered = node.store.read("gather export", read).await?;
        }
        Self::of(node, asked.form, gathered)
    }

    fn of(node: &Node, form: Form, gathered: Gathered) -> Result<Self, TrailError> {
        let mut ready = VecDeque::new();
        let mut writer = None;
        match form {
            Form::Trail => {
                let header = Header {
                    format: FORMAT.to_owned(),
                    network: node.membership.network.clone(),
                    exporter: node.log.keeper.clone(),
                    exported_at_ms: gathered.as_of.at_ms,
                    question: gathered.question,
                    root_public_key: node.membership.root,
                };
                let (mut begun, first) = ExportWriter::new(header)?;
                ready.push_back(first);
                ready.push_back(begun.line(&Line::Trust(network::trust(node)))?);
                for member in gathered.members {
                    let chain = member.chain;
                    ready.push_back(begun.line(&Line::Member(MemberChain { chain }))?);
                    for leaf in member.leaves {
                        ready.push_back(begun.line(&Line::Binding(leaf))?);
                    }
                }
                for (epoch, note) in gathered.proofs.checkpoints() {
                    let checkpoint = LogCheckpoint {
                        epoch,
                        note: note.clone(),
                        consistency: Vec::new(),
                    };
                    ready.push_back(begun.line(&Line::Checkpoint(checkpoint))?);
                }
                writer = Some(begun);
            }
            Form::Csv => ready.push_back(csv::header()),
            Form::Fhir => {}
        }
        Ok(Self {
            form,
            numbers: gathered.numbers.into(),
            proofs: gathered.proofs,
            writer,
            ready,
            ended: false,
        })
    }

    /// The next part of the file, at most 256 KiB; `None` after the last.
    pub async fn next(&mut self, node: &Node) -> Result<Option<Vec<u8>>, TrailError> {
        let mut part: Vec<u8> = Vec::new();
        while part.len() < PART_BYTES_MAX {
            let Some(mut line) = self.ready.pop_front() else {
                if self.ended {
                    break;
                }
                self.fill(node).await?;
                continue;
            };
            let left = PART_BYTES_MAX - part.len();
            if line.len() > left {
                // All lines are ASCII, so that a line may be cut anywhere.
                let rest = line.split_off(left);
                self.ready.push_front(rest);
            }
            part.extend_from_slice(line.as_bytes());
        }
        Ok((!part.is_empty()).then_some(part))
    }

    /// Makes the next lines, or the last one.
    async fn fill(&mut self, node: &Node) -> Result<(), TrailError> {
        let count = STEP.min(self.numbers.len());
        let numbers: Vec<i64> = self.numbers.drain(..count).collect();
        if numbers.is_empty() {
            self.ended = true;
            if let Some(writer) = self.writer.take() {
                self.ready.push_back(writer.end(&node.keys.signing)?);
            }
            return Ok(());
        }
        let of_trail = self.form == Form::Trail;
        let (numbers, proofs) = (&numbers, &self.proofs);
        let read = |mut tx: Tx| async move {
            let mut proofs = proofs.clone();
            proven(&mut tx, numbers, of_trail.then_some(&mut proofs)).await
        };
        for (event, leaf) in node.store.read("export events", read).await? {
            let text = match (self.form, leaf, &mut self.writer) {
                (Form::Trail, Some(leaf), Some(writer)) => writer.line(&Line::Event(leaf))?,
                (Form::Fhir, ..) => {
                    let source = fhir::Source {
                        network: &node.membership.network,
                        organisation: node.organisation(),
                    };
                    fhir::line(event.seq.unsigned_abs(), &told(&event)?, source)
                }
                (Form::Csv, ..) => csv::line(event.seq.unsigned_abs(), &told(&event)?),
                (Form::Trail, ..) => return Err(LogError::Broken(event.seq).into()),
            };
            self.ready.push_back(text);
        }
        Ok(())
    }
}

fn told(event: &Stored) -> Result<Told<'_>, TrailError> {
    Ok(Told::read(&event.preimage).map_err(|_| LogError::Broken(event.seq))?)
}

/// Events in the log's order, with what proves each where that is asked for.
async fn proven(
    tx: &mut Tx,
    numbers: &[i64],
    mut proofs: Option<&mut Proofs>,
) -> Result<Vec<(Stored, Option<EventLeaf>)>, TrailError> {
    let mut events = trail::numbered(tx, numbers).await?;
    events.reverse();
    let mut with = Vec::with_capacity(events.len());
    for event in events {
        let mut leaf = None;
        if let Some(proofs) = &mut proofs {
            leaf = proofs.exported(tx, &event, true).await?;
        }
        with.push((event, leaf));
    }
    Ok(with)
}

async fn gather(tx: &mut Tx, node: &Node, asked: &ExportAsked) -> Result<Gathered, TrailError> {
    let as_of = match requests::first_answer(tx, &asked.asked).await? {
        Some(answer) => AsOf::read(&answer)?,
        None => AsOf {
            at_ms: node.now_ms(),
            last: trail::last(tx).await?,
        },
    };
    let question = Question::of(tx, &asked.filter).await?;
    let proofs = Proofs::load(tx, Basis::CountedOrSigned).await?;
    let mut walk = Walk::new(tx, &question, Some(as_of.last.saturating_add(1)))
        .await?
        .unbounded();
    let (mut numbers, mut organisations) = (Vec::new(), BTreeSet::new());
    let mut left_behind = 0_u64;
    while let Some(batch) = walk.next(tx).await? {
        for event in question.matching(tx, batch).await? {
            if asked.form == Form::Trail {
                if !proofs.reach(event.seq) {
                    left_behind += u64::from(proofs.is_left_behind(event.seq));
                    continue;
                }
                let told = told(&event)?;
                let named = told.lines().filter(|(name, _)| ORGANISATIONS.contains(name));
                organisations.extend(named.filter_map(|(_, org)| org.parse::<OrgId>().ok()));
            }
            numbers.push(event.seq);
        }
        if numbers.len() > EVENTS_MAX {
            return Err(TrailError::TooMuch);
        }
    }
    numbers.reverse();
    let mut question = question.written();
    if left_behind > 0 {
        // Said, since they are not in the file: written shortly before a restore, and cosigned by nobody.
        question.insert("unproven".to_owned(), left_behind.to_string());
    }
    let members = match asked.form {
        Form::Trail => network::members(tx, node.organisation(), &organisations).await?,
        Form::Fhir | Form::Csv => Vec::new(),
    };
    Ok(Gathered {
        as_of,
        numbers,
        question,
        members,
        proofs,
    })
}

/// Commits that somebody exported, unless this request has been answered before; gives as of when its file is.
async fn note(node: &Node, asked: &ExportAsked, gathered: &Gathered) -> Result<AsOf, TrailError> {
    let event = audit::by(&asked.caller, Code::TrailExported, gathered.as_of.at_ms)
        .word("form", asked.form.as_str())
        .word("about", asked.filter.kind())
        .number("count", i64::try_from(gathered.numbers.len()).unwrap_or(i64::MAX));
    let event = &event;
    let write = |mut tx: Tx| async move {
        let tx = &mut tx;
        let mut counter = Counter::lock(tx).await?;
        if let Some(answer) = requests::first_answer(tx, &asked.asked).await? {
            return AsOf::read(&answer);
        }
        let as_of = gathered.as_of;
        audit::insert(tx, &mut counter, &node.rng, std::slice::from_ref(event)).await?;
        requests::keep(tx, &asked.asked, &as_of.kept(), as_of.at_ms).await?;
        counter.save(tx).await?;
        Ok(as_of)
    };
    node.store.tx("note export", write).await
}

impl AsOf {
    /// As it is kept with the request, in the bytes of an answer.
    fn kept(self) -> v1::ExportTrailResponse {
        v1::ExportTrailResponse {
            part: [self.at_ms.to_be_bytes(), self.last.to_be_bytes()].concat(),
        }
    }

    fn read(answer: &v1::ExportTrailResponse) -> Result<Self, TrailError> {
        let corrupt = kith_service::store::StoreError::Corrupt {
            table: "request",
            column: "answer",
        };
        let (numbers, rest) = answer.part.as_chunks::<8>();
        match (numbers, rest) {
            ([at_ms, last], []) => Ok(Self {
                at_ms: i64::from_be_bytes(*at_ms),
                last: i64::from_be_bytes(*last),
            }),
            _ => Err(corrupt.into()),
        }
    }
}
