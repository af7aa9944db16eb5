//! Ports that tbuild.toml names besides those of HTTP and HTTPS.

use std::fs;

use crate::place::Place;

#[test]
fn ports_that_are_named_are_recorded() {
    let mut place = Place::new();
    let lines = "RUN wget -qO /got http://origin.example.com:8080/base/file && wget -T 5 -qO /x http://origin.example.com:8081/ || echo no more";
    place.dockerfile(lines);
    let project = |ports: &str| {
        format!(
            "[project]\nname = \"p\"\nnetwork = \"record\"\n[image.app]\ncontext = \"context\"\n\
             dockerfile = \"context/Dockerfile\"\nports = {ports}\n"
        )
    };
    fs::write(place.path("tbuild.toml"), project("[8080]")).expect("written");
    let recorded = place.run(&["image", "app"]);
    assert_eq!(recorded.code, 0, "{}", recorded.said);
    assert!(recorded.said.contains("| no more"), "{}", recorded.said);
    let lock = place.lock();
    assert!(
        lock.contains("origin = \"http://origin.example.com:8080\""),
        "{lock}"
    );
    place.stop();
    place.forget();
    let replayed = place.run(&["--offline", "image", "app"]);
    assert_eq!(replayed.code, 0, "{}", replayed.said);
    assert_eq!(replayed.id, recorded.id);
    fs::write(place.path("tbuild.toml"), project("[80, 70000]")).expect("written");
    let refused = place.run(&["image", "app"]);
    assert_eq!(refused.code, 2, "{}", refused.said);
    assert!(
        refused.said.contains("70000 is no port"),
        "{}",
        refused.said
    );
}
