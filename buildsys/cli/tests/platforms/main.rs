//! Images for several platforms, as users see them: what is built, what a registry gets, what is refused.

mod emulation;
mod place;
mod registry;

use place::{Place, json, text};
use registry::Registry;
use serde_json::Value;

const BOTH: &str = "--platform=linux/arm64,linux/amd64";

/// A stage of this machine's that runs once, one that is another for each platform, and what is made of both.
const CROSS: &str = "\
FROM --platform=$BUILDPLATFORM base AS tools
RUN echo made >/made
FROM --platform=$BUILDPLATFORM tools AS cross
ARG TARGETARCH TARGETPLATFORM BUILDPLATFORM
RUN echo $BUILDPLATFORM to $TARGETPLATFORM >/out
FROM scratch
ARG TARGETARCH TARGETVARIANT
LABEL arch=$TARGETARCH$TARGETVARIANT
COPY --from=tools /made /
COPY --from=cross /out /
";

fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().expect("manifests");
    let part = |platform: &Value, name: &str| match &platform[name] {
        Value::String(text) => format!("/{text}"),
        _ => String::new(),
    };
    let named = manifests.iter().map(|manifest| {
        let platform = &manifest["platform"];
        let rest = [part(platform, "architecture"), part(platform, "variant")].concat();
        format!("{}{rest}", platform["os"].as_str().expect("os"))
    });
    named.collect()
}

#[test]
fn several_platforms_are_pushed_as_one_index() {
    let place = Place::new();
    place.write("Dockerfile", CROSS);
    let registry = Registry::start();
    let name = "team/app:v1";
    let reference = registry.reference(name);
    let arguments = ["--build-context=base=base", "-t", &reference, "--push"];
    let (id, said) = place.built(&[&arguments[..], &[BOTH, "--iidfile=iid"]].concat());
    assert_eq!(said.matches("> RUN echo made").count(), 1, "{said}");
    assert_eq!(
        said.matches("> RUN echo $BUILDPLATFORM").count(),
        2,
        "{said}"
    );
    assert_eq!(text(&place.path("iid")), id);

    let index = registry.raw(name);
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    for arch in ["amd64", "arm64"] {
        let seen = registry.inspect(name, arch);
        assert_eq!(seen["Architecture"], arch);
        assert_eq!(seen["Labels"]["arch"], arch);
        let folder = place.path(arch);
        registry.pull(name, arch, &folder);
        let said = place::file_of_layout(&folder, "out");
        assert_eq!(said, format!("linux/{} to linux/{arch}\n", place::own()));
        assert_eq!(place::file_of_layout(&folder, "made"), "made\n");
    }
    assert_eq!(registry.digest(name), id);

    // Once more, in another order and by flags that are repeated: nothing runs.
    let again = ["--platform=linux/amd64", "--platform", "linux/arm64"];
    let (same, said) = place.built(&[&arguments[..], &again].concat());
    assert_eq!(same, id);
    assert!(said.contains(" 0 run,"), "{said}");

    let other = Place::new();
    other.write("Dockerfile", CROSS);
    let (elsewhere, _) = other.built(&["--build-context=base=base", BOTH]);
    assert_eq!(elsewhere, id, "in another store");
}

#[test]
fn an_index_is_written_as_a_layout_and_as_a_folder_a_platform() {
    let place = Place::new();
    place.write("Dockerfile", CROSS).write("a", "a");
    let all = "--platform=linux/arm/v7,linux/arm64,linux/amd64";
    let (id, _) = place.built(&[
        "--build-context=base=base",
        all,
        "-o",
        "type=oci,dest=layout,tar=false",
        "-o",
        "type=local,dest=files",
        "-o",
        "type=tar,dest=files.tar",
        "-t",
        "app:v1",
    ]);
    let layout = place.path("layout");
    let top = json(&layout.join("index.json"));
    assert_eq!(top["manifests"].as_array().expect("manifests").len(), 1);
    assert_eq!(top["manifests"][0]["digest"], id.as_str());
    let index = place::blob(&layout, &top["manifests"][0]["digest"]);
    let sorted = ["linux/amd64", "linux/arm/v7", "linux/arm64"];
    assert_eq!(platforms(&index), sorted);
    let arm = place::blob(&layout, &index["manifests"][1]["digest"]);
    let config = place::blob(&layout, &arm["config"]["digest"]);
    assert_eq!(config["architecture"], "arm");
    assert_eq!(config["variant"], "v7");
    assert_eq!(config["config"]["Labels"]["arch"], "armv7");

    let mut archive = tar::Archive::new(std::fs::File::open(place.path("files.tar")).expect("tar"));
    let members = archive.entries().expect("tar").map(|member| {
        let member = member.expect("member");
        member.path().expect("path").display().to_string()
    });
    let members: Vec<String> = members.collect();
    for platform in ["linux_amd64", "linux_arm_v7", "linux_arm64"] {
        let said = text(&place.path("files").join(platform).join("out"));
        let target = platform.replace('_', "/");
        assert_eq!(said, format!("linux/{} to {target}\n", place::own()));
        assert!(members.contains(&format!("{platform}/made")), "{members:?}");
    }
    // One platform, said twice, is an image as ever.
    let (image, _) = place.built(&["--build-context=base=base", "--platform=linux/amd64,amd64"]);
    let (alone, _) = place.built(&["--build-context=base=base", "--platform=linux/amd64"]);
    assert_eq!(image, alone);
}

