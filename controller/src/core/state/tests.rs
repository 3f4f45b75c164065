//! The state alone: total on any bytes, the same after a snapshot, bounded.

#![allow(clippy::unwrap_used)]

use super::*;
use plan::steps::Step;
use proptest::prelude::*;

const TOPOLOGY: &str =
    "version: 1\nname: line\nnodes: { a: {}, b: {} }\nlinks: [ { endpoints: ['a:x', 'b:x'] } ]\n";

fn entry(id: u8, command: Command) -> Entry {
    Entry {
        request_id: RequestId([id; 16]),
        idempotency_key: String::new(),
        author: "tester".to_string(),
        at_unix_ms: 5,
        command,
    }
}

fn found() -> Command {
    Command::Found { incarnation: 1, cluster: "test".to_string(), operator_key: vec![7; 32] }
}

fn intent(base_revision: u64) -> Intent {
    Intent {
        base_revision,
        expected_revision: None,
        topology: TOPOLOGY.as_bytes().to_vec(),
        file: "line.yaml".to_string(),
        reason: "test".to_string(),
        guards: Vec::new(),
        overrides: None,
    }
}

fn release(change: u64, step: u32, hosts: &[&str], base_release_index: u64) -> Release {
    Release {
        change,
        step,
        steps: vec![Step { hosts: hosts.iter().map(ToString::to_string).collect(), bake_ms: 0 }],
        hosts: hosts
            .iter()
            .map(|host| Assigned {
                host: (*host).to_string(),
                revision: 1,
                digest: Digest([step as u8 + 1; 32]),
            })
            .collect(),
        base_release_index,
    }
}

fn fact(link: &str, base_fact_index: u64, base_release_index: u64, release: Option<Release>) -> Fact {
    Fact {
        link: link.to_string(),
        down: true,
        evidence: vec!["a said so".to_string()],
        base_fact_index,
        base_release_index,
        release,
    }
}

/// Applies entries from index 1 on; the outcomes.
fn apply(state: &mut State, entries: &[Entry]) -> Vec<OutcomeKind> {
    (1..)
        .zip(entries)
        .filter_map(|(index, entry)| state.apply(index, &entry.encode()))
        .map(|outcome| outcome.kind)
        .collect()
}

/// A state with something in every list.
fn full() -> State {
    let mut state = State::default();
    let part = Command::Chunk { id: [1; 16], index: 0, count: 2, data: vec![1, 2] };
    let released = release(0, 0, &["a"], 4);
    let entries = [
        entry(1, found()),
        entry(2, Command::Intent(intent(0))),
        entry(3, part),
        entry(4, Command::Release(release(1, 0, &["a", "b"], 0))),
        entry(5, Command::Fact(fact("a:x--b:x", 0, 4, Some(released)))),
        entry(6, Command::Void { release: 99, reason: "no such release".to_string() }),
        entry(7, Command::Void { release: 5, reason: "outvoted".to_string() }),
    ];
    let outcomes = apply(&mut state, &entries);
    let Some(OutcomeKind::Accepted { change: 1, revision: 1 }) = outcomes.get(1) else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        outcomes[2..],
        [OutcomeKind::Done, OutcomeKind::Done, OutcomeKind::Quarantined, OutcomeKind::Done]
    );
    state
}

#[test]
fn a_snapshot_restores_the_same_state() {
    let state = full();
    for list in [
        state.intents.len(),
        state.fact_sets.len(),
        state.changes.len(),
        state.assignments.len(),
        state.releases.len(),
        state.idempotency.len(),
        state.chunks.len(),
        state.quarantine.len(),
    ] {
        assert!(list > 0, "{state:?}");
    }
    let restored = decode_snapshot(&encode_snapshot(&state, 7)).unwrap();
    assert_eq!(restored, state);
    assert_eq!(restored.digest(), state.digest());
}

#[test]
fn a_snapshot_that_was_damaged_is_refused() {
    let bytes = encode_snapshot(&full(), 7);
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(decode_snapshot(&damaged).is_err(), "byte {at}");
    }
}

#[test]
fn nothing_happens_before_the_cluster_is_founded_and_it_is_founded_once() {
    let mut state = State::default();
    let outcomes = apply(
        &mut state,
        &[
            entry(1, Command::Intent(intent(0))),
            entry(2, found()),
            entry(
                3,
                Command::Found { incarnation: 9, cluster: "other".to_string(), operator_key: vec![1; 32] },
            ),
        ],
    );
    assert_eq!(outcomes, [OutcomeKind::Quarantined, OutcomeKind::Done, OutcomeKind::Done]);
    assert_eq!((state.incarnation, state.cluster.as_str(), state.head_revision), (1, "test", 0));
}

#[test]
fn what_was_judged_on_another_state_is_judged_anew() {
    let mut state = full();
    let before = state.clone();
    for command in [
        Command::Intent(intent(0)),
        Command::Fact(fact("other", 0, 5, None)),
        Command::Fact(fact("other", 5, 4, None)),
        Command::Fact(fact("a:x--b:x", 5, 5, None)),
        Command::Release(release(1, 1, &["a"], 4)),
        Command::Release(release(1, 5, &["a"], 5)),
    ] {
        let text = format!("{command:?}");
        let outcome = state.apply(50, &entry(50, command).encode()).unwrap();
        assert_eq!(outcome.kind, OutcomeKind::Rebase, "{text}");
        assert_eq!(state, before, "{text}");
    }
}

