//! The command's offline verbs as a script meets them: exit codes, JSON alone on standard output, words on standard error.

use anyhow::{Context, Result, ensure};
use it::bed::binary;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) fn file(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../topology/files").join(name).display().to_string()
}

/// Runs `ballast` without any controller known.
fn ballast(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary("ballast")?);
    for variable in ["BALLAST_URL", "BALLAST_CA", "BALLAST_TOKEN_FILE"] {
        command.env_remove(variable);
    }
    Ok(command.args(arguments).env("NO_COLOR", "1").output()?)
}

pub(crate) fn code(arguments: &[&str]) -> Result<(i32, String, String)> {
    let output = ballast(arguments)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().context("it was killed")?, text(&output.stdout), text(&output.stderr)))
}

#[test]
fn every_offline_verb_ends_with_the_code_of_the_contract() -> Result<()> {
    let (triangle, line, bad) =
        (file("triangle.yaml"), file("line.yaml"), file("bad/dangling-endpoint.yaml"));
    let alone = tempfile::tempdir()?;
    let alone = |name: &str, text: &str| -> Result<String> {
        let path = alone.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let split = alone("split.yaml", "version: 1\nname: s\nnodes: {a: {}, b: {}}\n")?;
    let without_c = std::fs::read_to_string(&triangle)?.replace("10.3.0.0/24, ", "");
    let without_c = alone("less.yaml", &without_c)?;
    let weights = alone("a.weights.intra", "x,+Y1 z2 1.5\nz2 x,+Y1 1.5\n")?;
    let template = alone("t.clab.yml", "topology:\n  nodes:\n{{ range .x }}\n")?;
    let imported = alone("imported.yaml", "")?;
    let folder = tempfile::tempdir()?;
    for (name, text) in [
        ("1.yaml", "version: 1\nname: s\nnodes: {a: {}, b: {}}\n"),
        ("2.yaml", "links: [{endpoints: [\"a:e\", \"b:e\"]}]\n---\nsafety: {bake: 1s}\n"),
        ("notes.txt", "no topology"),
    ] {
        std::fs::write(folder.path().join(name), text)?;
    }
    let folder = folder.path().display().to_string();
    let empty = tempfile::tempdir()?;
    let empty = empty.path().display().to_string();
    for (arguments, wanted, out, err) in [
        (vec!["check", &triangle], 0, "valid, 3 nodes, 3 links", ""),
        (vec!["check", &folder], 0, "valid, 2 nodes, 1 links", ""),
        (vec!["check", &empty], 1, "", "no *.yaml file"),
        (vec!["path", "a", "b", &folder], 0, "a > b", ""),
        (vec!["schema"], 0, "https://json-schema.org/draft/2020-12/schema", ""),
        (vec!["schema", "--reference"], 0, "| `endpoints` |", ""),
        (vec!["check", &bad], 1, "", "dangling"),
        (vec!["check", "absent.yaml", &triangle], 1, "triangle.yaml: valid", "absent.yaml: No such file"),
        (vec!["check"], 2, "", "required arguments"),
        (vec!["chekc", &triangle], 2, "", "check"),
        (vec!["import", &weights], 0, "cost: 15", "read as rocketfuel: 2 nodes, 1 links"),
        (vec!["import", &weights, "-o", &imported], 0, "", "invented: name x_Y_1"),
        (vec!["check", &imported], 0, "valid, 2 nodes, 1 links", ""),
        (vec!["import", &template], 1, "", "t.clab.yml: line 3: "),
        (vec!["import", &weights, "--demands", "absent"], 1, "", "absent"),
        (vec!["import", &weights, "--cost", "lowest"], 2, "", "inverse-capacity"),
        (vec!["import", &weights, "--json", "-o", "-"], 2, "", "standard output"),
        (vec!["plan", &triangle], 0, "guards", ""),
        (vec!["plan", &bad], 1, "", "is not valid"),
        (vec!["plan", &triangle, &without_c], 3, "max_prefixes_lost", ""),
        (vec!["plan", &triangle, &triangle], 0, "", ""),
        (vec!["plan", &triangle, "--against", "nothing"], 0, "", ""),
        (vec!["backups", &triangle], 0, "100.0% are possible", ""),
        (vec!["backups", &line, "--host", "nobody"], 1, "", "nobody"),
        (vec!["program", "a", &triangle], 0, "10.2.0.0/24", ""),
        (vec!["program", "nobody", &triangle], 1, "", "nobody"),
        (vec!["path", "a", "c", &triangle], 0, "a", ""),
        (vec!["path", "a", "b", &split], 1, "", ""),
        (vec!["path", "a", "nobody", &line], 1, "", ""),
        (vec!["status"], 5, "", "--url"),
        (vec!["apply", &triangle], 2, "", "--reason"),
        (
            vec!["status", "--url", "https://127.0.0.1:1", "--ca", "/dev/null", "--token-file", "/dev/null"],
            1,
            "",
            "",
        ),
    ] {
        let (code, stdout, stderr) = code(&arguments)?;
        let told = format!("{arguments:?}\n{stdout}\n{stderr}");
        assert_eq!(code, wanted, "{told}");
        assert!(stdout.contains(out) && stderr.contains(err), "{told}");
    }
    Ok(())
}

#[test]
fn json_is_alone_on_standard_output_and_names_its_schema() -> Result<()> {
    let (triangle, bad) = (file("triangle.yaml"), file("bad/duplicate-key.yaml"));
    let alone = tempfile::tempdir()?;
    let lab = alone.path().join("a.clab.yml").display().to_string();
    std::fs::write(&lab, "topology: {nodes: {a: {}, b: {}}, links: [{endpoints: [a:e1, b:e1]}]}")?;
    for (arguments, schema) in [
        (vec!["import", &lab], "ballast.import/v1"),
        (vec!["check", &triangle], "ballast.check/v1"),
        (vec!["check", &bad], "ballast.check/v1"),
        (vec!["check", "absent.yaml"], "ballast.check/v1"),
        (vec!["plan", &triangle], "ballast.plan/v1"),
        (vec!["backups", &triangle], "ballast.backups/v1"),
        (vec!["program", "a", &triangle], "ballast.program/v1"),
        (vec!["path", "a", "c", &triangle], "ballast.paths/v1"),
        (vec!["path", "a", "nobody", &triangle], "ballast.paths/v1"),
    ] {
        let arguments: Vec<&str> = arguments.into_iter().chain(["--json"]).collect();
        let output = ballast(&arguments)?;
        let document: Value =
            serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}"))?;
        assert_eq!(document["schema"], schema, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn no_controller_answers_is_exit_5_and_says_which_were_asked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    lab::certificates::Authority::new("nobody")?.write(folder.path())?;
    let [ca, token] = ["ca.pem", "token"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&token, "0".repeat(64))?;
    // A port that is bound and not listened at: nobody can answer there.
    let port = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("https://127.0.0.1:{port}");
    let (code, stdout, stderr) = code(&["status", "--url", &url, "--ca", &ca, "--token-file", &token])?;
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert!(stderr.contains(&url), "{stderr}");
    Ok(())
}

/// Runs `ballast` with at most so many bytes of memory of its own (`RLIMIT_DATA`).
fn ballast_within(bytes: usize, arguments: &[&str]) -> Result<Output> {
    let limited = "ulimit -d \"$1\" && shift && exec \"$@\"";
    let kilobytes = (bytes / 1024).to_string();
    let mut command = Command::new("bash");
    command.args(["-c", limited, "bash", &kilobytes]).arg(binary("ballast")?).args(arguments);
    Ok(command.output()?)
}

#[test]
fn memory_is_bounded_by_the_size_of_the_file() -> Result<()> {
    /// Of the program itself, whatever it reads.
    const OWN_BYTES: usize = 24 << 20;
    const FILE_BYTES: usize = 384 << 10;
    let folder = tempfile::tempdir()?;
    let make =
        |name: &str, head: &str, item: &dyn Fn(usize) -> String, tail: &str| -> Result<(String, usize)> {
            let mut text = head.to_string();
            for at in 0.. {
                text.push_str(&item(at));
                if text.len() >= FILE_BYTES {
                    break;
                }
            }
            text.push_str(tail);
            let path = folder.path().join(name);
            std::fs::write(&path, &text)?;
            Ok((path.display().to_string(), text.len()))
        };
    let head = "version: 1\nname: x\nnodes: {a: {}, b: {}}\n";
    let links = |at: usize| format!("- {{endpoints: [a:e{at}, b:e{at}]}}\n");
    let links = make("links.yaml", &format!("{head}links:\n"), &links, "")?;
    let errors = make("errors.yaml", &format!("{head}links:\n"), &|_| "- x\n".to_string(), "")?;
    let head = "<graphml><graph><node id=\"0\"/><node id=\"1\"/>";
    let edges = |_| "<edge source=\"0\" target=\"1\"/>".to_string();
    let edges = make("edges.graphml", head, &edges, "</graph></graphml>")?;
    for (verb, (path, bytes), factor, wanted) in
        [("check", links, 200, 0), ("check", errors, 200, 1), ("import", edges, 100, 0)]
    {
        let written = folder.path().join("out.yaml").display().to_string();
        let mut arguments = vec![verb, &path];
        if verb == "import" {
            arguments.extend(["-o", &written]);
        }
        let output = ballast_within(OWN_BYTES + factor * bytes, &arguments)?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(wanted), "{arguments:?}: {}: {words:.500}", output.status);
        if wanted == 0 {
            // With much less the same file is too much: the bound is one that can be broken.
            let output = ballast_within(OWN_BYTES + factor * bytes / 20, &arguments)?;
            ensure!(
                output.status.code() != Some(0),
                "{arguments:?} needs less than a twentieth of its bound"
            );
        }
    }
    Ok(())
}

#[test]
fn what_people_read_is_reviewed() -> Result<()> {
    let (triangle, abilene) = (file("triangle.yaml"), file("abilene.yaml"));
    let mut text = String::new();
    for arguments in [
        &["plan", &triangle][..],
        &["program", "a", &triangle],
        &["path", "a", "c", &triangle],
        &["backups", &abilene],
        &["backups", &abilene, "--host", "denver"],
    ] {
        let words: Vec<&str> =
            arguments.iter().map(|word| word.rsplit('/').next().unwrap_or_default()).collect();
        let (code, stdout, _) = code(arguments)?;
        text += &format!("$ ballast {}\n{stdout}[exit {code}]\n\n", words.join(" "));
    }
    insta::assert_snapshot!(text);
    Ok(())
}

#[test]
fn a_drawn_network_shows_every_node_and_both_directions_of_every_link() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("map.svg").display().to_string();
    for (name, demands, how, legend) in [
        ("abilene.yaml", "uniform", "on their places", "busiest"),
        ("triangle.yaml", "degree", "by their links", "busiest"),
    ] {
        let (code, _, stderr) = code(&["draw", &file(name), "-o", &out, "--demands", demands])?;
        assert_eq!(code, 0, "{stderr}");
        ensure!(stderr.contains(how), "{stderr}");
        let picture = std::fs::read_to_string(&out)?;
        let text = std::fs::read_to_string(file(name))?;
        let topology = topology::read(name, text.as_bytes()).topology.context("valid")?;
        for node in &topology.nodes {
            ensure!(picture.contains(&format!(">\n{}\n</text>", node.name)), "{} has no name", node.name);
        }
        assert_eq!(picture.matches("<circle").count(), topology.nodes.len());
        assert_eq!(picture.matches("<path").count(), 2 * topology.links.len());
        ensure!(picture.contains(legend) && picture.contains("#d55e00"), "the busiest link has its colour");
        let again = folder.path().join("again.svg").display().to_string();
        ballast(&["draw", &file(name), "-o", &again, "--demands", demands])?;
        assert_eq!(picture, std::fs::read_to_string(&again)?, "the same file gives the same picture");
    }
    let (code, _, stderr) = code(&["draw", &file("triangle.yaml"), "-o", "/nonexistent/map.svg"])?;
    assert_eq!(code, 1, "{stderr}");
    Ok(())
}
