//! Which role may make which call: one table, and what the role may see of it (design, section 10).
//! The guard looks up each call here before any handler runs; a test holds the table against every call that exists.
//! It must never be consulted by name of a person or content: a role opens a call, the use-case decides about the row.

use crate::tokens::Role;
use Role::{Admin, Auditor, Coordinator, Referrer};

/// Everyone with a token.
const ALL: &[Role] = &[Referrer, Coordinator, Auditor, Admin];
/// Those who work with people. A referrer sees only what is its own; the use-cases see to that.
const CARE: &[Role] = &[Referrer, Coordinator];
/// Lists that hold no content.
const LISTS: &[Role] = &[Referrer, Coordinator, Auditor];
/// Trails and proofs: no care content.
const TRAILS: &[Role] = &[Auditor, Admin];
/// Settings of the organisation.
const SETTINGS: &[Role] = &[Admin];

/// Each call, by its path on the wire, and the roles that may make it. An admin who also works with people has a
/// second token.
pub(crate) const TABLE: &[(&str, &[Role])] = &[
    ("/kith.v1.PersonService/CreatePerson", CARE),
    ("/kith.v1.PersonService/UpdatePerson", CARE),
    ("/kith.v1.PersonService/GetPerson", CARE),
    ("/kith.v1.PersonService/ListPersons", CARE),
    ("/kith.v1.ConsentService/GetStatement", ALL),
    ("/kith.v1.ConsentService/RecordGrant", CARE),
    ("/kith.v1.ConsentService/GetGrant", CARE),
    ("/kith.v1.ConsentService/ListGrants", CARE),
    ("/kith.v1.ConsentService/NarrowGrant", CARE),
    ("/kith.v1.ConsentService/WithdrawGrant", CARE),
    ("/kith.v1.ReferralService/SendReferral", CARE),
    ("/kith.v1.ReferralService/SendReferrals", CARE),
    ("/kith.v1.ReferralService/GetReferral", CARE),
    ("/kith.v1.ReferralService/ListReferrals", LISTS),
    ("/kith.v1.ReferralService/MoveReferral", CARE),
    ("/kith.v1.ReferralService/SendMessage", CARE),
    ("/kith.v1.ReferralService/WatchReferrals", LISTS),
    ("/kith.v1.DirectoryService/ListOrganisations", ALL),
    ("/kith.v1.DirectoryService/SetService", SETTINGS),
    ("/kith.v1.AuditService/ListTrail", TRAILS),
    ("/kith.v1.AuditService/CountTrail", TRAILS),
    ("/kith.v1.AuditService/CheckGaps", TRAILS),
    ("/kith.v1.AuditService/ExportTrail", TRAILS),
    ("/kith.v1.AuditService/GetLogStatus", TRAILS),
];

/// The roles that may make the call of this path; `None` for a path that is none of ours.
pub(crate) fn roles_of(path: &str) -> Option<&'static [Role]> {
    TABLE
        .iter()
        .find(|(call, _)| *call == path)
        .map(|(_, roles)| *roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::collections::BTreeSet;

    /// The services that a node answers; the others of the package are the gateway's.
    const SERVICES: [&str; 5] = [
        "PersonService",
        "ConsentService",
        "ReferralService",
        "DirectoryService",
        "AuditService",
    ];

    /// Every call of the node's services, from the descriptors that reflection shows.
    fn calls() -> BTreeSet<String> {
        let set = prost_types::FileDescriptorSet::decode(kith_proto::v1::DESCRIPTORS).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let ours = services.filter(|service| SERVICES.contains(&service.name()));
        let path = |service: &str, call: &str| format!("/kith.v1.{service}/{call}");
        ours.flat_map(|s| s.method.iter().map(move |m| path(s.name(), m.name())))
            .collect()
    }

    #[test]
    fn the_table_names_every_call_once_and_nothing_else() {
        let named: BTreeSet<String> = TABLE.iter().map(|(call, _)| (*call).to_owned()).collect();
        assert_eq!(named.len(), TABLE.len());
        assert_eq!(named, calls());
    }

    /// The same table written a second time, by hand, as letters: r referrer, c coordinator, a auditor, m admin.
    const EXPECTED: &[(&str, &str)] = &[
        ("CreatePerson", "rc"),
        ("UpdatePerson", "rc"),
        ("GetPerson", "rc"),
        ("ListPersons", "rc"),
        ("GetStatement", "rcam"),
        ("RecordGrant", "rc"),
        ("GetGrant", "rc"),
        ("ListGrants", "rc"),
        ("NarrowGrant", "rc"),
        ("WithdrawGrant", "rc"),
        ("SendReferral", "rc"),
        ("SendReferrals", "rc"),
        ("GetReferral", "rc"),
        ("ListReferrals", "rca"),
        ("MoveReferral", "rc"),
        ("SendMessage", "rc"),
        ("WatchReferrals", "rca"),
        ("ListOrganisations", "rcam"),
        ("SetService", "m"),
        ("ListTrail", "am"),
        ("CountTrail", "am"),
        ("CheckGaps", "am"),
        ("ExportTrail", "am"),
        ("GetLogStatus", "am"),
    ];

    #[test]
    fn every_call_and_role_is_as_decided() {
        let letter = |role: Role| match role {
            Referrer => 'r',
            Coordinator => 'c',
            Auditor => 'a',
            Admin => 'm',
        };
        for call in calls() {
            let name = call.rsplit('/').next().unwrap();
            let (_, letters) = EXPECTED.iter().find(|(n, _)| *n == name).expect(name);
            let roles = roles_of(&call).unwrap();
            for role in Role::ALL {
                assert_eq!(
                    roles.contains(&role),
                    letters.contains(letter(role)),
                    "{name} by {role}"
                );
            }
        }
    }

    #[test]
    fn another_path_has_no_roles() {
        for path in [
            "",
            "/",
            "/kith.v1.RelayService/Attach",
            "/kith.v1.PersonService/GetPerson/",
        ] {
            assert!(roles_of(path).is_none(), "{path}");
        }
    }
}
