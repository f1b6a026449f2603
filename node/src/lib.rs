//! The organisation: people, grants, referrals, directory copy, trail; gRPC for its systems and the link to the gateway.
