//! One installation, one secret.

use crate::access::run;
use crate::harness::Fixture;

const ROSTER: [&str; 5] = ["roster", "import", "docs/example/crm-roster.csv", "--system", "crm"];

#[tokio::test]
async fn another_secret_is_refused_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (code, told, _) = doctor(&fixture, None);
    assert_eq!(code, Some(1), "no worker runs");
    assert!(told.contains("there are none yet"), "{told}");
    let (code, _, told) = run(&fixture, &ROSTER);
    assert_eq!(code, Some(0), "{told}");
    let rows = fixture.number("SELECT count() FROM roster").await;
    assert!(rows > 0);

    for command in [&ROSTER[..], &["erase", "someone"], &["api"], &["ingest"]] {
        let mut program = fixture.program();
        let output = program
            .args(command)
            .env("UPTAKE__PRIVACY__SECRET", "thirty-two characters of another secret")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {told}");
        let expected = "privacy.secret: expected the one by which database";
        assert!(
            told.contains(expected) && !told.contains("thirty-two"),
            "{command:?}: {told}"
        );
    }
    assert_eq!(fixture.number("SELECT count() FROM roster").await, rows);
    assert_eq!(fixture.number("SELECT count() FROM pseudonym_keys").await, 1);

    let (_, told, _) = doctor(&fixture, Some("thirty-two characters of another secret"));
    assert!(told.contains("expected the one by which"), "{told}");
    let (_, told, _) = doctor(&fixture, None);
    assert!(told.contains("made with this secret"), "{told}");
    // The same secret again is the same installation.
    assert_eq!(run(&fixture, &ROSTER).0, Some(0));
}

fn doctor(fixture: &Fixture, secret: Option<&str>) -> (Option<i32>, String, String) {
    let mut program = fixture.program();
    if let Some(secret) = secret {
        program.env("UPTAKE__PRIVACY__SECRET", secret);
    }
    let output = program.arg("doctor").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