#[test]
fn impossible_entries_are_set_aside_with_their_author() {
    let mut foreign = release(1, 1, &["a"], 5);
    foreign.hosts[0].revision = 77;
    let mut broken = intent(1);
    broken.topology = b"version: 1\nnodes: [".to_vec();
    let nested = Command::Chunk {
        id: [3; 16],
        index: 0,
        count: 1,
        data: entry(9, Command::Chunk { id: [4; 16], index: 0, count: 1, data: vec![] }).encode(),
    };
    for command in [
        Command::Release(foreign),
        Command::Release(release(1, 1, &["nobody"], 5)),
        Command::Release(release(88, 0, &["a"], 5)),
        Command::Intent(broken),
        Command::Progress { change: 1, state: ChangeState::Baking, reason: String::new() },
        Command::Progress { change: 88, state: ChangeState::Done, reason: String::new() },
        Command::RaiseIncarnation { above: u64::MAX, reason: String::new() },
        Command::Chunk { id: [3; 16], index: 1, count: 2, data: vec![] },
        Command::Chunk { id: [3; 16], index: 0, count: 0, data: vec![] },
        nested,
    ] {
        let mut state = full();
        let text = format!("{command:?}");
        let before = state.quarantine.len();
        let outcome = state.apply(50, &entry(50, command).encode());
        assert_eq!(outcome.map(|outcome| outcome.kind), Some(OutcomeKind::Quarantined), "{text}");
        let record = state.quarantine.last().unwrap();
        assert_eq!((state.quarantine.len(), record.index), (before + 1, 50), "{text}");
        assert_eq!(record.author, "tester", "{text}");
        let mut rest = state.clone();
        rest.quarantine.pop();
        assert_eq!(rest, full(), "{text}: nothing else moved");
    }
}

#[test]
fn every_list_is_bounded() {
    let mut state = State::default();
    apply(&mut state, &[entry(1, found())]);
    let mut index = 1;
    let mut next = |state: &mut State, id: u64, command: Command| {
        index += 1;
        let mut one = entry(0, command);
        one.request_id.0[..8].copy_from_slice(&id.to_be_bytes());
        let outcome = state.apply(index, &one.encode());
        (index, outcome)
    };
    for round in 0..600 {
        next(&mut state, round * 4, Command::Intent(intent(round)));
        let change = state.last_change;
        let mut step = release(change, 0, &["a", "b"], state.release_index);
        for assigned in &mut step.hosts {
            assigned.revision = round + 1;
        }
        next(&mut state, round * 4 + 1, Command::Release(step));
        let mut news = fact("a:x--b:x", state.fact_index, state.release_index, None);
        news.down = round % 2 == 0;
        next(&mut state, round * 4 + 2, Command::Fact(news));
        let mut id = [0; 16];
        id[..8].copy_from_slice(&round.to_be_bytes());
        next(&mut state, 0, Command::Chunk { id, index: 0, count: 9, data: vec![0; 100] });
        state.apply(9_999, &[0xff]);
    }
    assert_eq!(state.head_revision, 600);
    assert_eq!(state.intents.len(), INTENTS_KEPT);
    assert_eq!(state.changes.len(), CHANGES_KEPT);
    assert_eq!(state.releases.len(), RELEASES_KEPT);
    assert_eq!(state.fact_sets.len(), 1);
    assert_eq!(state.chunks.len(), CHUNKED_KEPT);
    assert_eq!(state.quarantine.len(), QUARANTINE_KEPT);
    assert!(state.idempotency.len() <= IDEMPOTENCY_KEPT);
}

fn any_command() -> impl Strategy<Value = Command> {
    let host = prop_oneof![Just("a"), Just("b"), Just("nobody")];
    let small = 0..8_u64;
    let releases = (small.clone(), 0..4_u32, prop::collection::vec(host, 0..3), small.clone())
        .prop_map(|(change, step, hosts, base)| release(change, step, &hosts, base));
    prop_oneof![
        Just(found()),
        small.clone().prop_map(|base| Command::Intent(intent(base))),
        releases.clone().prop_map(Command::Release),
        (small.clone(), small.clone(), prop::option::of(releases))
            .prop_map(|(facts, base, release)| { Command::Fact(fact("a:x--b:x", facts, base, release)) }),
        small.clone().prop_map(|release| Command::Void { release, reason: "x".to_string() }),
        (small.clone(), any::<bool>()).prop_map(|(change, done)| Command::Progress {
            change,
            state: if done { ChangeState::Done } else { ChangeState::Halted },
            reason: String::new(),
        }),
        any::<u64>().prop_map(|above| Command::RaiseIncarnation { above, reason: String::new() }),
        (0..3_u32, 0..3_u32, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(index, count, data)| { Command::Chunk { id: [1; 16], index, count, data } }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_taken(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let mut state = full();
        for (index, bytes) in (100..).zip(&entries) {
            state.apply(index, bytes);
        }
    }

    #[test]
    fn any_walk_gives_the_same_state_with_and_without_a_snapshot_on_the_way(
        commands in prop::collection::vec(any_command(), 1..30),
        cut in 0..30_usize,
    ) {
        let mut whole = State::default();
        let mut restored = State::default();
        for (at, command) in commands.into_iter().enumerate() {
            let bytes = entry(at as u8, command).encode();
            let index = at as u64 + 1;
            prop_assert_eq!(whole.apply(index, &bytes), restored.apply(index, &bytes));
            if at == cut {
                restored = decode_snapshot(&encode_snapshot(&restored, index)).unwrap();
            }
        }
        prop_assert_eq!(whole, restored);
    }
}
