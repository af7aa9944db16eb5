//! What a program of a step finds: its environment, its account, and what is mounted for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tbuild_exec::{Mount, MountSource};
use tbuild_realise::OpError;
use tbuild_tree::SOURCE_DATE_EPOCH;

use crate::copy::{Account, user};
use crate::network::Session;
use crate::run::{HOSTNAME, Run};
use crate::{StepNetwork, World};

/// Where things that only the build sees are mounted.
const PRIVATE: &str = "/run/tbuild";

/// What the process of a run gets.
pub(crate) struct Prepared {
    pub env: BTreeMap<String, String>,
    pub account: Account,
    pub mounts: Vec<Mount>,
}

/// Works out the environment, the account and the mounts of a run.
pub(crate) fn prepare(
    world: &World,
    run: &Run,
    session: Option<&Session>,
) -> Result<Prepared, OpError> {
    let account = if run.user == "0:0" {
        Account {
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: "/root".to_owned(),
        }
    } else {
        user(world, &run.parent, &run.user)?
    };
    let mut env = run.env.clone();
    env.entry("HOME".to_owned())
        .or_insert_with(|| account.home.clone());
    env.entry("SOURCE_DATE_EPOCH".to_owned())
        .or_insert_with(|| SOURCE_DATE_EPOCH.to_string());
    let mut mounts = surroundings(world, run, session, &mut env);
    if run.network != StepNetwork::None
        && let Some(base) = &run.parent.packages
    {
        let keyring = format!(
            "/usr/share/keyrings/{}-archive-keyring.gpg",
            base.distribution
        );
        let suites = base.suites();
        let sources = tbuild_fetch::apt_sources_for(
            &world.machine.origins,
            &base.distribution,
            &suites,
            &base.components,
            &keyring,
        )
        .map_err(|error| OpError::unreachable(&error))?;
        mounts.push(Mount {
            target: "/etc/apt/sources.list.d/tbuild.sources".to_owned(),
            source: MountSource::content(sources, 0o644),
            read_only: true,
        });
    }
    mounts.extend(run.mounts.iter().cloned());
    Ok(Prepared {
        env,
        account,
        mounts,
    })
}

/// What is mounted besides what the executor always mounts: name service, certificates, package sources.
fn surroundings(
    world: &World,
    run: &Run,
    session: Option<&Session>,
    env: &mut BTreeMap<String, String>,
) -> Vec<Mount> {
    let file = |target: &str, bytes: &[u8], mode: u32| Mount {
        target: target.to_owned(),
        source: MountSource::content(bytes, mode),
        read_only: true,
    };
    let mut hosts =
        format!("127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &run.hosts {
        let _infallible = writeln!(hosts, "{address}\t{name}");
    }
    let mut mounts = vec![
        file("/etc/hosts", hosts.as_bytes(), 0o644),
        file("/etc/hostname", format!("{HOSTNAME}\n").as_bytes(), 0o644),
    ];
    if let Some((path, script)) = &run.script {
        mounts.push(file(path, script, 0o755));
    }
    if run.network == StepNetwork::None {
        mounts.push(file("/etc/resolv.conf", b"", 0o644));
        return mounts;
    }
    let bundle = world.machine.ca_bundle.as_deref();
    let (resolver, bundle) = match session {
        Some(session) => (crate::network::resolv_conf(), Some(session.trust(bundle))),
        None => (
            world.machine.resolv_conf.clone(),
            bundle.map(<[u8]>::to_vec),
        ),
    };
    mounts.push(file("/etc/resolv.conf", &resolver, 0o644));
    let mut set = |name: &str, value: String| {
        env.entry(name.to_owned()).or_insert(value);
    };
    if let Some(bundle) = bundle {
        let path = format!("{PRIVATE}/ca-certificates.crt");
        mounts.push(file(&path, &bundle, 0o644));
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "PIP_CERT",
            "NODE_EXTRA_CA_CERTS",
            "GIT_SSL_CAINFO",
            "NPM_CONFIG_CAFILE",
            "CARGO_HTTP_CAINFO",
            "AWS_CA_BUNDLE",
        ] {
            set(name, path.clone());
        }
        let apt = format!("{PRIVATE}/apt.conf");
        mounts.push(file(
            &apt,
            format!("Acquire::https::CaInfo \"{path}\";\n").as_bytes(),
            0o644,
        ));
        set("APT_CONFIG", apt);
    }
    for (name, value) in world.machine.client_env.iter().chain(&run.proxy) {
        // What the gateway takes for a step needs no proxy; it knows the machine's itrun.
        if session.is_some() && name.to_ascii_lowercase().ends_with("_proxy") {
            continue;
        }
        set(name, value.clone());
    }
    mounts
}

/// Has the programs in Java trust what a bundle has, by a variable, since it finds no key store of the image's that could
/// be added to: Java is installed by this very step, or keeps what it trusts elsewhere. JVMs say of the variable that they
/// have seen it.
pub(crate) fn tell_java(
    bundle: &[u8],
    env: &mut BTreeMap<String, String>,
    mounts: &mut Vec<Mount>,
) {
    let path = format!("{PRIVATE}/cacerts");
    let store = tbuild_netlock::KeyStore::of_bundle(bundle).to_bytes();
    mounts.push(Mount {
        target: path.clone(),
        source: MountSource::content(store, 0o644),
        read_only: true,
    });
    let options = env.entry("JAVA_TOOL_OPTIONS".to_owned()).or_default();
    if !options.is_empty() {
        options.push(' ');
    }
    options.push_str("-Djavax.net.ssl.trustStore=");
    options.push_str(&path);
}
