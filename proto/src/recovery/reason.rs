//! Why a node or a gateway was restored: a word of the trail's first leaf of an epoch, chosen on the command line of both.
//! Never free text: it stands in a leaf.

use crate::words::UnknownWord;

/// Why a server came back from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreReason {
    /// The computer or its disk is gone, or was stolen.
    Lost,
    /// It no longer starts.
    Broken,
    /// What it holds was damaged or altered.
    Damaged,
    /// The server moved to another computer.
    Moved,
}

impl RestoreReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[Self::Lost, Self::Broken, Self::Damaged, Self::Moved];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Broken => "broken",
            Self::Damaged => "damaged",
            Self::Moved => "moved",
        }
    }
}

impl std::fmt::Display for RestoreReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RestoreReason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let named = Self::ALL.iter().find(|reason| reason.as_str() == text);
        named.copied().ok_or(UnknownWord("RestoreReason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_is_written() {
        for reason in RestoreReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        assert_eq!("".parse::<RestoreReason>(), Err(UnknownWord("RestoreReason")));
    }
}
