//! Real connections on loopback, with certificates of an authority made for the test.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tonic::Code;
use transport::Identity;

struct Authority {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), dir }
    }

    fn identity(&self, uri: &str) -> Identity {
        let mut params = CertificateParams::new(vec![transport::CONTROLLER_NAME.to_string()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let [ca, own, own_key] = ["ca.pem", "own.pem", "own.key"].map(|name| self.dir.path().join(name));
        std::fs::write(&own, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&own_key, key.serialize_pem()).unwrap();
        Identity::read(&ca, &own, &own_key).unwrap()
    }

    fn client(&self, uri: &str) -> Arc<ClientConfig> {
        transport::client_config(&self.identity(uri)).unwrap()
    }
}

/// A controller's incoming half.
struct Served {
    address: String,
    events: mpsc::Receiver<Event>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

async fn serve_at(authority: &Authority, id: u64, address: &str) -> Served {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = transport::server_config(&authority.identity(&format!("ballast://controller/{id}"))).unwrap();
    let (sender, events) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel();
    let stopped = async move { drop(stopped.await) };
    let task = tokio::spawn(serve(id, BTreeSet::from([1, 2, 3]), listener, tls, sender, stopped));
    Served { address, events, stop, task }
}

fn start(authority: &Authority, from: u64, to: u64, address: &str) -> (Peers, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(64);
    let peers = BTreeMap::from([(from, "127.0.0.1:1".to_string()), (to, address.to_string())]);
    let tls = authority.client(&format!("ballast://controller/{from}"));
    (Peers::start(from, &peers, &tls, &sender), events)
}

fn raft(from: u64, bytes: Vec<u8>) -> PeerMessage {
    PeerMessage { from, body: PeerBody::Raft(bytes) }
}

fn vote(from: u64, release: u64) -> PeerMessage {
    PeerMessage { from, body: PeerBody::Vote { release, digest: plan::Digest([7; 32]) } }
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event in time").unwrap()
}

async fn next_message(events: &mut mpsc::Receiver<Event>) -> PeerMessage {
    match next(events).await {
        Event::Peer(message) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_arrive_in_order_and_large_ones_whole() {
    let authority = Authority::new();
    let mut two = serve_at(&authority, 2, "127.0.0.1:0").await;
    let (peers, _lost) = start(&authority, 1, 2, &two.address);
    let sent = [vote(1, 1), raft(1, vec![3; 24 << 20]), vote(1, 2), raft(1, vec![4])];
    for message in &sent {
        peers.send(2, message.clone());
    }
    for message in &sent {
        assert!(next_message(&mut two.events).await == *message);
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_told_as_lost_and_found_when_it_comes() {
    let authority = Authority::new();
    let place = serve_at(&authority, 2, "127.0.0.1:0").await;
    let address = place.address.clone();
    let (peers, mut told) = start(&authority, 1, 2, &address);
    let mut two = place;
    for round in 1..4 {
        peers.send(2, vote(1, round));
        assert_eq!(next_message(&mut two.events).await, vote(1, round));
        two.stop.send(()).unwrap();
        drop(two.events);
        assert!(matches!(next(&mut told).await, Event::PeerLost { peer: 2 }));
        two.task.await.unwrap().unwrap();
        assert!(matches!(next(&mut told).await, Event::PeerLost { peer: 2 }));
        two = serve_at(&authority, 2, &address).await;
        while told.try_recv().is_ok() {}
    }
}

/// What controller 2 says to a stream of `messages` from the holder of a certificate.
async fn answer(uri: &str, to: &str, messages: Vec<proto::PeerMessage>) -> (Status, Vec<Event>) {
    let authority = Authority::new();
    let mut two = serve_at(&authority, 2, "127.0.0.1:0").await;
    let channel = transport::channel(&two.address, authority.client(uri)).await.unwrap();
    let mut request = Request::new(stream::iter(messages).chain(stream::pending()));
    request.metadata_mut().insert(TO_HEADER, to.parse().unwrap());
    let status = match PeersClient::new(channel).exchange(request).await {
        Err(status) => status,
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
    };
    let mut events = Vec::new();
    while let Ok(event) = two.events.try_recv() {
        events.push(event);
    }
    (status, events)
}

#[tokio::test]
async fn only_peers_of_this_cluster_are_listened_to() {
    for (uri, to, code, why) in [
        ("ballast://agent/seattle", "2", Code::PermissionDenied, "only controllers"),
        ("ballast://somebody/1", "2", Code::PermissionDenied, "only controllers"),
        ("ballast://controller/4", "2", Code::PermissionDenied, "controller 4 is no peer of controller 2"),
        ("ballast://controller/2", "2", Code::PermissionDenied, "controller 2 is no peer of controller 2"),
        (
            "ballast://controller/1",
            "3",
            Code::FailedPrecondition,
            "this is controller 2, controller 3 was meant",
        ),
        ("ballast://controller/1", "x", Code::FailedPrecondition, "nobody was meant"),
    ] {
        let (status, events) = answer(uri, to, vec![(&vote(1, 1)).into()]).await;
        assert_eq!(status.code(), code, "{uri}");
        assert!(status.message().contains(why), "{uri}: {}", status.message());
        assert!(events.is_empty(), "{uri}: {events:?}");
    }
}

#[tokio::test]
async fn nobody_speaks_in_anothers_name() {
    let messages = [vote(1, 1), vote(3, 2), vote(1, 3)].iter().map(Into::into).collect();
    let (status, events) = answer("ballast://controller/1", "2", messages).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(matches!(events.as_slice(), [Event::Peer(message)] if *message == vote(1, 1)), "{events:?}");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_dropped_and_one_of_a_newer_ballast_ends_the_stream() {
    let bad = proto::PeerMessage { version: 1, from: 1, body: None };
    let newer = proto::PeerMessage { version: 2, ..proto::PeerMessage::from(&vote(1, 2)) };
    let messages = vec![bad, (&vote(1, 1)).into(), newer, (&vote(1, 3)).into()];
    let (status, events) = answer("ballast://controller/1", "2", messages).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("upgrade"), "{}", status.message());
    assert!(matches!(events.as_slice(), [Event::Peer(message)] if *message == vote(1, 1)), "{events:?}");
}

#[test]
fn a_full_queue_drops_the_oldest_raft_messages_first() {
    let queue = Queue::default();
    queue.push(vote(1, 1));
    for number in 0..QUEUE_MESSAGES_MAX {
        queue.push(raft(1, number.to_be_bytes().to_vec()));
    }
    queue.push(vote(1, 2));
    let waiting = queue.waiting();
    assert_eq!(waiting.messages.len(), QUEUE_MESSAGES_MAX);
    assert_eq!(waiting.messages.front(), Some(&vote(1, 1)));
    assert_eq!(waiting.messages.get(1), Some(&raft(1, 2usize.to_be_bytes().to_vec())));
    assert_eq!(waiting.messages.back(), Some(&vote(1, 2)));
}

#[test]
fn a_queue_of_votes_alone_is_bounded_too() {
    let queue = Queue::default();
    for number in 0..2 * QUEUE_MESSAGES_MAX as u64 {
        queue.push(vote(1, number));
    }
    assert_eq!(queue.waiting().messages.len(), QUEUE_MESSAGES_MAX);
    assert_eq!(queue.waiting().messages.front(), Some(&vote(1, QUEUE_MESSAGES_MAX as u64)));
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let queue = Queue::default();
    for number in 0..5 {
        queue.push(raft(1, vec![number; QUEUE_BYTES_MAX / 4 + 1]));
    }
    assert_eq!(queue.waiting().messages.front(), Some(&raft(1, vec![2; QUEUE_BYTES_MAX / 4 + 1])));
    queue.forget_raft();
    assert_eq!(queue.waiting().bytes, 0);
}

#[test]
fn waits_are_spread_over_half_of_their_length() {
    let waits: Vec<Duration> = (0..100).map(|_| jittered(RECONNECT_MAX)).collect();
    assert!(waits.iter().all(|wait| (RECONNECT_MAX / 2..=RECONNECT_MAX).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]));
}
