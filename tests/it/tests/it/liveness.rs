//! `ballast-liveness` against itself and against FRR's bfdd, over real cables.

use it::bed::{Bed, PATIENCE, sample};
use it::may_make_namespaces;
use it::pair::{Pair, Watcher, session};
use lab::Lab;
use liveness::core::control::Report;
use nix::sys::signal::Signal;
use nix::unistd::{Group, User};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a busy machine adds to a detection time: to a process's turn, and to the making of the cut.
const SLACK: Duration = Duration::from_secs(5);
/// Three intervals of 10 ms, and the two processes' ways to each other.
const IN_TIME: Duration = Duration::from_millis(90);
const FRR: &str = "/usr/lib/frr";

fn all_up(report: &Report) -> bool {
    !report.sessions.is_empty() && report.sessions.iter().all(|session| session.state == "up")
}

fn alive(report: &Report) -> Vec<Option<bool>> {
    report.sessions.iter().map(|session| session.alive).collect()
}

#[test]
fn a_silent_cut_is_noticed_within_three_intervals_of_10_ms() {
    if !may_make_namespaces("a_silent_cut_is_noticed_within_three_intervals_of_10_ms") {
        return;
    }
    let mut pair = Pair::up("tenms").unwrap();
    let (_, mut near) = pair.start_liveness(0).unwrap();
    let (far_pid, mut far) = pair.start_liveness(1).unwrap();
    let both = |end| [session(end, false, 10, 3), session(end, true, 10, 3)];
    near.want(&both(0)).unwrap();
    far.want(&both(1)).unwrap();
    near.until("both families come up", all_up).unwrap();
    near.until("and agree on 10 ms", |report| report.sessions.iter().all(|one| one.detection_us == 30_000))
        .unwrap();

    // Nobody watches for a while: the sessions go on.
    drop(near);
    std::thread::sleep(Duration::from_millis(500));
    let mut near = Watcher::connect(&pair.file("liveness-0.sock")).unwrap();
    near.want(&both(0)).unwrap();
    assert!(
        all_up(&near.report) && near.report.sessions.iter().all(|one| one.failures == 0),
        "{:?}",
        near.report
    );
    assert!(near.report.sessions.iter().all(|one| one.since_ms >= 400), "{:?}", near.report);

    // The machine may keep this test, which only looks on, from its turn: one cut in five that is seen in time is enough.
    let mut noticed = Duration::MAX;
    for _ in 0..5 {
        let before = Instant::now();
        pair.cut(true).unwrap();
        // It was cut somewhere between the two moments.
        let cut = Instant::now();
        near.until("dead", |report| alive(report) == [Some(false), Some(false)]).unwrap();
        println!("noticed {:?} to {:?} after a silent cut, 3 x 10 ms", cut.elapsed(), before.elapsed());
        noticed = noticed.min(cut.elapsed());
        pair.cut(false).unwrap();
        near.until("up again", all_up).unwrap();
        far.until("at the other end, too", all_up).unwrap();
        if noticed < IN_TIME {
            break;
        }
    }
    assert!(noticed < IN_TIME, "{noticed:?}");

    // A process that is ended says goodbye: nothing is known, nobody is dead.
    pair.end(far_pid, Signal::SIGTERM).unwrap();
    near.until("the other end left", |report| alive(report) == [None, None]).unwrap();
    let (far_pid, mut far) = pair.start_liveness(1).unwrap();
    far.want(&both(1)).unwrap();
    near.until("it is back", all_up).unwrap();
    // One that is killed does not: that is a failure.
    pair.end(far_pid, Signal::SIGKILL).unwrap();
    near.until("the other end died", |report| alive(report) == [Some(false), Some(false)]).unwrap();
}

/// FRR's daemons in namespace `b`, as Debian has them.
struct Frr {
    bfdd: nix::unistd::Pid,
}

