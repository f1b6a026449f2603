//! Holds the generated messages against the hand-written words and the wire rules of ARCHITECTURE.md.
use crate::lifecycle::{Consent, Delivery, Move, Reason, State};
use crate::problem::Problem;
use crate::words::{Category, EnvelopeKind, OrganisationKind, Purpose};
use prost::Message as _;
use prost_types::{EnumDescriptorProto, FileDescriptorSet};

fn enums() -> Vec<EnumDescriptorProto> {
    let set = FileDescriptorSet::decode(crate::v1::DESCRIPTORS).expect("descriptor set");
    set.file.into_iter().flat_map(|file| file.enum_type).collect()
}

/// The (text, number) pairs of one proto enum, `UNSPECIFIED` left out, the prefix cut and in lower case.
fn wire_words(name: &str) -> Vec<(String, i32)> {
    let all = enums();
    let found = all.iter().find(|e| e.name() == name).expect("enum in kith.v1");
    let shout = name
        .chars()
        .flat_map(|c| {
            if c.is_uppercase() {
                vec!['_', c]
            } else {
                vec![c.to_ascii_uppercase()]
            }
        })
        .collect::<String>();
    let prefix = format!("{}_", shout.trim_start_matches('_'));
    let cut = |text: &str| text.strip_prefix(&prefix).expect("prefixed value").to_lowercase();
    let values = found.value.iter().filter(|v| v.number() != 0);
    values.map(|v| (cut(v.name()), v.number())).collect()
}

macro_rules! same_words {
    ($($name:ident = $wire:literal),+) => {$({
        let here: Vec<(String, i32)> =
            $name::ALL.iter().map(|w| (w.as_str().to_owned(), w.number())).collect();
        assert_eq!(here, wire_words($wire), stringify!($name));
        for word in $name::ALL {
            assert_eq!(word.as_str().parse::<$name>(), Ok(*word));
            assert_eq!($name::try_from(word.number()), Ok(*word));
        }
        assert!($name::try_from(0).is_err());
        assert!("enforcement".parse::<$name>().is_err());
    })+};
}

#[test]
fn the_words_are_the_same_in_rust_and_on_the_wire() {
    same_words!(
        OrganisationKind = "OrganisationKind",
        EnvelopeKind = "EnvelopeKind",
        Category = "Category",
        Purpose = "Purpose",
        State = "ReferralState",
        Move = "ReferralMove",
        Reason = "Reason",
        Delivery = "DeliveryState",
        Consent = "ConsentState",
        Problem = "Problem"
    );
}

#[test]
fn every_enum_keeps_zero_for_unspecified() {
    for found in enums() {
        let zero = found
            .value
            .iter()
            .find(|v| v.number() == 0)
            .expect("a zero value");
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{}", found.name());
    }
}

#[test]
fn no_message_has_a_field_that_enforcement_could_use() {
    let set = FileDescriptorSet::decode(crate::v1::DESCRIPTORS).expect("descriptor set");
    let absent = [
        "immigration",
        "visa",
        "passport",
        "nationality",
        "brp",
        "asylum",
        "home_office",
    ];
    for message in set.file.iter().flat_map(|file| &file.message_type) {
        for field in &message.field {
            let name = field.name().to_lowercase();
            assert!(
                !absent.iter().any(|word| name.contains(word)),
                "{}.{name}",
                message.name()
            );
        }
    }
}

#[test]
fn the_clear_head_has_room_for_no_words() {
    let set = FileDescriptorSet::decode(crate::v1::DESCRIPTORS).expect("descriptor set");
    let texts = |name: &str| -> Vec<String> {
        let mut messages = set.file.iter().flat_map(|file| &file.message_type);
        let message = messages.find(|m| m.name() == name).expect("message");
        let strings = message
            .field
            .iter()
            .filter(|f| f.r#type() == prost_types::field_descriptor_proto::Type::String);
        strings.map(|f| f.name().to_owned()).collect()
    };
    for clear in ["Head", "Slip", "DisclosureNote"] {
        assert_eq!(
            texts(clear),
            ["network", "from", "to"],
            "{clear} names organisations and nothing else"
        );
    }
}
