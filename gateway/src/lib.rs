//! The router: membership, relay, slip gate, mailboxes; it cannot read what it carries.
