//! Mutual TLS 1.3 for the gRPC streams of agents and controllers: who may speak, and as whom.
//!
//! Roles are in certificates, as a URI name: `ballast://controller/ID`, `ballast://agent/NAME`. Everything is signed by one
//! private authority; servers are known by the name `controller.ballast`.

mod client;
mod files;
mod server;

pub use client::{Connector, channel, client_config};
pub use files::{FileProblem, Identity};
pub use server::{Connection, Peer, incoming, server_config, web_server_config};

/// Name that every controller's certificate carries.
pub const CONTROLLER_NAME: &str = "controller.ballast";
/// Largest message from a controller to an agent, and between controllers.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Who the holder of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent of a host.
    Agent(String),
    /// A controller.
    Controller(u64),
}

impl Role {
    /// The role in a certificate's URI names; `None` where there is none or more than one.
    pub fn of(certificate: &[u8]) -> Option<Role> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok()??;
        let mut roles = names.value.general_names.iter().filter_map(|name| match name {
            x509_parser::extensions::GeneralName::URI(uri) => Role::of_uri(uri),
            _ => None,
        });
        let role = roles.next()?;
        roles.next().is_none().then_some(role)
    }

    fn of_uri(uri: &str) -> Option<Role> {
        match uri.strip_prefix("ballast://")?.split_once('/')? {
            ("agent", name) if !name.is_empty() => Some(Role::Agent(name.to_string())),
            ("controller", id) => id.parse().ok().map(Role::Controller),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
