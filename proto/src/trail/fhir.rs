//! Events as FHIR R4 `AuditEvent` resources in the shape of IHE BALP (Basic Audit Log Patterns), for systems that collect those.
//! A node's exports call it, one resource a line. Never a name: sign-ins, people and referrals are identifiers of this network alone.
//!
//! | AuditEvent | of the event |
//! |---|---|
//! | `type`, `subtype` | `rest` for reading and writing, export and import (DICOM) for envelopes; the code |
//! | `action`, `recorded`, `outcome` | what the code does, its time, 4 where there is a `problem` |
//! | `purposeOfEvent` | `purpose` |
//! | `agent` | `token` with its `role`s, or the node itself, as requestor; every other organisation |
//! | `source` | the organisation whose trail it is, at its network |
//! | `entity` | `person` as the patient, `grant` and `slip` as consent, `thread`, `envelope`, `event` as objects |

use super::Code;
use super::event::Told;
use super::key::ORGANISATIONS;
use super::sentence::instant;
use crate::id::{NetworkName, OrgId};
use serde_json::{Map, Value, json};

const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ENTITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const RESOURCE: &str = "http://hl7.org/fhir/resource-types";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// Whose trail an event is of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The network.
    pub network: &'a NetworkName,
    /// The organisation.
    pub organisation: &'a OrgId,
}

/// The resource of an event with its number in the trail, as one line with its newline.
pub fn line(number: u64, told: &Told<'_>, source: Source<'_>) -> String {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("resourceType", json!("AuditEvent"));
    put("id", json!(format!("{}-{number}", source.organisation)));
    put("type", type_of(told.code));
    put("subtype", json!([coding(&urn("code"), told.code.as_str())]));
    put("action", json!(action(told.code)));
    put("recorded", json!(instant(told.at_ms)));
    put(
        "outcome",
        json!(if told.get("problem").is_some() { "4" } else { "0" }),
    );
    if let Some(problem) = told.get("problem") {
        put("outcomeDesc", json!(problem));
    }
    let purposes: Vec<Value> = told
        .all("purpose")
        .map(|purpose| json!({"coding": [coding(&urn("purpose"), purpose)]}))
        .collect();
    if !purposes.is_empty() {
        put("purposeOfEvent", Value::Array(purposes));
    }
    put("agent", Value::Array(agents(told, source)));
    put(
        "source",
        json!({
            "site": source.network.as_str(),
            "observer": identified("organisation", source.organisation.as_str()),
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")],
        }),
    );
    let entities = entities(told);
    if !entities.is_empty() {
        put("entity", Value::Array(entities));
    }
    Value::Object(event).to_string() + "\n"
}

fn urn(what: &str) -> String {
    format!("urn:kith:{what}")
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

fn identified(what: &str, value: &str) -> Value {
    json!({"identifier": {"system": urn(what), "value": value}})
}

fn type_of(code: Code) -> Value {
    match code {
        Code::EnvelopeSent
        | Code::EnvelopeTaken
        | Code::EnvelopeTakenAgain
        | Code::EnvelopeDelivered
        | Code::TrailExported => coding(DICOM, "110106"),
        Code::EnvelopeReceived => coding(DICOM, "110107"),
        _ => coding(EVENT_TYPE, "rest"),
    }
}

/// C create, R read, U update, D delete, E execute.
const fn action(code: Code) -> &'static str {
    match code {
        Code::Opened | Code::Listed | Code::TrailRead | Code::TrailExported => "R",
        Code::PersonRecorded
        | Code::GrantGiven
        | Code::SlipIssued
        | Code::TokenMade
        | Code::ColleagueAdded
        | Code::NodeJoined
        | Code::EpochOpened
        | Code::EnvelopeSent
        | Code::EnvelopeReceived => "C",
        Code::PersonChanged
        | Code::GrantNarrowed
        | Code::GrantWithdrawn
        | Code::GrantExpired
        | Code::SlipStopped
        | Code::ReferralMoved
        | Code::TokenRevoked
        | Code::ColleagueEnded
        | Code::KeyRotated => "U",
        Code::HoldingDestroyed | Code::KeyDestroyed => "D",
        _ => "E",
    }
}

