//! `tlc reduce`: what the method is told.

use tlc::core::embedding_width;

use super::faults::{run_with_embeddings, urls};
use super::{output, project, tlc};

#[test]
fn components_and_seed_have_options_of_their_own_that_contradict_no_argument() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run = run_with_embeddings(&project, "r");
    let reduce = |more: &[&str]| {
        let mut command = tlc();
        command.args(["reduce", "r", "--method", "pca", "--keep-source-tables"]).args(more);
        command.arg("--project").arg(folder.path());
        output(command)
    };
    for (args, expected) in [
        (["--components", "3"], "--components is 3 and --args says that n_components is 2; leave one of them out"),
        (["--seed", "8"], "--seed is 8 and --args says that seed is 7; leave one of them out"),
    ] {
        let (refused, _, stderr) = reduce(&[&args[..], &["--args", r#"{"n_components": 2, "seed": 7}"#]].concat());
        assert!(refused.status.code() == Some(1) && stderr.contains(expected), "{stderr}");
    }
    let (refused, _, stderr) = reduce(&["--components", "0"]);
    assert!(refused.status.code() == Some(1) && stderr.contains("n_components is 0"), "{stderr}");
    assert_eq!(urls(&run).len(), 3, "nothing was made");

    let (reduced, stdout, stderr) = reduce(&["--components", "3", "--seed", "7"]);
    assert!(reduced.status.success(), "{stdout}{stderr}");
    for url in &urls(&run)[3..] {
        let info = project.store().info(url).expect("there");
        let width = embedding_width(info.schema.field_with_name("embeddings_pca").expect("reduced"));
        assert_eq!(width, Some(3));
        let operation = info.lineage().expect("has lineage").operation;
        let args = serde_json::to_string(&operation.args).expect("plain data");
        assert!(args.contains(r#""n_components":3"#) && args.contains(r#""seed":7"#), "{args}");
    }
    assert_eq!(urls(&run).len(), 6);
}
