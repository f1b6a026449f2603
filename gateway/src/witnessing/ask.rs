//! Asks witnesses elsewhere for their cosignatures.
