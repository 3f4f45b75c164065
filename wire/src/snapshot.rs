//! The replicated state on disk and on its way to a peer: `proto::replica::Snapshot` around
//! `proto::replica::State`, with a digest.