fn agents(told: &Told<'_>, source: Source<'_>) -> Vec<Value> {
    let kind = json!({"coding": [coding(PARTICIPATION, "AUT")]});
    let mut agents = Vec::new();
    match told.get("token") {
        Some(token) => {
            let roles: Vec<Value> = told
                .all("role")
                .map(|role| json!({"coding": [coding(&urn("role"), role)]}))
                .collect();
            let mut agent = json!({"type": kind, "who": identified("token", token), "requestor": true});
            if let Some(agent) = agent.as_object_mut().filter(|_| !roles.is_empty()) {
                agent.insert("role".to_owned(), Value::Array(roles));
            }
            agents.push(agent);
        }
        None => agents.push(json!({
            "type": kind,
            "who": identified("organisation", source.organisation.as_str()),
            "requestor": true,
        })),
    }
    for (name, value) in told.lines().filter(|(name, _)| ORGANISATIONS.contains(name)) {
        // DICOM: source and destination of what was exchanged.
        let role = match name {
            "from" | "by" => coding(DICOM, "110153"),
            _ => coding(DICOM, "110152"),
        };
        agents.push(json!({
            "type": {"coding": [role]},
            "who": identified("organisation", value),
            "requestor": false,
        }));
    }
    agents
}

fn entities(told: &Told<'_>) -> Vec<Value> {
    let mut entities = Vec::new();
    for (name, value) in told.lines() {
        let (kind, role) = match name {
            "person" => (coding(ENTITY_TYPE, "1"), Some("1")),
            "grant" | "slip" => (coding(RESOURCE, "Consent"), None),
            "thread" => (coding(RESOURCE, "ServiceRequest"), Some("20")),
            "envelope" | "event" => (coding(ENTITY_TYPE, "2"), Some("4")),
            _ => continue,
        };
        let mut entity = json!({"what": identified(name, value), "type": kind});
        if let (Some(role), Some(entity)) = (role, entity.as_object_mut()) {
            entity.insert("role".to_owned(), coding(ENTITY_ROLE, role));
        }
        entities.push(entity);
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::Event;

    fn written(event: &Event) -> Value {
        let told = Told::read(event.preimage()).unwrap();
        let (network, organisation) = ("lune-valley.example".parse(), "riverside-gp".parse());
        let source = Source {
            network: &network.unwrap(),
            organisation: &organisation.unwrap(),
        };
        let line = line(7, &told, source);
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn an_opening_says_who_in_which_role_and_on_which_consent() {
        let event = Event::new(Code::Opened, 1_795_724_130_250)
            .id("token", &[1; 16])
            .word("role", "coordinator")
            .id("thread", &[2; 16])
            .id("slip", &[3; 16])
            .word("purpose", "care");
        let said = written(&event);
        assert_eq!(said["resourceType"], "AuditEvent");
        assert_eq!(said["id"], "riverside-gp-7");
        assert_eq!(said["action"], "R");
        assert_eq!(said["recorded"], "2026-11-26T20:15:30.250Z");
        assert_eq!(said["outcome"], "0");
        assert_eq!(said["agent"][0]["role"][0]["coding"][0]["code"], "coordinator");
        assert_eq!(said["agent"][0]["who"]["identifier"]["system"], "urn:kith:token");
        assert_eq!(said["purposeOfEvent"][0]["coding"][0]["code"], "care");
        assert_eq!(said["entity"][1]["type"]["code"], "Consent");
        assert_eq!(said["entity"][1]["what"]["identifier"]["value"], "03".repeat(16));
    }

    #[test]
    fn every_code_has_what_an_audit_event_must_have() {
        for code in Code::ALL {
            let said = written(&Event::new(*code, 1).word("problem", "not_found"));
            for name in ["type", "recorded", "agent", "source", "action"] {
                assert!(said.get(name).is_some(), "{code}: {name}");
            }
            assert_eq!(said["outcome"], "4");
            assert_eq!(said["agent"][0]["requestor"], true);
        }
    }
}
