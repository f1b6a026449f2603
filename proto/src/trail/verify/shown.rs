//! What a line that holds says, as one line of a report. The command line prints it after the line's number.
//! Never shows what an event says: that is for the sentence, whose reader is known.

use super::Proven;
use crate::log::origin::Keeper;
use std::fmt;

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { network, exporter } => match exporter {
                Keeper::Gateway => write!(f, "the trail of the gateway of {network}"),
                Keeper::Node(org) => write!(f, "the trail of {org} in {network}"),
            },
            Self::Trust { threshold: 0, .. } => {
                f.write_str("the root's word: the network has no witness, nobody outside vouches for its log")
            }
            Self::Trust {
                threshold,
                policy_number,
            } => {
                write!(
                    f,
                    "the root's word: witness policy {policy_number} asks for cosignatures of {threshold}"
                )
            }
            Self::Member { organisation, name } => write!(f, "the keys of {name} ({organisation})"),
            Self::Binding {
                organisation,
                number,
                standing,
            } => write!(
                f,
                "binding {number} of {organisation}, in the gateway's log ({standing})"
            ),
            Self::Checkpoint {
                epoch,
                size,
                standing,
            } => match standing {
                Some(standing) => write!(f, "the log of epoch {epoch} with {size} leaves ({standing})"),
                None => write!(
                    f,
                    "the log of epoch {epoch} with {size} leaves (cosigned by the gateway)"
                ),
            },
            Self::Event(event) => write!(
                f,
                "leaf {} of epoch {}, {}{}",
                event.index,
                event.epoch,
                event.code(),
                if event.preimage.is_some() {
                    ""
                } else {
                    " (content not shown)"
                }
            ),
            Self::End { lines } => write!(f, "the end: {lines} lines, all signed by the exporter"),
        }
    }
}