impl Frr {
    fn start(pair: &mut Pair, config: &str) -> Frr {
        let (user, group) =
            (User::from_name("frr").unwrap().unwrap(), Group::from_name("frr").unwrap().unwrap());
        let folder = pair.file("frr");
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(file("bfdd.conf"), config).unwrap();
        std::fs::write(file("zebra.conf"), "").unwrap();
        for path in [folder.display().to_string(), file("bfdd.conf"), file("zebra.conf")] {
            nix::unistd::chown(Path::new(&path), Some(user.uid), Some(group.gid)).unwrap();
        }
        let vty = folder.display().to_string();
        let (socket, config) = (file("zebra.sock"), file("zebra.conf"));
        let common = ["-z", &socket, "--vty_socket", &vty, "-P", "0", "--log", "stdout"];
        let pid_file = file("zebra.pid");
        let zebra = [&common[..], &["-f", &config, "-i", &pid_file]].concat();
        pair.start(1, "zebra.log", &Path::new(FRR).join("zebra"), &zebra).unwrap();
        // A bfdd that finds no zebra tries again much later.
        let deadline = Instant::now() + PATIENCE;
        while !Path::new(&socket).exists() {
            assert!(Instant::now() < deadline, "zebra does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (config, pid_file, control) = (file("bfdd.conf"), file("bfdd.pid"), file("bfdd.sock"));
        let bfdd = [&common[..], &["-f", &config, "-i", &pid_file, "--bfdctl", &control]].concat();
        let bfdd = pair.start(1, "bfdd.log", &Path::new(FRR).join("bfdd"), &bfdd).unwrap();
        Frr { bfdd }
    }

    fn vtysh(&self, pair: &Pair, commands: &[&str]) -> String {
        let vty = pair.file("frr").display().to_string();
        let mut words = vec!["vtysh", "--vty_socket", &vty, "-d", "bfdd"];
        commands.iter().for_each(|command| words.extend(["-c", command]));
        pair.run(1, &words).unwrap()
    }

    /// Enters the peer of a family and says something there.
    fn configure(&self, pair: &Pair, v6: bool, command: &str) {
        let peer = if v6 {
            "peer fe80::1 local-address fe80::2 interface eth1"
        } else {
            "peer 10.9.0.1 local-address 10.9.0.2 interface eth1"
        };
        self.vtysh(pair, &["configure terminal", "bfd", peer, command]);
    }

    /// What it says of its peers, until it is as wanted.
    fn until(&self, pair: &Pair, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.vtysh(pair, &["show bfd peers json"]);
            let peers: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
            if !peers.is_empty() && peers.iter().all(&is_so) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {text}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

/// FRR begins over IPv4 while ours is passive; over IPv6 it is the other way round.
const BFDD: &str = "bfd
 peer 10.9.0.1 local-address 10.9.0.2 interface eth1
  receive-interval 50
  transmit-interval 50
  detect-multiplier 3
  no shutdown
 exit
 peer fe80::1 local-address fe80::2 interface eth1
  receive-interval 50
  transmit-interval 50
  detect-multiplier 3
  passive-mode
  no shutdown
 exit
exit
";

#[test]
fn frrs_bfdd_is_a_neighbour_like_any_other() {
    if !may_make_namespaces("frrs_bfdd_is_a_neighbour_like_any_other") {
        return;
    }
    if !Path::new(FRR).join("bfdd").exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "continuous integration installs frr");
        println!("SKIPPED: no FRR here to be a neighbour (apt-get install frr)");
        return;
    }
    let mut pair = Pair::up("frr").unwrap();
    let frr = Frr::start(&mut pair, BFDD);
    let (_, mut ours) = pair.start_liveness(0).unwrap();
    let mut v4 = session(0, false, 50, 3);
    v4.passive = true;
    let wanted = [v4, session(0, true, 50, 3)];
    ours.want(&wanted).unwrap();
    ours.until("both come up, whoever begins", all_up).unwrap();
    let agreed = |us| move |report: &Report| report.sessions.iter().all(|one| one.detection_us == us);
    ours.until("50 ms are agreed on", agreed(150_000)).unwrap();
    frr.until(&pair, "FRR says so, too", |peer| {
        peer["status"] == "up"
            && peer["remote-transmit-interval"] == 50
            && peer["remote-receive-interval"] == 50
    });

    // Parameters change at either end, without a moment down.
    let slower = wanted.clone().map(|one| liveness::core::control::WantedSession { interval_ms: 120, ..one });
    ours.want(&slower).unwrap();
    frr.until(&pair, "FRR hears of 120 ms", |peer| peer["remote-transmit-interval"] == 120);
    ours.until("and ours counts in them", agreed(360_000)).unwrap();
    for v6 in [false, true] {
        frr.configure(&pair, v6, "transmit-interval 200");
    }
    ours.until("FRR sends every 200 ms", agreed(600_000)).unwrap();
    for v6 in [false, true] {
        frr.configure(&pair, v6, "transmit-interval 50");
    }
    ours.want(&wanted).unwrap();
    ours.until("back to 50 ms", agreed(150_000)).unwrap();
    assert!(
        ours.report.sessions.iter().all(|one| one.failures == 0 && one.state == "up"),
        "{:?}",
        ours.report
    );

    admin_down_at_either_end_is_no_failure(&pair, &frr, &mut ours);
    what_carries_authentication_is_dropped(&pair, &mut ours);

    let killed = Instant::now();
    pair.end(frr.bfdd, Signal::SIGKILL).unwrap();
    ours.until("dead", |report| alive(report) == [Some(false), Some(false)]).unwrap();
    let noticed = killed.elapsed();
    println!("noticed {noticed:?} after bfdd was killed, 3 x 50 ms");
    assert!(noticed < Duration::from_millis(150) + SLACK, "{noticed:?}");
}

fn admin_down_at_either_end_is_no_failure(pair: &Pair, frr: &Frr, ours: &mut Watcher) {
    for v6 in [false, true] {
        frr.configure(pair, v6, "shutdown");
    }
    ours.until("FRR took both down", |report| alive(report) == [None, None]).unwrap();
    assert!(
        ours.report.sessions.iter().all(|one| one.failures == 0 && one.state == "down"),
        "{:?}",
        ours.report
    );
    for v6 in [false, true] {
        frr.configure(pair, v6, "no shutdown");
    }
    ours.until("and up again", all_up).unwrap();

    let wanted = [
        liveness::core::control::WantedSession { passive: true, ..session(0, false, 50, 3) },
        session(0, true, 50, 3),
    ];
    ours.want(&[]).unwrap();
    frr.until(pair, "FRR is told", |peer| {
        peer["status"] == "down"
            && peer["diagnostic"] == "neighbor signaled session down"
            && peer["remote-diagnostic"] == "administratively down"
    });
    ours.want(&wanted).unwrap();
    ours.until("wanted again, up again", all_up).unwrap();
    frr.until(pair, "at FRR's end, too", |peer| peer["status"] == "up");
}

/// A packet as FRR sends it, but for the A bit: as from the neighbour, and as if it were the end of the session.
fn what_carries_authentication_is_dropped(pair: &Pair, ours: &mut Watcher) {
    ours.ask().unwrap();
    let before = ours.report.dropped.malformed;
    lab::probe::in_netns(pair.name(1), || {
        let socket = std::net::UdpSocket::bind("10.9.0.2:0")?;
        socket.set_ttl(255)?;
        let mut packet = [0u8; 28];
        packet[..4].copy_from_slice(&[0x20, 0x44, 3, 28]);
        packet[7] = 9;
        packet[24..].copy_from_slice(&[1, 4, 1, b'x']);
        socket.send_to(&packet, "10.9.0.1:3784")?;
        Ok(())
    })
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ours.report.dropped.malformed == before {
        assert!(Instant::now() < deadline, "{:?}", ours.report);
        ours.ask().unwrap();
    }
    assert!(all_up(&ours.report), "{:?}", ours.report);
}

/// The liveness process of a host of a lab.
fn of_host(bed: &Bed, host: &str) -> Watcher {
    let lab = Lab::find(Some(bed.run_id())).unwrap();
    let mut watcher = Watcher::connect(&lab.liveness_socket(host)).unwrap();
    watcher.ask().unwrap();
    watcher
}

/// Waits until every session of the hosts is up; gives how often neighbours were found dead.
fn failures_once_up(bed: &Bed, hosts: &[&str]) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut failures = 0;
    for host in hosts {
        let mut watcher = of_host(bed, host);
        while !all_up(&watcher.report) {
            assert!(Instant::now() < deadline, "{host}: {:?}", watcher.report);
            std::thread::sleep(Duration::from_millis(20));
            watcher.ask().unwrap();
        }
        failures += watcher.report.sessions.iter().map(|session| session.failures).sum::<u64>();
    }
    failures
}

#[test]
fn a_silent_cut_is_routed_around_and_an_agents_restart_is_no_departure() {
    if !may_make_namespaces("a_silent_cut_is_routed_around_and_an_agents_restart_is_no_departure") {
        return;
    }
    let topology = sample("abilene.yaml").unwrap().replace(
        "link: { capacity: 10G,",
        "link: { liveness: { interval: 50ms, multiplier: 3 }, capacity: 10G,",
    );
    let bed = Bed::up(&topology).unwrap();
    let neighbours = ["denver", "houston", "indianapolis"];
    assert_eq!(failures_once_up(&bed, &neighbours), 0);

    // The agent dies and comes again: nobody's session goes down, and it learns the states again.
    bed.lab(&["kill", "kansas"]).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    bed.lab(&["start", "kansas"]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hosts = bed.json(&["hosts"]).unwrap();
        let links = hosts["hosts"].as_array().unwrap().iter().find(|host| host["name"] == "kansas").unwrap();
        let links = links["links"].as_array().unwrap();
        if links.len() == 3 && links.iter().all(|link| link["neighbour"] == true) {
            break;
        }
        assert!(Instant::now() < deadline, "{hosts}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(failures_once_up(&bed, &neighbours), 0, "an agent's restart is no departure");

    // A silent cut: noticed within the detection time, then routed around.
    let mut denver = of_host(&bed, "denver");
    let wanted = liveness::core::control::Wanted {
        sessions: denver.report.sessions.iter().map(wanted_again).collect(),
    };
    denver.want(&wanted.sessions).unwrap();
    let before = Instant::now();
    bed.lab(&["cut", "denver:eth1--kansas:eth2", "--silent"]).unwrap();
    let cut = Instant::now();
    denver
        .until("the cut is noticed", |report| report.sessions.iter().any(|one| one.alive == Some(false)))
        .unwrap();
    println!("noticed {:?} to {:?} after a silent cut, 3 x 50 ms", cut.elapsed(), before.elapsed());
    assert!(cut.elapsed() < Duration::from_millis(150) + SLACK, "{:?}", cut.elapsed());
    until_link(&bed, "denver:eth1--kansas:eth2", "down");
    bed.lab(&["mend", "denver:eth1--kansas:eth2"]).unwrap();
    until_link(&bed, "denver:eth1--kansas:eth2", "up");

    // The control: when the process itself dies, its neighbours notice.
    bed.lab(&["kill", "kansas@liveness"]).unwrap();
    denver
        .until("that is a departure", |report| report.sessions.iter().any(|one| one.failures == 2))
        .unwrap();
}

fn wanted_again(session: &liveness::core::control::SessionReport) -> liveness::core::control::WantedSession {
    liveness::core::control::WantedSession {
        interface: session.interface.clone(),
        local: session.local,
        remote: session.remote,
        interval_ms: 50,
        multiplier: 3,
        passive: false,
    }
}

fn until_link(bed: &Bed, link: &str, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let links = bed.json(&["links"]).unwrap();
        let found = links["links"].as_array().unwrap().iter().find(|one| one["id"] == link).unwrap();
        if found["state"] == state {
            println!("{found}");
            return;
        }
        assert!(Instant::now() < deadline, "{found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
