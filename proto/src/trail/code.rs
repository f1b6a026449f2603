//! What can happen: the closed list of both logs. Use-cases name one for every event; exports and filters write its word.
//! Never change a word or use it for something else: it stands in leaves that were signed.

/// Writes the list once: word, and who says it.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, in the order of this list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the store, in entries and in exports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::str::FromStr for Code {
            type Err = crate::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(crate::words::UnknownWord("Code")),
                }
            }
        }
    };
}

codes! {
    /// A node joined its network.
    NodeJoined = "node_joined",
    /// A token was made.
    TokenMade = "token_made",
    /// A token was revoked.
    TokenRevoked = "token_revoked",
    /// A colleague was added, who signs in to the workspace.
    ColleagueAdded = "colleague_added",
    /// A colleague ended: no sign-in and no session of theirs counts any more.
    ColleagueEnded = "colleague_ended",
    /// A link was made that signs a colleague in, once.
    SignInLinkMade = "sign_in_link_made",
    /// A colleague made a passkey, with which they sign in.
    PasskeyMade = "passkey_made",
    /// A passkey was taken away.
    PasskeyEnded = "passkey_ended",
    /// A colleague signed in to the workspace.
    SignedIn = "signed_in",
    /// Sign-ins failed: with a count.
    SignInFailed = "sign_in_failed",
    /// A person was recorded.
    PersonRecorded = "person_recorded",
    /// A person's record was changed.
    PersonChanged = "person_changed",
    /// A record or thread was opened.
    Opened = "opened",
    /// A list was shown: with a count.
    Listed = "listed",
    /// The trail was read: with a count of lines.
    TrailRead = "trail_read",
    /// A part of the trail was exported: with a count of lines.
    TrailExported = "trail_exported",
    /// A named person stands for a consent text.
    StatementReviewed = "statement_reviewed",
    /// A person was asked, and did not agree.
    ConsentRefused = "consent_refused",
    /// A grant was given.
    GrantGiven = "grant_given",
    /// A grant was narrowed.
    GrantNarrowed = "grant_narrowed",
    /// A grant was withdrawn.
    GrantWithdrawn = "grant_withdrawn",
    /// A grant ran out.
    GrantExpired = "grant_expired",
    /// A slip was issued.
    SlipIssued = "slip_issued",
    /// A slip was stopped.
    SlipStopped = "slip_stopped",
    /// An envelope was put into the outbox.
    EnvelopeSent = "envelope_sent",
    /// The gateway signed for an envelope.
    EnvelopeTaken = "envelope_taken",
    /// An envelope that the gateway had taken came once more under a second number: delivered again where its recipient lost it.
    EnvelopeTakenAgain = "envelope_taken_again",
    /// The gateway refused an envelope finally.
    EnvelopeRefused = "envelope_refused",
    /// A taken envelope will never be delivered.
    EnvelopeDropped = "envelope_dropped",
    /// An envelope was received.
    EnvelopeReceived = "envelope_received",
    /// A received envelope was refused by its recipient.
    EnvelopeRejected = "envelope_rejected",
    /// The recipient signed for an envelope.
    EnvelopeDelivered = "envelope_delivered",
    /// A referral moved.
    ReferralMoved = "referral_moved",
    /// A withdrawal was proved.
    WithdrawalProved = "withdrawal_proved",
    /// A recipient reported a day's openings of what was shared with it: with a count.
    AccessReported = "access_reported",
    /// The keys of a holding were destroyed.
    HoldingDestroyed = "holding_destroyed",
    /// A key of this server was rotated.
    KeyRotated = "key_rotated",
    /// A key of this server was destroyed.
    KeyDestroyed = "key_destroyed",
    /// A gateway's folder was made.
    NetworkCreated = "network_created",
    /// An organisation enrolled, with its first binding.
    MemberJoined = "member_joined",
    /// The operator suspended a member.
    MemberSuspended = "member_suspended",
    /// The operator ended a suspension.
    MemberResumed = "member_resumed",
    /// A member's next binding was published: a rotation or a re-key.
    BindingPublished = "binding_published",
    /// A member got a TLS certificate.
    CertificateIssued = "certificate_issued",
    /// An enrolment was refused because its invite was used up.
    InviteRefused = "invite_refused",
    /// A witness policy of the root was published.
    PolicyPublished = "policy_published",
    /// Something was seen that must not be: a fork, a binding that nobody made.
    AlarmRaised = "alarm_raised",
    /// A log begins, or begins anew after its server was restored.
    EpochOpened = "epoch_opened",
    /// A recovery sheet was made.
    RecoverySheetMade = "recovery_sheet_made",
    /// A recovery bundle was made.
    BundleMade = "bundle_made",
    /// The gateway keeps a member's recovery bundle.
    BundleKept = "bundle_kept",
    /// A member's recovery bundle was fetched with its secret.
    BundleFetched = "bundle_fetched",
    /// A member came back from a backup, and others were asked to offer again.
    MemberRestored = "member_restored",
    /// The other party returned the standing of a thread after a restore.
    ThreadReturned = "thread_returned",
    /// A member's keys were reported lost.
    MemberLost = "member_lost",
    /// A node follows a later epoch of the gateway's log, by the root's word.
    EpochFollowed = "epoch_followed",
}

impl Code {
    /// Whether its leaves make the key log: what members believe each other's keys by. The gateway opens every such leaf to every
    /// member, so that none can be hidden from the one it is about.
    pub const fn is_of_key_log(self) -> bool {
        matches!(
            self,
            Self::MemberJoined
                | Self::MemberSuspended
                | Self::MemberResumed
                | Self::BindingPublished
                | Self::CertificateIssued
                | Self::PolicyPublished
                | Self::EpochOpened
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
