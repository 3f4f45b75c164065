//! The offline verbs that judge a network: check with invariants and failures, load, explain, what-if.

use crate::cli::{code, file};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Abilene with demands, invariants and a limit of the load; `reach` between what the file says.
fn abilene(rules: &str) -> Result<(tempfile::TempDir, String)> {
    let text = std::fs::read_to_string(file("abilene.yaml"))?;
    let (network, _) = text.split_once("\nsafety:").context("a safety section")?;
    let demands =
        "demands: [{from: seattle, to: newyork, rate: 6G}, {from: losangeles, to: newyork, rate: 3G}]";
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("abilene.yaml");
    std::fs::write(&path, format!("{network}\n{demands}\n{rules}\n"))?;
    Ok((folder, path.display().to_string()))
}

fn document(arguments: &[&str], wanted: i32) -> Result<Value> {
    let arguments = [arguments, &["--json"]].concat();
    let (code, stdout, stderr) = code(&arguments)?;
    assert_eq!(code, wanted, "{arguments:?}\n{stdout}\n{stderr}");
    serde_json::from_str(&stdout).with_context(|| format!("{arguments:?}: {stdout}"))
}

#[test]
fn what_does_not_hold_is_a_problem_at_the_line_that_asks_for_it() -> Result<()> {
    let rules = "invariants:\n  - reach: {from: any, to: any}\n  - waypoint: {from: seattle, to: newyork, via: houston}\n\
                 safety: {max_link_load: 80%}";
    let (_folder, path) = abilene(rules)?;
    let found = document(&["check", &path], 1)?;
    let codes: Vec<&str> = found["diagnostics"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert_eq!(codes, ["waypoint", "link-load", "link-load", "link-load", "link-load"]);
    let text = std::fs::read_to_string(&path)?;
    let line = found["violations"][0]["line"].as_u64().context("a line")? as usize;
    assert!(text.lines().nth(line - 1).is_some_and(|line| line.contains("waypoint")), "line {line}");
    let walk = found["violations"][0]["walk"].as_array().context("a walk")?;
    let hosts: Vec<&str> = walk.iter().filter_map(|hop| hop["host"].as_str()).collect();
    assert_eq!(hosts, ["seattle", "denver", "kansas", "indianapolis", "chicago"]);
    assert_eq!(found["violations"][0]["fate"], "delivered");
    let (_, _, told) = code(&["check", &path])?;
    assert!(told.contains("denver: 10.11.0.0/24 metric 100 group"), "{told}");
    Ok(())
}

#[test]
fn single_failures_are_judged_where_that_is_asked() -> Result<()> {
    let (_folder, path) = abilene("invariants: [max_hops: {from: seattle, to: newyork, hops: 5}]")?;
    let whole = document(&["check", &path], 0)?;
    assert_eq!((&whole["valid"], whole.get("failures")), (&json!(true), None));
    let found = document(&["check", &path, "--single-failures"], 1)?;
    let elements: Vec<&str> = found["failures"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|one| one["element"].as_str())
        .collect();
    assert_eq!(
        elements,
        [
            "chicago:eth1--indianapolis:eth2",
            "chicago:eth2--newyork:eth1",
            "denver:eth1--kansas:eth2",
            "denver:eth2--seattle:eth2",
            "indianapolis:eth1--kansas:eth3",
            "chicago",
            "denver",
            "indianapolis",
            "kansas"
        ]
    );
    let (_folder, path) = abilene("invariants: [reach: {from: any, to: any}]")?;
    assert_eq!(document(&["check", &path, "--single-failures"], 0)?["failures"], json!([]));
    Ok(())
}

#[test]
fn loads_are_told_for_the_files_own_demands_generated_ones_and_a_file_of_them() -> Result<()> {
    let (folder, path) = abilene("")?;
    assert_eq!(document(&["load", &path], 0)?["max_utilisation"], json!(0.9));
    let uniform = document(&["load", &path, "--demands", "uniform"], 0)?;
    assert_eq!((&uniform["schema"], &uniform["sent_bps"]), (&json!("ballast.load/v1"), &json!(110.0)));
    let demands = folder.path().join("peak.csv");
    std::fs::write(&demands, "from,to,rate\ndenver,kansas,2.5G\n")?;
    let demands = demands.display().to_string();
    let peak = document(&["load", &path, "--demands", &demands], 0)?;
    let used: Vec<&Value> = peak["links"]
        .as_array()
        .context("links")?
        .iter()
        .filter(|link| link["load_bps"] != json!(0.0))
        .collect();
    assert_eq!(used.len(), 1);
    assert_eq!(
        *used[0],
        json!({"id": "denver:eth1--kansas:eth2", "from": "denver", "to": "kansas", "load_bps": 2.5e9,
               "capacity_bps": 10_000_000_000_u64, "utilisation": 0.25})
    );
    std::fs::write(folder.path().join("bad.csv"), "denver,nowhere,1G\n")?;
    let bad = folder.path().join("bad.csv").display().to_string();
    for (arguments, words) in [
        (vec!["load", &path, "--demands", &bad], "line 1: the topology has no node `nowhere`"),
        (vec!["load", &file("triangle.yaml")], "has no demands; write `demands:`"),
    ] {
        let (code, stdout, stderr) = code(&arguments)?;
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
    Ok(())
}

#[test]
fn a_choice_is_explained_with_what_every_neighbour_would_cost() -> Result<()> {
    let found = document(&["explain", "kansas", "10.11.0.9", &file("abilene.yaml")], 0)?;
    assert_eq!(found["class"], "newyork");
    assert_eq!(found["next_hops"][0]["via"], "indianapolis");
    let candidates = found["candidates"].as_array().context("a list")?;
    let told = |at: usize| (candidates[at]["via"].as_str(), candidates[at]["cost"].as_u64());
    assert_eq!(candidates.len(), 3);
    assert_eq!((told(0), &candidates[0]["lost_because"]), ((Some("indianapolis"), Some(1508)), &Value::Null));
    assert!(candidates[1]["lost_because"].as_str().is_some_and(|why| why.contains("more than 1508")));
    let text = std::fs::read_to_string(file("abilene.yaml"))?;
    let line = found["origin"]["line"].as_u64().context("a line")? as usize;
    assert!(text.lines().nth(line - 1).is_some_and(|line| line.contains("newyork")), "line {line}");
    let (code, _, stderr) = code(&["explain", "kansas", "192.0.2.1", &file("abilene.yaml")])?;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("no node has a prefix that holds 192.0.2.1"), "{stderr}");
    Ok(())
}

#[test]
fn what_if_tells_forwarding_pairs_and_loads() -> Result<()> {
    let (_folder, path) = abilene("")?;
    let found = document(&["what-if", &path, "--fail", "chicago--indianapolis", "kansas--houston"], 0)?;
    assert_eq!(found["pairs_lost"], json!([]));
    let found = document(&["what-if", &path, "--fail", "kansas", "atlanta", "--drain", "denver"], 0)?;
    let pairs = found["pairs_lost"].as_array().context("pairs")?.len();
    assert_eq!(pairs, 2 * 4 * 5, "four nodes in the east lose five in the west");
    assert!(found["changed_total"].as_u64() > Some(0));
    let (again, _, stderr) = code(&["what-if", &path])?;
    assert_eq!(again, 2, "{stderr}");
    let (again, _, stderr) = code(&["what-if", &path, "--cost", "denver--kansas=0"])?;
    assert_eq!(again, 2, "{stderr}");
    let (again, _, stderr) = code(&["what-if", &path, "--fail", "denver--newyork"])?;
    assert_eq!(again, 1, "{stderr}");
    Ok(())
}

#[test]
fn ways_keep_to_their_conditions_and_pairs_share_as_little_as_there_is() -> Result<()> {
    let abilene = file("abilene.yaml");
    let ways = |more: &[&str]| -> Vec<String> {
        ["ways", "seattle", "newyork", &abilene].iter().chain(more).map(ToString::to_string).collect()
    };
    let asked = |more: &[&str], wanted: i32| -> Result<serde_json::Value> {
        let words = ways(more);
        document(&words.iter().map(String::as_str).collect::<Vec<_>>(), wanted)
    };
    let found = asked(&["--count", "3"], 0)?;
    assert_eq!(found["schema"], "ballast.ways/v1");
    let costs: Vec<u64> =
        found["ways"].as_array().context("ways")?.iter().filter_map(|way| way["cost"].as_u64()).collect();
    assert_eq!(costs.len(), 3);
    assert!(costs.is_sorted() && costs[0] == 4_242, "{costs:?}");
    let found = asked(&["--avoid", "denver", "atlanta--houston"], 0)?;
    let hops = found["ways"][0]["hops"].to_string();
    assert!(hops.contains("kansas") && !hops.contains("denver") && !hops.contains("atlanta"), "{hops}");
    let found = asked(&["--via", "losangeles"], 0)?;
    assert!(found["ways"][0]["hops"].to_string().contains("losangeles"), "{found}");
    let found = asked(&["--disjoint", "nodes"], 0)?;
    assert_eq!(found["common"], json!({"nodes": [], "links": [], "risks": [], "is_proven": true}));
    assert_eq!(found["ways"].as_array().map(Vec::len), Some(2));
    // Both ways east pass one of these two: without them there is none.
    let found = asked(&["--avoid", "denver", "sunnyvale"], 1)?;
    assert_eq!(found["ways"], json!([]));
    // A line has one way: a pair shares all of it, and says so.
    let found = document(&["ways", "n1", "n3", &file("line.yaml"), "--disjoint", "nodes"], 0)?;
    assert!(!found["common"]["links"].as_array().context("links")?.is_empty(), "{found}");
    // A misspelt word is told, not passed over.
    for (more, told) in [
        (&["--avoid-risk", "conduit"][..], "no link has the risk group conduit"),
        (&["--without", "radio"], "no link has the affinity label radio"),
        (&["--avoid", "dever"], "there is no node dever; did you mean denver?"),
        (&["--avoid", "denver--newyork"], "no link denver--newyork"),
    ] {
        let words = ways(more);
        let (code, _, stderr) = code(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        assert!(code == 1 && stderr.contains(told), "{more:?}: {code} {stderr}");
    }
    Ok(())
}
