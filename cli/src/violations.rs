//! The part of `ballast check` that judges what the file's compiled programs do.

use crate::output::say;
use plan::check::{Checked, State, VIOLATIONS_MAX};
use plan::failures::single_failures;
use plan::{Facts, compile};
use topology::Topology;
use wire::document;
use wire::rest::{FailureDocument, ViolationDocument};

/// Larger networks are compiled only where the file asks for something that needs it: forwarding takes
/// memory in the square of the nodes.
const NODES_UNASKED_MAX: usize = 2_000;

/// What does not hold.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) violations: Vec<ViolationDocument>,
    pub(crate) failures: Vec<FailureDocument>,
}

/// Compiles and judges a valid file, and tells people what does not hold.
pub(crate) fn judge(topology: &Topology, file: &str, with_failures: bool) -> Judged {
    let asked = with_failures
        || !topology.invariants.is_empty()
        || (topology.safety.max_link_load_percent.is_some() && !topology.demands.is_empty());
    if !asked && topology.nodes.len() > NODES_UNASKED_MAX {
        return Judged::default();
    }
    let facts = Facts::default();
    let network = compile(topology, &facts);
    let checked = Checked::new(State { topology, facts: &facts, network: &network, dead: None });
    let violations = checked.violations().take(VIOLATIONS_MAX);
    let mut judged = Judged {
        violations: violations.map(|found| document::violation(found, &topology.sources)).collect(),
        failures: Vec::new(),
    };
    for violation in &judged.violations {
        tell(violation);
    }
    if with_failures {
        let failures = single_failures(topology, &facts, &network, &checked);
        judged.failures = failures.iter().map(|failure| document::failure(topology, failure, file)).collect();
    }
    for failure in &judged.failures {
        tell_after(failure, &judged.violations);
    }
    judged
}

/// The violation and a packet's walk, host by host.
fn tell(violation: &ViolationDocument) {
    let mut text = format!(
        "error[{}]: {}\n --> {}:{}\n",
        violation.rule, violation.message, violation.file, violation.line
    );
    for hop in &violation.walk {
        let prefix = hop.prefix.as_deref().unwrap_or("destination");
        text.push_str(&format!(
            "  | {}: {prefix} metric {} group {} nexthop {} -> {} via {}\n",
            hop.host, hop.metric, hop.group, hop.nexthop, hop.interface, hop.gateway
        ));
    }
    text.push_str(&format!("  | {}: {}\n", violation.last, violation.fate));
    say(&text);
}

/// What a failure adds to what does not hold anyway, a line each: a network has many failures.
fn tell_after(failure: &FailureDocument, anyway: &[ViolationDocument]) {
    let known = |found: &ViolationDocument| anyway.iter().any(|other| other.message == found.message);
    for found in failure.violations.iter().filter(|found| !known(found)) {
        say(&format!(
            "{}:{}: after the failure of {} {}: {}: {}",
            found.file,
            found.line,
            failure.kind,
            failure.element,
            found.message,
            document::walk_text(found)
        ));
    }
}