#[test]
fn what_holds_one_image_refuses_several() {
    let place = Place::new();
    place.write("Dockerfile", "FROM scratch\nCOPY a /\n");
    for output in [&["--load"][..], &["-o", "type=docker,dest=image.tar"]] {
        let (code, said) = place.refused(&[output, &[BOTH]].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("linux/amd64, linux/arm64"), "{said}");
        assert!(said.contains("type=oci"), "{said}");
    }
}

#[test]
fn images_of_a_project_have_platforms_and_are_bases_of_each_other() {
    let place = Place::new();
    let registry = Registry::start();
    place.write_at(
        "tbuild.toml",
        &format!(
            "[project]\nname = \"p\"\nregistry = \"{}\"\n\
             [image.below]\ncontext = \"context\"\ndockerfile = \"context/below\"\n\
             [image.above]\ncontext = \"context\"\ndockerfile = \"context/above\"\n\
             platforms = [\"linux/arm64\", \"linux/amd64\"]\n\
             [image.top]\ncontext = \"context\"\ndockerfile = \"context/top\"\n\
             platforms = [\"linux/arm64\", \"linux/amd64\"]\n",
            registry.address()
        ),
    );
    place
        .write(
            "below",
            "FROM scratch\nARG TARGETARCH\nENV BELOW=$TARGETARCH\nCOPY a /\n",
        )
        .write(
            "above",
            "FROM below\nARG TARGETARCH\nENV ABOVE=$TARGETARCH\n",
        )
        .write("top", "FROM above\nLABEL all=$BELOW-$ABOVE\n")
        .write("a", "a");
    let run = |arguments: &[&str]| {
        let output = place.command().args(arguments).output().expect("tbuild");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run(&["image", "top", "--push"]);
    assert_eq!(code, Some(0), "{said}");
    let name = "top:latest";
    for arch in ["amd64", "arm64"] {
        let labels = &registry.inspect(name, arch)["Labels"];
        assert_eq!(labels["all"], format!("{arch}-{arch}"));
    }
    let (code, said) = run(&["image", "top", "--push"]);
    assert!(code == Some(0) && said.contains(" 0 run,"), "{said}");
    let (code, said) = run(&["image", "top", "--load"]);
    assert!(code == Some(2) && said.contains("--load"), "{said}");
    let (code, said) = run(&["why", "step:above for linux-arm64/0/from"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn programs_that_do_not_run_here_are_refused_before_anything_runs() {
    let place = Place::new();
    // There is no emulator for it that tbuild knows, so that this is the same on every machine.
    place.write(
        "Dockerfile",
        "FROM base AS other\nRUN echo other >/other\nFROM scratch AS files\nCOPY a /a\n\
         FROM scratch\nCOPY --from=files /a /\nCOPY --from=other /other /\n",
    );
    place.write("a", "a");
    let own = format!("--platform=linux/{},linux/mips64le", place::own());
    let (code, said) = place.refused(&["--build-context=base=base", &own]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("Dockerfile:2: RUN"), "{said}");
    assert!(said.contains("linux/mips64le"), "{said}");
    assert!(!said.contains("> COPY"), "{said}");
    // What only copies needs nothing.
    place.built(&["--build-context=base=base", &own, "--target=files"]);
}
